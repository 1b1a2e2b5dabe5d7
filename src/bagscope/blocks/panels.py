"""How a large image is read window by window: few looks into the file, and never more than a few tiles in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bagscope.files.reader import Header

ReadWindow = Callable[[int, int, int, int], np.ndarray]
# Tiles side by side that are read at once: a file is opened and checked anew each time.
_TILES = 8


def panelled(read: ReadWindow, header: Header, tile: int, reach: int) -> ReadWindow:
    """Return a reader that reads some tiles ahead.

    A file that can only be decoded whole, or in pieces far larger than what is read at once, is read once and held.

    Parameters
    ----------
    read : (y0, y1, x0, x1) -> (C, h, w), from the file. tile, reach : edge of a tile, and what is read around it.
    """
    high, wide = tile + 2 * reach, _TILES * tile + 2 * reach
    height, width = header.height, header.width
    piece = header.piece
    whole = piece is None or piece[0] * piece[1] > max(4 * high * wide, 2 * tile * width)
    held: tuple[tuple[int, int, int, int], np.ndarray] | None = None

    def window(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        nonlocal held
        if held is None or not _inside((y0, y1, x0, x1), held[0]):
            held = None  # let go of the last one first
            place = (0, height, 0, width) if whole else (y0, y1, x0, max(x1, min(width, x0 + wide)))
            held = place, read(*place)
        (top, _, left, _), pixels = held
        return pixels[:, y0 - top : y1 - top, x0 - left : x1 - left]

    return window


def _inside(inner: tuple[int, int, int, int], outer: tuple[int, int, int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1] and outer[2] <= inner[2] and inner[3] <= outer[3]
