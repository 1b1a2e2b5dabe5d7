"""Crops of images for training, and the blocks in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscope.errors import ImageReadError
from bagscope.feed.cache import PixelStore
from bagscope.feed.orders import rng_for
from bagscope.ops.stains import jitter_stains
from bagscope.tables.boxes import Blocks

MOST_TRIES = 100
# A channel without contrast has an sd of 0.
LEAST_SD = 1e-6
# Edge of a crop where there is no block to go by.
_ALONE = 128


@dataclass(frozen=True)
class Scaling:
    """How grey values become the network's input: (C,) mean and sd of the training set, or of each image by itself.

    full : grey value that counts as white, for stains.
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    each: bool
    full: float


@dataclass(frozen=True)
class View:
    """What a training step sees, see the settings of `view`."""

    context: int
    groups: int
    dihedral: bool
    gain: float
    offset: float
    stain: float
    stain_offset: float


@dataclass(frozen=True)
class CropPlan:
    """What all crops of a training have in common.

    size : crops per step. pixels_only : crops anywhere in the images, wherever their blocks are.
    """

    scaling: Scaling
    view: View
    size: int
    seed: int
    pixels_only: bool = False


@dataclass(frozen=True)
class BlockBatch:
    """Crops of images, with the blocks and pixel labels in them.

    A bag is a block: the pixels of a crop with its number in `index`. Pixels outside of blocks are in no bag, so this
    is no `feed.batch.Batch`.

    images : (S, C, E, E) standardised. index : (S, E, E) number of each pixel's block in 0 ... B - 1, -1 outside.
    labels : (S, E, E) class number of each pixel from 1 on, 0 unknown. coarse : (B,) coarse class of each block.
    rows : (S,) row of the table of each crop.
    """

    images: Tensor
    index: Tensor
    labels: Tensor
    coarse: Tensor
    rows: np.ndarray


@dataclass(frozen=True)
class BlockRows:
    """Images with blocks: pixels, blocks of each, and sparse pixel labels (0 unknown) of some."""

    store: PixelStore
    blocks: Sequence[Blocks]
    lines: np.ndarray
    pixels: Sequence[np.ndarray | None]


