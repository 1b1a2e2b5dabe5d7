"""Which pixels are foreground, when a map is sure of a few of them: their grey values tell of all the others.

A map that shows why a network made a call peaks where the network looked, and is faint on the rest of the very cell.
The pixels that it is sure of serve as seeds: histograms of their grey values say how likely each grey value is inside
and outside, and neighbours like to agree. No pixel label and no grey-value threshold goes into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bagscope.errors import BagscopeError
from bagscope.ops import lattice

BINS = 64
# Log-odds of one pixel's grey values: a value that no seed has must not outvote all neighbours.
LIMIT = 8.0
# Blank pixels below this share of their own values are surely background, above that one surely not.
SURELY_BLANK, SURELY_NOT = 0.5, 0.99
# By which an agreeing neighbour adds to the log-odds.
COUPLING = 1.0
# What the first round is sure of seeds the second, since a map may be sure of the middles of cells alone. On BBBC013's
# training fields, regions of models from different seeds then agree better.
ROUNDS = 2
SURE_ODDS = 2.0


class SeedError(BagscopeError, ValueError):
    """A map and grey values that do not fit each other."""


@dataclass(frozen=True)
class Sure:
    """Below `background` a map's value is surely background, above `foreground` surely not."""

    background: float
    foreground: float


def sure_from_blank(blank: np.ndarray) -> Sure:
    """Say what a map must show on a pixel to be sure of it, from its values on pixels without cells.

    Half of the blank pixels are surely background (their median), one in a hundred is taken for foreground.

    Parameters
    ----------
    blank : any shape, not empty; the map's values on blank pixels of training images.
    """
    low, high = np.quantile(np.asarray(blank, np.float64), [SURELY_BLANK, SURELY_NOT])
    return Sure(float(low), float(high))


def seed_fit(found: np.ndarray, grey: np.ndarray, sure: Sure, coupling: float = COUPLING) -> np.ndarray:
    """Log-odds of foreground for every pixel.

    Seeds are the pixels that the map is sure of. Each channel's grey values are counted in bins of equally many
    pixels; the log-ratio of their shares among the two kinds of seeds, added over channels, is a pixel's own evidence,
    and ten steps of belief propagation add the neighbours'. Pixels with log-odds beyond 2 are the seeds of a second
    round. A map multiplied together with `sure` by the same number,
    or a channel changed by a rising function, gives the same answer.

    Parameters
    ----------
    found : (H, W) the map, finite.
    grey : (C, H, W) grey values, finite.
    sure : limits from `sure_from_blank`.
    coupling : J of `lattice.sum_product`.

    Returns
    -------
    (H, W) float32. Without seeds of foreground nothing is foreground (-inf everywhere); without seeds of background
    the map's own limit decides alone.

    Raises
    ------
    SeedError : shapes that do not fit, or values that are no numbers.
    """
    if grey.ndim != 3 or found.shape != grey.shape[1:]:
        cause = f"a map of {found.shape} and grey values of {grey.shape}"
        raise SeedError(cause, "Give (H, W) and (C, H, W) of one field.", code="seed_shapes")
    if not (np.isfinite(found).all() and np.isfinite(grey).all()):
        cause = "a map or grey values with NaN or infinity"
        raise SeedError(cause, "Fill them before.", code="seed_values")
    inside, outside = found > sure.foreground, found <= sure.background
    if not inside.any():
        return np.full(found.shape, -np.inf, np.float32)
    if not outside.any():
        return np.where(inside, np.float32(LIMIT), np.float32(-LIMIT))
    for _ in range(ROUNDS):
        odds = _odds(grey, inside, outside, coupling)
        inside, outside = odds > SURE_ODDS, odds < -SURE_ODDS
        if not (inside.any() and outside.any()):
            break
    return odds


def _odds(grey: np.ndarray, inside: np.ndarray, outside: np.ndarray, coupling: float) -> np.ndarray:
    """Log-odds of foreground by the grey values of two kinds of seeds, and by neighbours, (H, W)."""
    evidence = np.clip(sum(_log_ratio(channel, inside, outside) for channel in grey), -LIMIT, LIMIT)
    unary = torch.from_numpy(np.stack([np.zeros_like(evidence), evidence]).astype(np.float32))
    background, foreground = lattice.sum_product(unary, coupling).numpy()
    return foreground - background


def _log_ratio(grey: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Logarithm of how much more often each pixel's grey value is met inside than outside, (H, W)."""
    edges = np.unique(np.quantile(grey, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, grey, side="right")
    # One more in every bin: a value that was met once only is no certainty.
    counts = [np.bincount(place[seeds], minlength=len(edges) + 1) + 1.0 for seeds in (inside, outside)]
    shares = [np.log(count / count.sum()) for count in counts]
    return (shares[0] - shares[1])[place]
