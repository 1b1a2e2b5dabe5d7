"""Images in which no class applies, to see that a model says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

BACKGROUND_QUANTILE = 0.02


def background_level(fields: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return (C,) level and noise of the background: median over fields of the 2 % quantile and of the fine noise.

    The noise is the robust standard deviation of what a 3x3 median takes away among the darkest tenth.

    Parameters
    ----------
    fields : (C, H, W) each.
    """
    levels, noises = [], []
    for pixels in fields:
        low = np.quantile(pixels, BACKGROUND_QUANTILE, axis=(1, 2))
        levels.append(low)
        fine = pixels.astype(float) - np.stack([ndimage.median_filter(plane, 3) for plane in pixels])
        dark = pixels <= np.quantile(pixels, 0.1, axis=(1, 2))[:, None, None]
        noises.append([np.std(one[place]) for one, place in zip(fine, dark, strict=True)])
    return np.median(levels, axis=0), np.median(noises, axis=0)


def flat_field(level: np.ndarray, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Return an image (C, H, W) without anything: every pixel at its channel's level."""
    return np.broadcast_to(np.rint(level)[:, None, None], (len(level), *shape)).astype(dtype)


def noise_field(
    rng: np.random.Generator, level: np.ndarray, noise: np.ndarray, shape: tuple[int, int], dtype: np.dtype
) -> np.ndarray:
    """Return an image (C, H, W) of background noise alone."""
    drawn = level[:, None, None] + noise[:, None, None] * rng.standard_normal((len(level), *shape))
    return np.clip(np.rint(drawn), 0, np.iinfo(dtype).max).astype(dtype)


def blank_patches(pixels: np.ndarray, edge: int) -> list[np.ndarray]:
    """Cut the patches (C, edge, edge) of a field in which no channel shows foreground by its own Otsu threshold.

    Otsu's threshold is taken on the logarithm of the smoothed grey values, which finds dim cells too.
    """
    foreground = np.zeros(pixels.shape[1:], bool)
    for plane in pixels:
        log = np.log1p(ndimage.gaussian_filter(plane.astype(float), 2.0))
        foreground |= log > threshold_otsu(log)
    return [
        pixels[:, y : y + edge, x : x + edge]
        for y in range(0, pixels.shape[1] - edge + 1, edge)
        for x in range(0, pixels.shape[2] - edge + 1, edge)
        if not foreground[y : y + edge, x : x + edge].any()
    ]
