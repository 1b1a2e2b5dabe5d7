"""Cutting and rescaling: any window of the rescaled image, the same whether cut before or after."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_STRIP_VALUES, _LEAST_STRIP = 1 << 18, 16


def scaled_length(n: int, scale: float) -> int:
    """Pixels of an axis of n pixels after rescaling; at least 1."""
    return max(1, round(n * scale))


@dataclass(frozen=True)
class Taps:
    """Linear interpolation along one axis: output i = sum over t of weights[t, i] * input[index[t, i]]."""

    index: Tensor
    weights: Tensor


def taps(n: int, scale: float, start: int, stop: int) -> tuple[Taps, int, int]:
    """Weights that make outputs [start, stop) of an axis of n inputs rescaled by `scale`.

    A triangle filter with half-width max(1, 1 / scale) input pixels: bilinear when enlarging,
    free of aliases when shrinking. Positions are those of the whole axis, so that windows stitch
    without a seam. Beyond the ends the last pixel is repeated.

    Returns
    -------
    taps : indices relative to the first input needed.
    low, high : the inputs needed, [low, high) within [0, n).
    """
    # NumPy is many times faster than torch on arrays as short as these.
    centre = (np.arange(start, stop) + 0.5) / scale - 0.5
    half = max(1.0, 1.0 / scale)
    count = math.ceil(2 * half)
    nearest = np.floor(centre - half).astype(np.int64) + 1
    index = nearest[None] + np.arange(count)[:, None]
    weights = np.maximum(0, 1 - np.abs(index - centre) / half)
    index = np.clip(index, 0, n - 1)
    low, high = int(index.min()), int(index.max()) + 1
    weights = (weights / weights.sum(0)).astype(np.float32)
    return Taps(torch.from_numpy(index - low), torch.from_numpy(weights)), low, high


def interpolate(pixels: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Apply row and column weights: (C, h, w) float -> (C, H, W) float."""
    channels, _, w = pixels.shape
    height, width = rows.index.shape[1], columns.index.shape[1]
    # In strips that stay in the processor's cache, five times faster on large images.
    strip = height if pixels.is_cuda else max(_LEAST_STRIP, _STRIP_VALUES // (channels * max(w, width)))
    if strip >= height:
        return _interpolated(pixels, rows, columns)
    result = pixels.new_empty(channels, height, width)
    for top in range(0, height, strip):
        part = slice(top, top + strip)
        result[:, part] = _interpolated(pixels, Taps(rows.index[:, part], rows.weights[:, part]), columns)
    return result


def _interpolated(pixels: Tensor, rows: Taps, columns: Taps) -> Tensor:
    # Whole rows are gathered, never single columns, which lie far apart in memory.
    tall = _weighed(pixels, rows)
    return _weighed(tall.transpose(1, 2).contiguous(), columns).transpose(1, 2)


def _weighed(pixels: Tensor, axis: Taps) -> Tensor:
    index, weights = axis.index.to(pixels.device), axis.weights.to(pixels.device)[:, :, None]
    total = pixels.index_select(1, index[0]).mul_(weights[0])
    for i, weight in zip(index[1:], weights[1:], strict=True):
        total.add_(pixels.index_select(1, i).mul_(weight))
    return total


def rescale(pixels: Tensor, scale: float) -> Tensor:
    """Rescale a whole image (C, H, W) by `scale`; scale 1 gives the image back."""
    if scale == 1:
        return pixels
    axes = []
    for n in pixels.shape[1:]:
        axes.append(taps(n, scale, 0, scaled_length(n, scale))[0])
    return interpolate(pixels, *axes)


def to_image(position: float, scale: float) -> float:
    """Return the image coordinate (pixel centres at whole numbers) of a coordinate in the rescaled image."""
    return (position + 0.5) / scale - 0.5


def to_scaled(position: float, scale: float) -> float:
    """Return the coordinate in the rescaled image of a coordinate in the image."""
    return (position + 0.5) * scale - 0.5


def dihedral(x: Tensor, code: int) -> Tensor:
    """One of the 8 turns and mirrorings of the square, acting on the last two axes; 0 changes nothing."""
    x = torch.rot90(x, code % 4, (-2, -1))
    return x.flip(-1) if code >= 4 else x
