"""How an image looks, in a few numbers, and whether it looks like the images that a model learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

# Of a larger image the middle is looked at.
LARGEST = 512
LEVELS = 4
_LEAST_CHANGE = 1e-3
# What is measured, and how "less" and "more" of it read.
WORDS = {
    "dark": ("a darker background", "a brighter background"),
    "middle": ("darker", "brighter"),
    "bright": ("dimmer at its brightest", "brighter at its brightest"),
    **{f"detail{k}": (f"less detail of {2**k} px", f"more detail of {2**k} px") for k in range(LEVELS)},
}
# Fewer images do not say how images differ.
LEAST_IMAGES = 4
# A range is widened by this share of its width, the more the fewer images it comes from, and at least by so much: in
# standard deviations of training pixels for grey values, in natural logarithms for detail. Images of the same plate
# then pass, see docs/report.md.
WIDER, FEW, LEAST_GREY, LEAST_DETAIL = 0.75, 4, 0.15, 0.2


class Root(Protocol):
    """What is known of grey values, see `ops.intensity`: dark, background and spread of each channel."""

    @property
    def dark(self) -> Sequence[float]:
        """Darkest level."""
        ...

    @property
    def background(self) -> Sequence[float]:
        """Root of the background's level over it."""
        ...

    @property
    def spread(self) -> Sequence[float]:
        """Standard deviation of the roots."""
        ...


def appearance(pixels: np.ndarray, known: Root) -> np.ndarray:
    """Measure an image, (C, 7): quantiles of 5, 50 and 99.5 % of its normalised grey values, and logarithms of detail.

    Detail of 2^k pixels is the mean difference between neighbours after k halvings by means of 2 x 2.

    Parameters
    ----------
    pixels : (C, H, W) grey values.
    known : normalisation of the training images; its root makes noise equal everywhere.
    """
    found = np.empty((len(pixels), len(WORDS)))
    for c, plane in enumerate(middle(pixels)):
        grey = np.sqrt(np.maximum(plane.astype(np.float32) - np.float32(known.dark[c]), 0))
        grey = (grey - np.float32(known.background[c])) / np.float32(known.spread[c])
        found[c, :3] = np.quantile(grey[::2, ::2], [0.05, 0.5, 0.995])
        for k in range(LEVELS):
            change = [np.abs(np.diff(grey, axis=axis)).mean() if min(grey.shape) > 1 else 0.0 for axis in (0, 1)]
            found[c, 3 + k] = np.log(np.mean(change) + _LEAST_CHANGE)
            rows, columns = (n - n % 2 for n in grey.shape)
            if min(rows, columns) > 1:
                even = grey[:rows, :columns]
                grey = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return found


def middle(pixels: np.ndarray) -> np.ndarray:
    """Return the middle of an image (C, H, W) that is looked at."""
    top, left = (max(0, (n - LARGEST) // 2) for n in pixels.shape[1:])
    return pixels[:, top : top + LARGEST, left : left + LARGEST]


def usual_range(appearances: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the least and largest of each number, (C, 7) each, that an image like these has; None for too few.

    Parameters
    ----------
    appearances : of the training images.
    """
    if len(appearances) < LEAST_IMAGES:
        return None
    every = np.stack(appearances)
    low, high = every.min(0), every.max(0)
    least = np.where([name.startswith("detail") for name in WORDS], LEAST_DETAIL, LEAST_GREY)
    room = np.maximum(WIDER * (1 + FEW / len(every)) * (high - low), least)
    return low - room, high + room


def differences(found: np.ndarray, low: np.ndarray, high: np.ndarray, channels: Sequence[str]) -> list[str]:
    """Say in words by what an image differs from those of training, the largest difference first.

    Parameters
    ----------
    found : (C, 7) from `appearance`. low, high : from `usual_range`. channels : C names.
    """
    off = np.maximum(low - found, found - high) / (high - low)
    order = np.argsort(-off, axis=None, kind="stable")
    told = []
    for c, k in zip(*np.unravel_index(order, off.shape), strict=True):
        if off[c, k] > 0:
            less, more = list(WORDS.values())[k]
            told.append(f"{channels[c]}: {less if found[c, k] < low[c, k] else more}")
    return told
