"""Where a window of a row's pixels comes from: memory when all rows fit, else the file, read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from bagscope.files.field import FieldFiles

Window = tuple[int, int, int, int]
Read = Callable[[FieldFiles, Window | None], np.ndarray]


class PixelStore:
    """The pixels of some rows, integer type kept, as (C, H, W) arrays or windows of them.

    Parameters
    ----------
    fields : the rows' files.
    shapes : (C, H, W) of each, known from the headers.
    read : reads a field or a window of it; raises ImageReadError.
    held : keep every field in memory once it was read whole.
    """

    def __init__(
        self, fields: Sequence[FieldFiles], shapes: Sequence[tuple[int, int, int]], read: Read, held: bool
    ):
        self.fields = list(fields)
        self.shapes = list(shapes)
        self.held = held
        self._read = read
        self._memory: dict[FieldFiles, np.ndarray] = {}
        self._lock = Lock()  # the worker behind `read` answers one question at a time

    def __len__(self) -> int:
        return len(self.fields)

    def take(self, positions: Sequence[int] | np.ndarray) -> PixelStore:
        """Return a store of these rows alone; what is in memory is shared."""
        some = PixelStore([self.fields[i] for i in positions], [self.shapes[i] for i in positions], self._read, self.held)
        some._memory, some._lock = self._memory, self._lock
        return some

    def whole(self, i: int) -> np.ndarray:
        """All pixels of row i, (C, H, W)."""
        field = self.fields[i]
        if field in self._memory:
            return self._memory[field]
        with self._lock:
            pixels = self._read(field, None)
        if self.held:
            self._memory[field] = pixels
        return pixels

    def window(self, i: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Pixels (C, y1 - y0, x1 - x0) of row i."""
        if self.held:
            return self.whole(i)[:, y0:y1, x0:x1]
        with self._lock:
            return self._read(self.fields[i], (y0, y1, x0, x1))


def fits_memory(bytes_needed: int, bytes_free: int) -> bool:
    """Whether a training set may be held: it takes at most a quarter of the free memory."""
    return bytes_needed <= bytes_free // 4
