"""How an idx file of MNIST becomes an array: its header is believed only as far as its content bears it out."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from bagscope.errors import ImageReadError

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTES = 8  # the only type that MNIST has
_MOST_AXES = 4
_LARGEST = 1 << 30
_COPY = "Copy the file again from its source."


def read_idx(path: Path | str, axes: int) -> np.ndarray:
    """Read an idx file of bytes, packed by gzip or not.

    Parameters
    ----------
    axes : how many axes the array must have: 3 for images, 1 for labels.

    Returns
    -------
    uint8, in the shape that the header tells.

    Raises
    ------
    ImageReadError : no such file, damaged, no idx file, or one of another type or number of axes.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            with gzip.open(raw) if packed else raw as stream:
                shape = _shape(stream.read(4), path, axes, stream)
                content = stream.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            missing = "no such file"
            raise ImageReadError(missing, _COPY, code="missing", file=path) from None
        cause = f"it cannot be unpacked ({error})"
        raise ImageReadError(cause, _COPY, code="broken", file=path) from None
    if len(content) != math.prod(shape):
        more = "more" if len(content) > math.prod(shape) else f"{len(content):,}"
        cause = f"its header tells of {math.prod(shape):,} bytes, it holds {more}"
        raise ImageReadError(cause, _COPY, code="truncated", file=path)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(head: bytes, path: Path, axes: int, stream: object) -> tuple[int, ...]:
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _UNSIGNED_BYTES or not 1 <= head[3] <= _MOST_AXES:
        cause = f"no idx file of bytes: it begins with {head.hex(' ')}"
        raise ImageReadError(cause, _COPY, code="no_idx", file=path)
    if head[3] != axes:
        cause = f"an array of {head[3]} axes, {axes} are expected"
        raise ImageReadError(cause, "Are images and labels mixed up?", code="axes", file=path)
    sizes = stream.read(4 * axes)  # type: ignore[attr-defined]
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, len(sizes), 4))
    if len(sizes) < 4 * axes or not 0 < math.prod(shape) <= _LARGEST:
        cause = f"its header tells of an array of shape {shape}"
        raise ImageReadError(cause, _COPY, code="broken", file=path)
    return shape
