"""Write files whole or not at all: bytes, JSON and OME-TIFF; read JSON of unknown origin."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import tifffile

from bagscope.atomic import cannot_write, free_bytes, replacing
from bagscope.errors import ModelError, shown


def write_atomic(path: Path | str, content: bytes | bytearray | memoryview | str, *, durable: bool = True) -> None:
    """Write a file so that it is there whole or not at all, whatever stops the program; text as UTF-8.

    Missing folders are made. What was there before stays until the new content is safe on the disk.

    Parameters
    ----------
    durable : wait for the disk. Without, a machine that loses its power may lose the content too: for files
        that are known to be damaged when they are read, and made again then.

    Raises
    ------
    FolderError : no room, no right to write, or a file where a folder should be; nothing is left behind.
    """
    body = content.encode() if isinstance(content, str) else content
    needed = len(body) if not isinstance(body, memoryview) else body.nbytes
    with replacing(Path(path), needed, durable=durable) as stream:
        stream.write(body)


def write_json(path: Path | str, value: Any, *, durable: bool = True) -> None:
    """Write JSON for people and programs: keys in their order, two spaces, a newline at the end.

    Parameters
    ----------
    durable : as `write_atomic`.

    Raises
    ------
    ValueError : a number that is none (JSON has neither NaN nor infinity); nothing is written.
    FolderError : as `write_atomic`.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # names of files that are no text
        content = json.dumps(value, indent=2, allow_nan=False).encode()
    write_atomic(path, content + b"\n", durable=durable)


def read_json(path: Path | str, limit_bytes: int) -> Any:
    """Read JSON that may come from anybody: its size is looked at first, and nothing but values comes out.

    Raises
    ------
    ModelError : not there, too large, no UTF-8, no JSON, nested too deeply, or numbers that JSON cannot have.
    """
    path = Path(path)
    fix = "The file was changed or damaged: copy it again, or make it anew."
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            cause = "no file"
            raise ModelError(cause, fix, code="no_file", file=path)
        with path.open("rb") as stream:
            content = stream.read(limit_bytes + 1)
    except OSError as error:
        cause = f"it cannot be read ({error.strerror})"
        raise ModelError(cause, "Copy the whole folder again.", code="no_file", file=path) from None
    if len(content) > limit_bytes:
        cause = f"it has {max(found.st_size, len(content)):,} bytes, {limit_bytes:,} are allowed"
        raise ModelError(cause, fix, code="too_large", file=path)
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_number, parse_float=_number)
    except RecursionError:
        cause = "it is nested too deeply"
        raise ModelError(cause, fix, code="bad_json", file=path) from None
    except ValueError as error:
        cause = f"no JSON: {shown(error)[1:-1]}"
        raise ModelError(cause, fix, code="bad_json", file=path) from None


def _no_number(name: str) -> NoReturn:
    message = f"{name} is no number"
    raise ValueError(message)


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:20])


def write_ome_tiff(
    path: Path | str,
    pixels: np.ndarray,
    *,
    channel_names: Sequence[str],
    pixel_um: float | None = None,
    compression: str | None = None,
) -> None:
    """Write (C, H, W) pixels as OME-TIFF; the file's bytes depend on these arguments alone.

    Parameters
    ----------
    channel_names : C names.
    pixel_um : micrometres per pixel.
    compression : a name that tifffile knows, such as "zlib".

    Raises
    ------
    ValueError : pixels of another shape, or another number of names.
    FolderError : as `write_atomic`.
    """
    if pixels.ndim != 3 or len(pixels) != len(channel_names) or not pixels.size:
        message = f"pixels {pixels.shape} and channels {tuple(channel_names)}: (C, H, W) and C names are expected"
        raise ValueError(message)
    sizes = {} if pixel_um is None else {f"PhysicalSize{axis}": pixel_um for axis in "XY"}
    _write_tiff(Path(path), pixels, {"axes": "CYX", "Channel": {"Name": list(channel_names)}}, sizes, compression)


def write_volume_tiff(path: Path | str, voxels: np.ndarray, *, spacing: Sequence[float]) -> None:
    """Write (Z, Y, X) voxels as OME-TIFF, compressed; the file's bytes depend on these arguments alone.

    Parameters
    ----------
    spacing : micrometres between voxels, z, y, x.

    Raises
    ------
    FolderError : as `write_atomic`.
    """
    sizes = {f"PhysicalSize{axis}": float(edge) for axis, edge in zip("ZYX", spacing, strict=True)}
    _write_tiff(Path(path), voxels, {"axes": "ZYX"}, sizes, "zlib")


def _write_tiff(
    path: Path, pixels: np.ndarray, described: dict[str, Any], sizes: dict[str, float], compression: str | None
) -> None:
    # tifffile would derive an identifier from clock and network card, so that no two runs made the same file.
    identifier = uuid.UUID(bytes=hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest())
    units = {f"{name}Unit": "µm" for name in sizes}
    metadata = {**described, "UUID": str(identifier), **sizes, **units}
    with replacing(path, pixels.nbytes) as stream:
        tifffile.imwrite(stream, pixels, ome=True, photometric="minisblack", compression=compression, metadata=metadata)


@contextmanager
def scratch_file(folder: Path | str, needed: int) -> Iterator[BinaryIO]:
    """Give an empty file that is gone when the block ends; one that a killed program leaves is swept like any other.

    Parameters
    ----------
    needed : bytes that will be written.

    Raises
    ------
    FolderError : not so many bytes are free, or no right to write.
    """
    path = Path(folder) / f".scratch.{uuid.uuid4().hex[:8]}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if free_bytes(path.parent) < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            with path.open("xb+") as stream:
                yield stream
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path.parent, error, needed) from error
