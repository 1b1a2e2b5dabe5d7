"""Where the probabilities of one image wait until its map is written: tiles in a file, so that memory stays flat."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from math import prod
from typing import BinaryIO

import numpy as np

# Probabilities are kept in steps of 1/1024, which float32 holds exactly and compresses well.
STEPS = 1024
# An image with a longer side than this gets smaller copies, down to the second number.
LARGE, SMALL = 4096, 1024


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of an image and of its smaller copies, each half of the one before, rounded up."""
    sizes = [(height, width)]
    while max(height, width) > LARGE and max(sizes[-1]) > SMALL:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def stored_bytes(classes: int, height: int, width: int, tile: int) -> int:
    """Bytes that a store takes on the disk."""
    counts = [-(-h // tile) * -(-w // tile) for h, w in level_sizes(height, width)]
    return sum(counts) * classes * tile * tile * 2


class TileStore:
    """Tiles (C, T, T) of whole numbers from 0 to `STEPS`, one after the other in a file, level by level.

    Parameters
    ----------
    stream : an empty file. tile : T.
    """

    def __init__(self, stream: BinaryIO, classes: int, height: int, width: int, tile: int):
        self.classes, self.height, self.width, self.tile = classes, height, width, tile
        self.levels = level_sizes(height, width)
        self._stream, self._digest = stream, hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> bytes:
        """16 bytes that stand for what was put."""
        return self._digest.digest()

    def put(self, y0: int, x0: int, probability: np.ndarray) -> np.ndarray:
        """Keep the tile whose top left pixel is (y0, x0): (C, h, w) in [0, 1]; return it as it is kept, in steps."""
        numbers = np.rint(probability * STEPS).astype("<u2")
        short = [(0, self.tile - edge) for edge in numbers.shape[1:]]
        full = np.pad(numbers, ((0, 0), *short)) if any(more for _, more in short) else numbers
        self._digest.update(numbers.tobytes())
        self._write(0, y0 // self.tile, x0 // self.tile, full)
        return (numbers / np.float32(STEPS)).astype(np.float32)

    def make_levels(self) -> None:
        """Make the smaller copies, each pixel the mean of four."""
        for level in range(1, len(self.levels)):
            down, across = self._tiles(level)
            for row in range(down):
                for column in range(across):
                    self._write(level, row, column, self._halved(level - 1, row, column))

    def tiles(self, level: int) -> Iterator[np.ndarray]:
        """Yield probabilities (T, T), float32: class by class, row by row."""
        down, across = self._tiles(level)
        for k in range(self.classes):
            for row in range(down):
                for column in range(across):
                    yield (self._read(level, row, column, k) / np.float32(STEPS)).astype(np.float32)

    def whole(self) -> np.ndarray:
        """All probabilities, (C, H, W) float32."""
        found = np.empty((self.classes, self.height, self.width), np.float32)
        down, across = self._tiles(0)
        t = self.tile
        for row in range(down):
            for column in range(across):
                place = found[:, row * t : (row + 1) * t, column * t : (column + 1) * t]
                for k in range(self.classes):
                    place[k] = self._read(0, row, column, k)[: place.shape[1], : place.shape[2]]
        return found / np.float32(STEPS)

    def _tiles(self, level: int) -> tuple[int, int]:
        height, width = self.levels[level]
        return -(-height // self.tile), -(-width // self.tile)

    def _halved(self, finer: int, row: int, column: int) -> np.ndarray:
        t, (down, across) = self.tile, self._tiles(finer)
        four = np.empty((self.classes, 2 * t, 2 * t), np.uint32)
        for i in (0, 1):
            for j in (0, 1):
                here = four[:, i * t : (i + 1) * t, j * t : (j + 1) * t]
                r, c = 2 * row + i, 2 * column + j
                for k in range(self.classes if r < down and c < across else 0):
                    here[k] = self._read(finer, r, c, k)
        # Beyond the finer copy's own edge go on with its last row and column.
        below, right = (edge - 2 * at * t for edge, at in zip(self.levels[finer], (row, column), strict=True))
        if right < 2 * t:
            four[:, :, right:] = four[:, :, right - 1 : right]
        if below < 2 * t:
            four[:, below:] = four[:, below - 1 : below]
        summed = four.reshape(self.classes, t, 2, t, 2).sum((2, 4))
        return ((summed + 2) // 4).astype("<u2")

    def _offset(self, level: int, row: int, column: int) -> int:
        before = sum(prod(self._tiles(k)) for k in range(level)) + row * self._tiles(level)[1] + column
        return before * self.classes * self.tile * self.tile * 2

    def _write(self, level: int, row: int, column: int, numbers: np.ndarray) -> None:
        self._stream.seek(self._offset(level, row, column))
        self._stream.write(np.ascontiguousarray(numbers).data)

    def _read(self, level: int, row: int, column: int, k: int) -> np.ndarray:
        size = self.tile * self.tile * 2
        self._stream.seek(self._offset(level, row, column) + k * size)
        return np.frombuffer(self._stream.read(size), "<u2").reshape(self.tile, self.tile)
