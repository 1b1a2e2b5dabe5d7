"""Which crops a training step sees, and which blocks lie in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bagscope.errors import ImageReadError
from bagscope.feed.batch import Batch
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
class BlockRows:
    """Images with blocks: pixels, blocks of each, and sparse pixel labels (0 unknown) of some."""

    store: PixelStore
    blocks: Sequence[Blocks]
    lines: np.ndarray
    pixels: Sequence[np.ndarray | None]


def own_scaling(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of each channel of an image, (C,) each."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    return flat.mean(1), np.maximum(flat.std(1), LEAST_SD)


def as_input(pixels: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Standardise, (C, H, W) float32."""
    return ((pixels - mean[:, None, None]) / sd[:, None, None]).astype(np.float32)


class BlockCrops:
    """Crops about blocks, classes drawn by the root of their frequency: step in, batch out, the same whenever asked.

    Parameters
    ----------
    classes : names of the coarse classes, in the order of the table.
    size : crops per step. pixels_only : crops anywhere, where blocks play no part.
    """

    def __init__(
        self, rows: BlockRows, classes: Sequence[str], scaling: Scaling, view: View, size: int, seed: int,
        *, pixels_only: bool = False,
    ):  # fmt: skip
        self.rows, self.scaling, self.view, self.size, self.seed = rows, scaling, view, size, seed
        self.pixels_only = pixels_only
        number = {name: k for k, name in enumerate(classes)}
        self._class = [np.array([number[name] for name in own.coarse], np.int64) for own in rows.blocks]
        every = [(row, at) for row, own in enumerate(rows.blocks) for at in range(len(own))]
        self._places = np.array(every, np.int64).reshape(-1, 2)
        of = np.concatenate([*self._class, np.empty(0, np.int64)])
        self._members = [np.flatnonzero(of == k) for k in range(len(classes))]
        weight = np.sqrt([len(own) for own in self._members])
        self._weight = weight / weight.sum() if weight.sum() else np.full(len(classes), 1 / len(classes))
        sizes = np.concatenate([np.empty(0, np.int64), *(own.size for own in rows.blocks)])
        self._block = int(sizes.max()) if len(sizes) else _ALONE
        self._own: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.unreadable: dict[int, ImageReadError] = {}

    def step(self, step: int, device: torch.device) -> Batch:
        """Return the crops of one step: x is images (S, C, E, E), block numbers and pixel labels (S, E, E).

        `target` is the number of each block's coarse class, (B,).
        """
        rng = rng_for(self.seed, 1, step)
        chosen, edge, first = self._classes(rng), self._edge(), 0
        crops = []
        for item in range(self.size):
            crops.append(self._crop(rng_for(self.seed, 2, step, item), int(chosen[item]), edge, first))
            first += len(crops[-1][3])
        images, indices, labels, classes, lines = zip(*crops, strict=True)
        x = torch.from_numpy(np.stack(images)).to(device, memory_format=torch.channels_last)
        index, told = (torch.from_numpy(np.stack(one)).to(device) for one in (indices, labels))
        target = torch.from_numpy(np.concatenate(classes)).to(device)
        return Batch((x, index, told), torch.tensor([len(of) for of in classes]), target, np.array(lines))

    def _classes(self, rng: np.random.Generator) -> np.ndarray:
        groups = self.view.groups
        if not groups:
            return rng.choice(len(self._weight), self.size, p=self._weight)
        few = rng.choice(len(self._weight), min(groups, int((self._weight > 0).sum())), replace=False, p=self._weight)
        return np.resize(few, self.size)

    def _edge(self) -> int:
        return min(self.view.context or self._block, min(min(shape[1:]) for shape in self.rows.store.shapes))

    def _crop(
        self, rng: np.random.Generator, k: int, edge: int, first: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
        """Pixels, block numbers from `first` on, pixel labels, the blocks' classes, and the line of the table."""
        for _ in range(MOST_TRIES):
            if self.pixels_only or not len(self._members[k]):
                row, at = int(rng.integers(len(self.rows.store))), -1
            else:
                row, at = self._places[rng.choice(self._members[k])]
            _, h, w = self.rows.store.shapes[row]
            y, x = self._corner(rng, row, at, h, w, edge)
            code, gains, offsets = int(rng.integers(8)), rng.standard_normal(8), rng.standard_normal(8)
            try:
                pixels = self._pixels(row, y, x, edge, gains, offsets)
            except ImageReadError as error:
                self.unreadable[int(self.rows.lines[row])] = error
                continue
            index, of = self._index(rng, row, int(at), y, x, edge, first)
            told = self.rows.pixels[row]
            label = (
                np.zeros((edge, edge), np.int64) if told is None else told[y : y + edge, x : x + edge].astype(np.int64)
            )
            if self.view.dihedral:
                pixels, index, label = (_turned(one, code) for one in (pixels, index[None], label[None]))
                index, label = index[0], label[0]
            return pixels, index, label, of, int(self.rows.lines[row])
        raise next(reversed(self.unreadable.values()))

    def _corner(self, rng: np.random.Generator, row: int, at: int, h: int, w: int, edge: int) -> tuple[int, int]:
        """Top left of a crop that holds the block wherever it can, on the blocks' own grid."""
        if at < 0:
            return int(rng.integers(h - edge + 1)), int(rng.integers(w - edge + 1))
        own = self.rows.blocks[row]
        top, left, size = int(own.y[at]), int(own.x[at]), int(own.size[at])
        found = []
        for start, limit in ((top, h), (left, w)):
            low, high = max(0, start + size - edge), min(start, limit - edge)
            steps = np.arange(start - (start - low) // size * size, high + 1, size) if low <= high else np.array([])
            found.append(int(rng.choice(steps)) if len(steps) else int(np.clip(start, 0, limit - edge)))
        return found[0], found[1]

    def _pixels(self, row: int, y: int, x: int, edge: int, gains: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        view, raw = self.view, self.rows.store.window(row, y, y + edge, x, x + edge).astype(np.float32)
        mean, sd = np.array(self.scaling.mean), np.array(self.scaling.sd)
        if self.scaling.each:
            if row not in self._own:
                self._own[row] = own_scaling(self.rows.store.whole(row))
            mean, sd = self._own[row]
        channels = len(raw)
        if channels == 3 and self.scaling.each and (view.stain or view.stain_offset):
            changed = jitter_stains(
                raw / self.scaling.full, np.exp(view.stain * gains[:3]), view.stain_offset * offsets[:3]
            )
            return as_input(changed * self.scaling.full, mean, sd)
        gain = np.exp(view.gain * np.resize(gains, channels)).astype(np.float32)
        offset = (view.offset * np.resize(offsets, channels)).astype(np.float32)
        return as_input(raw, mean, sd) * gain[:, None, None] + offset[:, None, None]

    def _index(
        self, rng: np.random.Generator, row: int, at: int, y: int, x: int, edge: int, first: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Number of each pixel's block, and the coarse class of each block that lies wholly in the crop.

        The table tells of whole blocks: of overlapping ones the crop's own counts, then the first drawn; the others
        wait for another crop.
        """
        own = self.rows.blocks[row]
        inside = (own.y >= y) & (own.x >= x) & (own.y + own.size <= y + edge) & (own.x + own.size <= x + edge)
        order = rng.permutation(np.flatnonzero(inside))
        index = np.full((edge, edge), -1, np.int64)
        kept: list[int] = []
        for block in [*order[order == at], *order[order != at]]:
            top, left, size = own.y[block] - y, own.x[block] - x, own.size[block]
            place = index[top : top + size, left : left + size]
            if (place < 0).all():
                place[:] = first + len(kept)
                kept.append(int(block))
        return index, self._class[row][np.array(kept, np.int64)]


def _turned(pixels: np.ndarray, code: int) -> np.ndarray:
    turned = np.rot90(pixels, code % 4, (1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if code >= 4 else turned)
