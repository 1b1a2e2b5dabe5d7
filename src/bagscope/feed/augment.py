"""How a crop may change without changing its label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """Ranges: turns and mirrorings, sd of log gain per channel, half-range of log scale."""

    dihedral: bool
    gain: float
    scale: float


@dataclass(frozen=True)
class Change:
    """One draw: code of the dihedral group (0-7), factor per channel, factor of the scale."""

    code: int
    gains: tuple[float, ...]
    scale: float


UNCHANGED = Augmentation(dihedral=False, gain=0.0, scale=0.0)


def draw(rng: np.random.Generator, ranges: Augmentation, channels: int) -> Change:
    """Draw one change; always the same number of random numbers, so that options do not shift later draws."""
    code = int(rng.integers(8))
    gains = np.exp(ranges.gain * rng.standard_normal(channels))
    scale = float(np.exp(ranges.scale * rng.uniform(-1, 1)))
    return Change(code if ranges.dihedral else 0, tuple(gains.tolist()), scale)
