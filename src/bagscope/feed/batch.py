"""Samples gathered into bags with a label each: what the network of a multiple-instance task learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Samples, bag after bag.

    x : the network's input.
    lengths : (B,) samples per bag, at least 1; they add up to the samples of x.
    target : (B, K) label of each bag.
    rows : (B,) row of the table of each bag, -1 for a bag without one.

    Raises
    ------
    ValueError : lengths, target and rows are not of the same bags, or a bag is empty.
    """

    x: Any
    lengths: Tensor
    target: Tensor
    rows: np.ndarray

    def __post_init__(self) -> None:
        bags = {self.lengths.shape, self.target.shape[:1], self.rows.shape}
        if len(bags) > 1 or self.target.ndim != 2 or (self.lengths < 1).any():
            shapes = f"lengths {tuple(self.lengths.shape)}, target {tuple(self.target.shape)}, rows {self.rows.shape}"
            message = f"{shapes}: expected (B,), (B, K) and (B,), and no empty bag"
            raise ValueError(message)
