"""How the sides of a ratio are timed so that a busy machine slows them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np


def seconds(sides: Sequence[Callable[[], object]], rounds: int, warm: int = 1) -> np.ndarray:
    """Time the sides in turns, A B A B ...: (rounds, sides) seconds, after `warm` rounds that do not count."""
    found = np.empty((warm + rounds, len(sides)))
    for at in range(warm + rounds):
        for side, work in enumerate(sides):
            began = time.perf_counter()
            work()
            found[at, side] = time.perf_counter() - began
    return found[warm:]


def median(name: str, values: np.ndarray) -> float:
    """Return the median of a figure's values, one per round, and print how far they spread."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    print(f"  {name}: median {middle:.4g}, half of {len(values)} rounds from {low:.4g} to {high:.4g}", flush=True)
    return float(middle)
