"""How regions of a mask become polygons with holes that lie on the pixels' edges, and grow together across tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from scipy import ndimage
from shapely import Polygon


@dataclass
class Outline:
    """A region: its polygon (x to the right, y down, in pixels), its pixels, and the sum of a value over them."""

    polygon: Polygon
    pixels: int
    total: float


def traced(mask: np.ndarray, y0: int = 0, x0: int = 0) -> tuple[np.ndarray, list[Polygon]]:
    """Outline the regions of a mask (H, W); pixels that only touch at a corner belong to two regions.

    Returns
    -------
    labels : (H, W) number of each pixel's region, from 1 on, 0 outside.
    polygons : of each region, valid, covering its pixels exactly; pixel (0, 0) has its top left corner at (x0, y0).
    """
    labels, count = ndimage.label(mask)
    if not count:
        return labels, []
    starts, directions, of = _edges(labels)
    shells: list[Any] = [None] * count
    holes: list[list[np.ndarray]] = [[] for _ in range(count)]
    across = mask.shape[1] + 1
    for ring, label in _rings(starts, directions, of, across):
        points = np.array(ring)
        y, x = points // across, points % across
        turn = int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
        corners = np.stack([x + x0, y + y0], 1)
        if turn > 0:
            shells[label - 1] = corners
        else:
            holes[label - 1].append(corners)
    return labels, [Polygon(shell, inner) for shell, inner in zip(shells, holes, strict=True)]


def _edges(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges between a region and what is outside: number of the corner that each starts at, direction, region."""
    across = labels.shape[1] + 1
    wide = np.pad(labels, 1)
    inner = wide[1:-1, 1:-1]
    # Edges go right, down, left and up, with the region on their right: the neighbour across the edge, and the corner
    # of the pixel that the edge starts at.
    sides = (
        (wide[:-2, 1:-1], 0, 0),
        (wide[1:-1, 2:], 0, 1),
        (wide[2:, 1:-1], 1, 1),
        (wide[1:-1, :-2], 1, 0),
    )
    starts, directions, of = [], [], []
    for direction, (beside, dy, dx) in enumerate(sides):
        y, x = np.nonzero((inner > 0) & (beside == 0))
        starts.append((y + dy) * across + x + dx)
        directions.append(np.full(len(y), direction))
        of.append(inner[y, x])
    return np.concatenate(starts), np.concatenate(directions), np.concatenate(of)


def _rings(starts: np.ndarray, directions: np.ndarray, of: np.ndarray, across: int) -> Iterator[tuple[list[int], int]]:
    """Yield the corners of closed rings, none of which passes a corner twice, and their region."""
    step = np.array([1, across, -1, -across])
    ends = starts + step[directions]
    at = np.full((4, int(max(starts.max(), ends.max())) + 1), -1, np.int64)
    at[directions, starts] = np.arange(len(starts))
    # Where two regions touch at a corner, turning right stays with the same region.
    following = at[(directions + 1) % 4, ends]
    for turn in (0, 3):
        following = np.where(following < 0, at[(directions + turn) % 4, ends], following)
    before = np.empty(len(starts), np.int64)
    before[following] = np.arange(len(starts))
    is_corner = (directions[before] != directions).tolist()
    follow, corner, region = following.tolist(), starts.tolist(), of.tolist()
    done = bytearray(len(follow))
    for first in np.flatnonzero(directions[before] != directions).tolist():
        if done[first]:
            continue
        ring, edge = [], first
        while not done[edge]:
            done[edge] = 1
            if is_corner[edge]:
                ring.append(corner[edge])
            edge = follow[edge]
        for simple in _simple(ring):
            yield simple, region[first]


def _simple(ring: list[int]) -> Iterator[list[int]]:
    """Cut a ring where it passes a corner twice: a region may close around a hole at a corner."""
    if len(set(ring)) == len(ring):
        yield ring
        return
    kept: list[int] = []
    place: dict[int, int] = {}
    for corner in ring:
        if corner in place:
            loop = kept[place[corner] :]
            for other in loop[1:]:
                del place[other]
            del kept[place[corner] + 1 :]
            yield loop
        else:
            place[corner] = len(kept)
            kept.append(corner)
    yield kept


@dataclass
class _Piece:
    polygons: list[Polygon] = field(default_factory=list)
    pixels: int = 0
    total: float = 0.0


class GrowingOutlines:
    """Regions of a mask that comes tile by tile, row by row: each is given when no later tile can add to it.

    What is held are outlines of regions that are not closed yet, never pixels.

    Parameters
    ----------
    height, width : of the whole mask.
    """

    def __init__(self, height: int, width: int):
        self._height, self._width = height, width
        self._above = np.zeros(width, np.int64)
        self._row = np.zeros(width, np.int64)
        self._left = np.zeros(0, np.int64)
        self._next = 1
        self._parent: dict[int, int] = {}
        self._open: dict[int, _Piece] = {}

    def add(self, mask: np.ndarray, values: np.ndarray, y0: int, x0: int) -> list[Outline]:
        """Add a tile (h, w) with a value per pixel; return the regions that are whole now, from the top left on."""
        labels, polygons = traced(mask, y0, x0)
        numbers = np.where(labels > 0, labels + (self._next - 1), 0)
        pixels = np.bincount(labels.ravel(), minlength=len(polygons) + 1)
        totals = np.bincount(labels.ravel(), values.ravel(), minlength=len(polygons) + 1)
        for k, polygon in enumerate(polygons):
            number = self._next + k
            self._parent[number] = number
            self._open[number] = _Piece([polygon], int(pixels[k + 1]), float(totals[k + 1]))
        self._next += len(polygons)
        height, width = mask.shape
        if y0:
            self._link(self._above[x0 : x0 + width], numbers[0])
        if x0:
            self._link(self._left, numbers[:, 0])
        self._left, self._row[x0 : x0 + width] = numbers[:, -1], numbers[-1]
        if x0 + width < self._width:
            return []
        self._above = self._row.copy()
        open_still = set() if y0 + height >= self._height else {self._root(int(n)) for n in np.unique(self._above) if n}
        return self._whole(open_still)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def _link(self, one: np.ndarray, other: np.ndarray) -> None:
        both = (one > 0) & (other > 0)
        for a, b in {(int(a), int(b)) for a, b in zip(one[both], other[both], strict=True)}:
            low, high = sorted((self._root(a), self._root(b)))
            if low == high:
                continue
            self._parent[high] = low
            into, gone = self._open[low], self._open.pop(high)
            into.polygons += gone.polygons
            into.pixels += gone.pixels
            into.total += gone.total

    def _whole(self, open_still: set[int]) -> list[Outline]:
        found = []
        for root in [root for root in self._open if root not in open_still]:
            piece = self._open.pop(root)
            found.append(Outline(_one(piece.polygons), piece.pixels, piece.total))
        # Numbers that neither an open region nor the last row names are of no use any more.
        self._parent = {n: self._root(n) for n in {*open_still, *np.unique(self._above).tolist()} if n in self._parent
                        and self._root(n) in open_still}  # fmt: skip
        return sorted(found, key=lambda one: (one.polygon.bounds[1], one.polygon.bounds[0]))


def _one(polygons: list[Polygon]) -> Polygon:
    """Join the parts of a region at their common edges; corners that lie on a straight line are left out."""
    return polygons[0] if len(polygons) == 1 else shapely.union_all(polygons).simplify(0)
