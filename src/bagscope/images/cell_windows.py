"""How a cell is judged: by the network on the cell's own window, as if nothing lay round it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from bagscope.errors import BagscopeError
from bagscope.ops import windows

# 64 rescaled pixels give one element, centred in the window as nearly as whole pixels allow.
EDGE = 64
WINDOWS_PER_PASS = 256


def cut_windows(field: Tensor, centres: np.ndarray, scale: float, edge: int = EDGE) -> Tensor:
    """Cut a window of a prepared field round each centre; beyond the image lies background.

    Parameters
    ----------
    field : (C, h, w) normalised and rescaled.
    centres : (N, 2) rows and columns in the image's own pixels, within the image.
    scale : rescaled over original pixels.
    edge : of a window, in rescaled pixels.

    Returns
    -------
    (N, C, edge, edge), channels last.
    """
    room = pad(field, [edge] * 4)
    corners = [[corner_of(float(at), scale, edge) + edge for at in point] for point in centres]
    cut = torch.empty(len(corners), len(field), edge, edge, device=field.device)
    for i, (y, x) in enumerate(corners):
        cut[i] = room[:, y : y + edge, x : x + edge]
    return cut.contiguous(memory_format=torch.channels_last)


def refuse_outside(centres: np.ndarray, shape: tuple[int, int]) -> None:
    """Refuse a centre that lies outside the image.

    Parameters
    ----------
    centres : (N, 2) rows and columns in the image's own pixels.
    shape : (H, W) of the image.

    Raises
    ------
    BagscopeError : names the first one.
    """
    points = np.asarray(centres, dtype=float).reshape(-1, 2)
    outside = ~((points > -0.5) & (points < np.array(shape) - 0.5)).all(1)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        cause = (
            f"cell {at + 1} at y {points[at, 0]:g}, x {points[at, 1]:g} lies outside the image of {shape[0]}x{shape[1]}"
        )
        fix = "Give centres in the image's own pixels: row y and column x, the first pixel is 0."
        raise BagscopeError(cause, fix, code="cell_outside")


def corner_of(at: float, scale: float, edge: int = EDGE) -> int:
    """First rescaled pixel of the window round a coordinate of the image."""
    return round(windows.to_scaled(at, scale) - (edge - 1) / 2)


@torch.inference_mode()
def judge_windows(maps: Callable[[Tensor], Tensor], cut: Tensor, classes: int) -> np.ndarray:
    """Return the logits (N, K) of windows, each an image of its own.

    Parameters
    ----------
    maps : images (S, C, 64, 64) to logits (S, K, 1, 1), in evaluation mode, on the windows' device.
    cut : (N, C, 64, 64).
    classes : K.
    """
    if not len(cut):
        return np.zeros((0, classes))
    return torch.cat([maps(some)[:, :, 0, 0].double() for some in cut.split(WINDOWS_PER_PASS)]).cpu().numpy()
