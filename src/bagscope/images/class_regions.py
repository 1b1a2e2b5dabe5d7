"""Regions of the classes in a field, from relevance maps: for objects that no channel marks as nuclei mark cells."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bagscope.images.field_view import FieldView
from bagscope.ops.regions import DARK, relevance_region, two_levels

# Smoothing of a map in rescaled pixels, and what counts as high: half of the map's own Otsu threshold, half of the way
# to the middle of grey values. Chosen on cluttered digits of sets that no result rests on.
SMOOTH, HALF = 3.0, 0.5


def class_region(view: FieldView, k: int, *, brightness: bool = True) -> np.ndarray:
    """Return the region of a class as (H, W) bool, empty where the class is absent; see `ops.regions.relevance_region`.

    Parameters
    ----------
    brightness : only pixels that some channel shows as bright, see `bright`; else the map decides alone.
    """
    where = bright(view.pixels) if brightness else np.ones(view.shape, bool)
    return relevance_region(strength(view, k), where, HALF)


def strength(view: FieldView, k: int) -> np.ndarray:
    """Return the smoothed relevance map of a class, (H, W) float32; `class_region` is where it is high."""
    return ndimage.gaussian_filter(view.cell_relevance(k), SMOOTH / view.scale)


def present_regions(view: FieldView) -> np.ndarray:
    """Return the regions of the field's classes, (H, W): k + 1 for class k (the stronger where two overlap), else 0."""
    found = np.zeros(view.shape, number_type(len(view.card.classes)))
    strongest, where = np.zeros(view.shape), bright(view.pixels)
    for k in np.flatnonzero(view.log_odds >= log_odds_of(view.card.calls.threshold)).tolist():
        strong = strength(view, k)
        here = relevance_region(strong, where, HALF) & (strong > strongest)
        found[here], strongest[here] = k + 1, strong[here]
    return found


def bright(pixels: np.ndarray) -> np.ndarray:
    """Pixels that any channel (C, H, W) shows above half of the way to the middle of two groups, (H, W).

    The groups are those of `ops.regions.two_levels`.
    """
    found = np.zeros(pixels.shape[1:], bool)
    for grey in pixels.astype(float):
        above = grey - np.percentile(grey, DARK)
        if above.max() > above.min():
            low, high = two_levels(above)
            found |= above > low + HALF * (high - low) / 2
    return found


def log_odds_of(probability: float) -> float:
    """Log-odds of a probability, infinite for 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-probability))


def number_type(classes: int) -> type[np.unsignedinteger]:
    """Smallest type that holds the numbers of so many classes, and 0."""
    return np.uint8 if classes < 255 else np.uint16