def image_scaling(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of each channel of an image, (C,) each."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    return flat.mean(1), np.maximum(flat.std(1), LEAST_SD)


def as_input(pixels: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Standardise, (C, H, W) float32."""
    return ((pixels - mean[:, None, None]) / sd[:, None, None]).astype(np.float32)


@dataclass(frozen=True)
class _Window:
    """A crop: row of the images, block it was drawn for (-1: none), top left corner and edge in pixels."""

    row: int
    block: int
    y: int
    x: int
    edge: int


@dataclass(frozen=True)
class _Crop:
    """Pixels (C, E, E), block numbers and pixel labels (E, E), the blocks' classes, and the row of the table."""

    pixels: np.ndarray
    index: np.ndarray
    labels: np.ndarray
    coarse: np.ndarray
    line: int


class BlockCrops:
    """Crops around blocks, classes drawn by the root of their frequency: step in, batch out, the same whenever asked.

    Parameters
    ----------
    classes : names of the coarse classes, in the order of the table.
    """

    def __init__(self, rows: BlockRows, classes: Sequence[str], plan: CropPlan):
        self.rows, self.plan = rows, plan
        number = {name: k for k, name in enumerate(classes)}
        self._class = [np.array([number[name] for name in blocks.coarse], np.int64) for blocks in rows.blocks]
        places = [(row, at) for row, blocks in enumerate(rows.blocks) for at in range(len(blocks))]
        self._places = np.array(places, np.int64).reshape(-1, 2)
        class_of = np.concatenate([*self._class, np.empty(0, np.int64)])
        self._members = [np.flatnonzero(class_of == k) for k in range(len(classes))]
        weight = np.sqrt([len(members) for members in self._members])
        self._weight = weight / weight.sum() if weight.sum() else np.full(len(classes), 1 / len(classes))
        sizes = np.concatenate([np.empty(0, np.int64), *(blocks.size for blocks in rows.blocks)])
        self._largest = int(sizes.max()) if len(sizes) else _ALONE
        self._scaling_of: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.unreadable: dict[int, ImageReadError] = {}

    def step(self, step: int, device: torch.device) -> BlockBatch:
        """Return the crops of one step."""
        rng = rng_for(self.plan.seed, 1, step)
        classes, edge, first = self._classes(rng), self._edge(), 0
        crops: list[_Crop] = []
        for item in range(self.plan.size):
            crops.append(self._crop(rng_for(self.plan.seed, 2, step, item), int(classes[item]), edge, first))
            first += len(crops[-1].coarse)
        images = torch.from_numpy(np.stack([crop.pixels for crop in crops]))
        index, labels = (
            np.stack(planes) for planes in zip(*((crop.index, crop.labels) for crop in crops), strict=True)
        )
        return BlockBatch(
            images.to(device, memory_format=torch.channels_last),
            torch.from_numpy(index).to(device),
            torch.from_numpy(labels).to(device),
            torch.from_numpy(np.concatenate([crop.coarse for crop in crops])).to(device),
            np.array([crop.line for crop in crops]),
        )

    def _classes(self, rng: np.random.Generator) -> np.ndarray:
        groups, size = self.plan.view.groups, self.plan.size
        if not groups:
            return rng.choice(len(self._weight), size, p=self._weight)
        few = rng.choice(len(self._weight), min(groups, int((self._weight > 0).sum())), replace=False, p=self._weight)
        return np.resize(few, size)

    def _edge(self) -> int:
        shortest = min(min(shape[1:]) for shape in self.rows.store.shapes)
        return min(self.plan.view.context or self._largest, shortest)

    def _crop(self, rng: np.random.Generator, k: int, edge: int, first: int) -> _Crop:
        """Draw a crop for class k; its blocks are numbered from `first` on."""
        for _ in range(MOST_TRIES):
            window = self._window(rng, k, edge)
            line = int(self.rows.lines[window.row])
            code, gains, offsets = int(rng.integers(8)), rng.standard_normal(8), rng.standard_normal(8)
            try:
                pixels = self._pixels(window, gains, offsets)
            except ImageReadError as error:
                self.unreadable[line] = error
                continue
            index, coarse = self._index(rng, window, first)
            labels = self._labels(window)
            if self.plan.view.dihedral:
                pixels, index, labels = (_rotated(planes, code) for planes in (pixels, index, labels))
            return _Crop(pixels, index, labels, coarse, line)
        raise next(reversed(self.unreadable.values()))

    def _window(self, rng: np.random.Generator, k: int, edge: int) -> _Window:
        """Draw a block of class k, and a crop that holds it wherever it can, on the blocks' own grid."""
        shapes = self.rows.store.shapes
        if self.plan.pixels_only or not len(self._members[k]):
            row = int(rng.integers(len(shapes)))
            _, h, w = shapes[row]
            return _Window(row, -1, int(rng.integers(h - edge + 1)), int(rng.integers(w - edge + 1)), edge)
        row, block = map(int, self._places[rng.choice(self._members[k])])
        blocks, size = self.rows.blocks[row], int(self.rows.blocks[row].size[block])
        corner = []
        for start, limit in zip((int(blocks.y[block]), int(blocks.x[block])), shapes[row][1:], strict=True):
            low, high = max(0, start + size - edge), min(start, limit - edge)
            steps = np.arange(start - (start - low) // size * size, high + 1, size) if low <= high else np.array([])
            corner.append(int(rng.choice(steps)) if len(steps) else int(np.clip(start, 0, limit - edge)))
        return _Window(row, block, corner[0], corner[1], edge)

    def _pixels(self, window: _Window, gains: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        view, scaling, row, edge = self.plan.view, self.plan.scaling, window.row, window.edge
        raw = self.rows.store.window(row, window.y, window.y + edge, window.x, window.x + edge).astype(np.float32)
        mean, sd = np.array(scaling.mean), np.array(scaling.sd)
        if scaling.each:
            if row not in self._scaling_of:
                self._scaling_of[row] = image_scaling(self.rows.store.whole(row))
            mean, sd = self._scaling_of[row]
        channels = len(raw)
        if channels == 3 and scaling.each and (view.stain or view.stain_offset):
            changed = jitter_stains(raw / scaling.full, np.exp(view.stain * gains[:3]), view.stain_offset * offsets[:3])
            return as_input(changed * scaling.full, mean, sd)
        gain = np.exp(view.gain * np.resize(gains, channels)).astype(np.float32)
        offset = (view.offset * np.resize(offsets, channels)).astype(np.float32)
        return as_input(raw, mean, sd) * gain[:, None, None] + offset[:, None, None]

    def _labels(self, window: _Window) -> np.ndarray:
        """Return the pixel labels of a crop, (E, E)."""
        labels, edge = self.rows.pixels[window.row], window.edge
        if labels is None:
            return np.zeros((edge, edge), np.int64)
        return labels[window.y : window.y + edge, window.x : window.x + edge].astype(np.int64)

    def _index(self, rng: np.random.Generator, window: _Window, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of each pixel's block, and the coarse class of each block that is entirely in the crop.

        The proportion table describes entire blocks. Of overlapping ones, the block that the crop was drawn for counts,
        then the first drawn; the others wait for another crop.
        """
        blocks, y, x, edge = self.rows.blocks[window.row], window.y, window.x, window.edge
        bottom, right = blocks.y + blocks.size, blocks.x + blocks.size
        inside = (blocks.y >= y) & (blocks.x >= x) & (bottom <= y + edge) & (right <= x + edge)
        order = rng.permutation(np.flatnonzero(inside))
        index = np.full((edge, edge), -1, np.int64)
        numbered: list[int] = []
        for block in [*order[order == window.block], *order[order != window.block]]:
            top, left, size = blocks.y[block] - y, blocks.x[block] - x, blocks.size[block]
            area = index[top : top + size, left : left + size]
            if (area < 0).all():
                area[:] = first + len(numbered)
                numbered.append(int(block))
        return index, self._class[window.row][np.array(numbered, np.int64)]


def _rotated(planes: np.ndarray, code: int) -> np.ndarray:
    """Rotate and mirror the last two axes by one of the eight symmetries of a square."""
    rotated = np.rot90(planes, code % 4, (-2, -1))
    return np.ascontiguousarray(rotated[..., ::-1] if code >= 4 else rotated)
