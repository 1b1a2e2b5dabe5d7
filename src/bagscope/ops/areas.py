"""How much of an image is of each class, inside boxes too, and how far that is by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscope.ops.intervals import Interval, bootstrap

# More squares would make the interval no better, and its draws slow.
MOST_SQUARES = 4096


@dataclass(frozen=True)
class Boxes:
    """Rectangles of an image: first and last + 1 row and column, (N,) each."""

    y0: np.ndarray
    y1: np.ndarray
    x0: np.ndarray
    x1: np.ndarray


def squares(height: int, width: int, edge: int) -> Boxes:
    """Cut an image into squares, doubled until there are at most 4096; the last ones may be smaller."""
    edge = max(1, edge)
    while -(-height // edge) * -(-width // edge) > MOST_SQUARES:
        edge *= 2
    y, x = (one.ravel() for one in np.mgrid[0:height:edge, 0:width:edge])
    return Boxes(y, np.minimum(y + edge, height), x, np.minimum(x + edge, width))


def sums_in(boxes: Boxes, classes: np.ndarray, count: int, y0: int, x0: int) -> tuple[np.ndarray, np.ndarray]:
    """Count pixels of each class in the part of boxes that lies in a tile.

    Parameters
    ----------
    classes : (h, w) class of each pixel of the tile, whose top left pixel is (y0, x0). count : C.

    Returns
    -------
    at : (M,) numbers of the boxes that meet the tile. sums : (M, C).
    """
    h, w = classes.shape
    top, bottom = np.clip(boxes.y0 - y0, 0, h), np.clip(boxes.y1 - y0, 0, h)
    left, right = np.clip(boxes.x0 - x0, 0, w), np.clip(boxes.x1 - x0, 0, w)
    at = np.flatnonzero((bottom > top) & (right > left))
    top, bottom, left, right = (edge[at] for edge in (top, bottom, left, right))
    sums = np.empty((len(at), count), np.int64)
    upto = np.zeros((h + 1, w + 1), np.int64)
    for k in range(count):
        np.cumsum(np.cumsum(classes == k, 0, dtype=np.int64), 1, out=upto[1:, 1:])
        sums[:, k] = upto[bottom, right] - upto[top, right] - upto[bottom, left] + upto[top, left]
    return at, sums


def share_interval(sums: np.ndarray, seed: int) -> Interval:
    """Share of each class over squares (N, C), with a 95 % interval over squares drawn again: (C,) each.

    The interval says how much another piece of such tissue of the same size might differ, if squares were independent;
    neighbours are alike, so it is rather too narrow. It knows nothing of errors that the network makes everywhere.
    """

    def share(counts: np.ndarray, axis: int) -> np.ndarray:
        total = counts.sum(axis)
        return total / np.maximum(total.sum(-1, keepdims=True), 1)

    return bootstrap(sums, share, seed=seed)
