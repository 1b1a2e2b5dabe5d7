"""Where a window of a row's pixels comes from: memory when all rows fit, else the file, read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np

from bagscope.errors import ImageReadError
from bagscope.files.field import FieldFiles

Window = tuple[int, int, int, int]
Read = Callable[[FieldFiles, Window | None], np.ndarray]


@dataclass(frozen=True)
class Pad:
    """How images that are too small are enlarged, at their bottom and right: least side in pixels, and with what."""

    least: int
    mode: Literal["reflect", "zero"]


class PixelStore:
    """The pixels of some rows, integer type kept, as (C, H, W) arrays or windows of them.

    Parameters
    ----------
    fields : the rows' files.
    shapes : (C, H, W) of each as stored, known from the headers.
    read : reads a field or a window of it; raises ImageReadError.
    held : keep every field in memory once it was read whole.
    pad : enlarge small images; `shapes` then tells the enlarged ones.
    """

    def __init__(
        self,
        fields: Sequence[FieldFiles],
        shapes: Sequence[tuple[int, int, int]],
        read: Read,
        held: bool,
        pad: Pad | None = None,
    ):
        self.fields = list(fields)
        self._stored = list(shapes)
        self.shapes = [(c, max(h, pad.least), max(w, pad.least)) if pad else (c, h, w) for c, h, w in shapes]
        self.held = held
        self._read, self._pad = read, pad
        self._memory: dict[FieldFiles, np.ndarray] = {}
        self._lock = Lock()  # the worker behind `read` answers one question at a time

    def __len__(self) -> int:
        return len(self.fields)

    def take(self, positions: Sequence[int] | np.ndarray, pad: Pad | None = None) -> PixelStore:
        """Return a store of these rows alone, enlarged where too small; what is in memory is shared."""
        fields, shapes = [self.fields[i] for i in positions], [self._stored[i] for i in positions]
        some = PixelStore(fields, shapes, self._read, self.held, pad or self._pad)
        some._memory, some._lock = self._memory, self._lock
        return some

    def whole(self, i: int) -> np.ndarray:
        """All pixels of row i, (C, H, W)."""
        return self._padded(i, self._as_stored(i))

    def window(self, i: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Pixels (C, y1 - y0, x1 - x0) of row i."""
        if self.held or self.shapes[i] != self._stored[i]:
            return self.whole(i)[:, y0:y1, x0:x1]
        c, _, _ = self._stored[i]
        with self._lock:
            return _unchanged(self._read(self.fields[i], (y0, y1, x0, x1)), (c, y1 - y0, x1 - x0), self.fields[i])

    def _as_stored(self, i: int) -> np.ndarray:
        field = self.fields[i]
        if field in self._memory:
            return self._memory[field]
        with self._lock:
            # Another thread may have read it while this one waited.
            if field in self._memory:
                return self._memory[field]
            pixels = _unchanged(self._read(field, None), self._stored[i], field)
            if self.held:
                self._memory[field] = pixels
        return pixels

    def _padded(self, i: int, pixels: np.ndarray) -> np.ndarray:
        if self._pad is None or self.shapes[i] == self._stored[i]:
            return pixels
        more = [(0, wanted - there) for wanted, there in zip(self.shapes[i], self._stored[i], strict=True)]
        # "symmetric" repeats the edge pixel, and so works for an image of one pixel too.
        return np.pad(pixels, more, "symmetric" if self._pad.mode == "reflect" else "constant")


def _unchanged(pixels: np.ndarray, expected: tuple[int, ...], field: FieldFiles) -> np.ndarray:
    """Refuse pixels that are not as many as the header said when it was read."""
    if pixels.shape != expected:
        there, told = ("x".join(map(str, shape)) for shape in (pixels.shape, expected))
        cause = f"changed since it was checked: {there} pixels, {told} were expected"
        raise ImageReadError(
            cause, "Let no program write to the images meanwhile.", code="changed", file=field.paths[0]
        )
    return pixels


def fits_memory(bytes_needed: int, bytes_free: int) -> bool:
    """Whether a training set may be held: it takes at most a quarter of the free memory."""
    return bytes_needed <= bytes_free // 4
