"""How a cell is judged: by the network on the cell's own window, as if nothing lay round it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bagscope.errors import BagscopeError
from bagscope.nets.bagnet import BagNet
from bagscope.ops import intensity, windows
from bagscope.tasks.card import ModelCard
from bagscope.tasks.images.samples import to_device
from bagscope.tasks.images.scoring import ReadWindow
from bagscope.tasks.images.task import intensity_of

# 64 rescaled pixels give one element, centred in the window as nearly as whole pixels allow.
EDGE = 64
WINDOWS_PER_PASS = 256


def cut_windows(
    card: ModelCard,
    read: ReadWindow,
    shape: tuple[int, int],
    centres: np.ndarray,
    device: torch.device,
    factor: float | None = None,
) -> Tensor:
    """Cut a window of the rescaled, normalised image round each centre; beyond the image lies background.

    A window holds the very values that the whole image, rescaled and normalised, has there.

    Parameters
    ----------
    read : gives windows of the field's pixels.
    shape : (H, W) of the field.
    centres : (N, 2) rows and columns in the image's own pixels.
    factor : rescaled over original pixels; default: the card's.

    Returns
    -------
    (N, C, 64, 64), channels last.

    Raises
    ------
    BagscopeError : a centre outside the image.
    """
    scale = card.scale.factor if factor is None else factor
    points = np.asarray(centres, dtype=float).reshape(-1, 2)
    outside = ~((points > -0.5) & (points < np.array(shape) - 0.5)).all(1)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        cause = (
            f"cell {at + 1} at y {points[at, 0]:g}, x {points[at, 1]:g} lies outside the image of {shape[0]}x{shape[1]}"
        )
        fix = "Give centres in the image's own pixels: row y and column x, the first pixel is 0."
        raise BagscopeError(cause, fix, code="cell_outside")
    cut = torch.zeros(len(points), len(card.channels), EDGE, EDGE, device=device)
    sides = [windows.scaled_length(n, scale) for n in shape]
    for i, point in enumerate(points):
        (rows, y0, y1, top, high), (columns, x0, x1, left, wide) = (
            _span(n, side, scale, float(at)) for n, side, at in zip(shape, sides, point, strict=True)
        )
        pixels = intensity.apply(to_device(read(y0, y1, x0, x1), device), intensity_of(card))
        cut[i, :, top : top + high, left : left + wide] = windows.interpolate(pixels, rows, columns)
    return cut.contiguous(memory_format=torch.channels_last)


def corner_of(at: float, scale: float) -> int:
    """First rescaled pixel of the window round a coordinate of the image."""
    return round(windows.to_scaled(at, scale) - (EDGE - 1) / 2)


def _span(n: int, side: int, scale: float, at: float) -> tuple[windows.Taps, int, int, int, int]:
    """Interpolation of the part of a window that lies in the image; its place and length in the window."""
    corner = corner_of(at, scale)
    start, stop = max(0, corner), min(side, corner + EDGE)
    line, low, high = windows.taps(n, scale, start, stop)
    return line, low, high, start - corner, stop - start


@torch.inference_mode()
def judge_windows(net: BagNet, cut: Tensor) -> np.ndarray:
    """Return the logits (N, K) of windows, each an image of its own.

    Parameters
    ----------
    net : in evaluation mode, on the windows' device.
    cut : (N, C, 64, 64).
    """
    if not len(cut):
        return np.zeros((0, net.head.in_features))
    parts = [net.maps(some)[:, :, 0, 0].double() for some in cut.split(WINDOWS_PER_PASS)]
    return torch.cat(parts).cpu().numpy()
