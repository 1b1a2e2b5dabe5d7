"""Which crops a training step sees, and how a crop's pixels become the network's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscope.errors import ImageReadError
from bagscope.feed.augment import UNCHANGED, Augmentation, Change, draw
from bagscope.feed.batch import Batch
from bagscope.feed.cache import PixelStore
from bagscope.feed.orders import balanced, rng_for
from bagscope.ops import intensity, windows

FLAT_BACKGROUNDS = 0.3
# So many unreadable rows in a row mean that the drive is gone, not that a file is bad.
MOST_TRIES = 100


@dataclass(frozen=True)
class CropPlan:
    """What a run's crops have in common.

    crop : edge in rescaled pixels. scale : rescaled over original pixels. background : share of crops
    without cells. blank : (T, C, t, t) patches without cells, in original pixels, possibly none.
    """

    crop: int
    scale: float
    background: float
    blank: np.ndarray
    intensity: intensity.Intensity
    ranges: Augmentation
    seed: int


@dataclass(frozen=True)
class _Place:
    """Scale of a crop, and its corner in rescaled pixels."""

    scale: float
    y: int
    x: int


class Crops:
    """Random, class-balanced crops of labelled rows: step in, batch out, the same whenever it is asked.

    Parameters
    ----------
    store : pixels of the rows.
    targets : (R, K) 0 or 1; a row of zeros is labelled `none`.
    wells : (R,) an id per well; within a class every well is drawn equally often.
    lines : (R,) lines of the table, by which batches name their rows.

    A row that cannot be read is kept in `unreadable`, and another of its class drawn in its place.
    """

    def __init__(
        self, store: PixelStore, targets: np.ndarray, wells: np.ndarray, lines: np.ndarray, plan: CropPlan, size: int
    ):
        self.store, self.targets, self.lines, self.plan, self.size = store, targets, lines, plan, size
        self.channels = store.shapes[0][0]
        present = [np.flatnonzero(targets[:, k] > 0) for k in range(targets.shape[1])]
        present.append(np.flatnonzero(targets.sum(1) == 0))
        self.unreadable: dict[int, ImageReadError] = {}
        self._pools = [[rows[wells[rows] == w] for w in np.unique(wells[rows])] for rows in present if len(rows)]

    def step(self, step: int, device: torch.device) -> Batch:
        """Return the crops of one step, (S, C, E, E) on `device`, each its own bag."""
        rng = rng_for(self.plan.seed, 1, step)
        background = int(rng.binomial(self.size, self.plan.background)) if self.plan.background else 0
        classes = balanced(rng, len(self._pools), self.size - background)
        crops, rows = [], []
        for item in range(self.size):
            own = rng_for(self.plan.seed, 2, step, item)
            change = draw(own, self.plan.ranges, self.channels)
            if item < len(classes):
                row, crop = self._of_class(own, int(classes[item]), change, device)
                crops.append(crop)
                rows.append(row)
            else:
                crops.append(self._background(own, change, device))
                rows.append(-1)
        return self._batch(crops, rows, device)

    def fixed(self, per_row: int, device: torch.device) -> list[Batch]:
        """Unchanged crops at fixed random places of every row, for validation."""
        crops, rows, batches = [], [], []
        for row in range(len(self.store)):
            for k in range(per_row):
                own = rng_for(self.plan.seed, 3, row, k)
                change = draw(own, UNCHANGED, self.channels)
                crop = self._tried(row, self._place(own, row, change), change, device)
                if crop is not None:
                    crops.append(crop)
                    rows.append(row)
        for first in range(0, len(rows), self.size):
            part = slice(first, first + self.size)
            batches.append(self._batch(crops[part], rows[part], device))
        return batches

    def _batch(self, crops: list[Tensor], rows: list[int], device: torch.device) -> Batch:
        x = torch.stack(crops)
        found = np.asarray(rows)
        known = np.where((found >= 0)[:, None], self.targets[np.maximum(found, 0)], 0)
        target = torch.from_numpy(known.astype(np.float32)).to(device)
        lines = np.where(found >= 0, self.lines[np.maximum(found, 0)], -1)
        return Batch(x, torch.ones(len(rows), dtype=torch.long), target, lines)

    def _of_class(
        self, rng: np.random.Generator, pool: int, change: Change, device: torch.device
    ) -> tuple[int, Tensor]:
        wells = self._pools[pool]
        for _ in range(MOST_TRIES):
            of_well = wells[rng.integers(len(wells))]
            row = int(of_well[rng.integers(len(of_well))])
            # Drawn for a row that is known as bad too: a resumed run, which does not know it yet, draws the same.
            place = self._place(rng, row, change)
            crop = self._tried(row, place, change, device)
            if crop is not None:
                return row, crop
        raise next(reversed(self.unreadable.values()))

    def _tried(self, row: int, place: _Place, change: Change, device: torch.device) -> Tensor | None:
        if row in self.unreadable:
            return None
        try:
            return self._cut(row, place, change, device)
        except ImageReadError as error:
            self.unreadable[row] = error
            return None

    def _place(self, rng: np.random.Generator, row: int, change: Change) -> _Place:
        _, h, w = self.store.shapes[row]
        edge = self.plan.crop
        # A small image cannot be shrunk below the crop: the jitter is held where the crop still fits.
        scale = max(self.plan.scale * change.scale, edge / min(h, w))
        y, x = (int(rng.integers(0, windows.scaled_length(n, scale) - edge + 1)) for n in (h, w))
        return _Place(scale, y, x)

    def _cut(self, row: int, place: _Place, change: Change, device: torch.device) -> Tensor:
        _, h, w = self.store.shapes[row]
        rows, y0, y1 = windows.taps(h, place.scale, place.y, place.y + self.plan.crop)
        columns, x0, x1 = windows.taps(w, place.scale, place.x, place.x + self.plan.crop)
        pixels = to_device(self.store.window(row, y0, y1, x0, x1), device)
        x = windows.interpolate(intensity.apply(pixels, self.plan.intensity), rows, columns)
        return _changed(x, change)

    def _background(self, rng: np.random.Generator, change: Change, device: torch.device) -> Tensor:
        edge, blank = self.plan.crop, self.plan.blank
        if not len(blank) or rng.random() < FLAT_BACKGROUNDS:
            # From pitch black to a little light; what a camera never gives, a blank image may have.
            lowest = np.minimum(self.plan.intensity.floor(), -0.5)[:, None, None]
            level = lowest + (1.0 - lowest) * rng.random((self.channels, 1, 1))
            noise = rng.uniform(0, 0.5) * rng.standard_normal((self.channels, edge, edge))
            return torch.from_numpy((level + noise).astype(np.float32)).to(device)
        scale = self.plan.scale * change.scale
        tile = blank.shape[-1]
        n = -(-int(np.ceil(edge / scale)) // tile)
        drawn = blank[rng.integers(0, len(blank), n * n)].reshape(n, n, self.channels, tile, tile)
        mosaic = np.ascontiguousarray(drawn.transpose(2, 0, 3, 1, 4).reshape(self.channels, n * tile, n * tile))
        line, _, _ = windows.taps(n * tile, scale, 0, edge)
        x = windows.interpolate(intensity.apply(to_device(mosaic, device), self.plan.intensity), line, line)
        return _changed(x, change)


def to_device(pixels: np.ndarray, device: torch.device) -> Tensor:
    """Move pixels to the device in their own type where torch has it."""
    # uint32 and float64 have no fast path everywhere; all else travels as it is, small.
    if pixels.dtype in (np.uint32, np.uint64, np.float64) or pixels.dtype.itemsize > 8:
        pixels = pixels.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device)


def _changed(x: Tensor, change: Change) -> Tensor:
    gains = torch.tensor(change.gains, dtype=x.dtype, device=x.device)
    return windows.dihedral(x * gains[:, None, None], change.code)
