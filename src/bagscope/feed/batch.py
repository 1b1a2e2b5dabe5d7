"""What every task hands to its network: samples gathered into bags, with what is known of each bag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Samples, bag after bag.

    x : what the network eats, samples first.
    lengths : (B,) samples per bag, adding up to the samples of x.
    target : (B, K) what is known of each bag.
    rows : (B,) the bags' row ids; -1 for a bag that no row stands for.
    """

    x: Any
    lengths: Tensor
    target: Tensor
    rows: np.ndarray
