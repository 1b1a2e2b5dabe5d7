"""How an array of Zarr, version 2 or 3, is read in windows: its chunks are files that are decoded one by one.

zarr-python is not used: it gives the fill value for a chunk that is missing, so that a half-copied image would be
read in silence, and it loads an event loop, threads and a registry of codecs into every decoding process. What
microscopes and converters write is a regular grid of chunks in a few codecs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bagscope.errors import ImageReadError, shown

_LARGEST_JSON = 10_000_000
# Their names in the metadata of either version.
_CODECS = ("blosc", "zlib", "gzip", "zstd")
_CHECKSUM_BYTES = 4


def zarr_json(path: Path) -> dict[str, Any]:
    """Read metadata of Zarr.

    Raises
    ------
    ImageReadError : no JSON object, or too large.
    """
    if path.stat().st_size > _LARGEST_JSON:
        cause = f"{path.name} has {path.stat().st_size:,} bytes"
        raise ImageReadError(cause, "No program writes such metadata; copy the folder again.", code="broken")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        cause = f"{path.name} is no JSON object"
        raise ImageReadError(cause, "Copy the folder again.", code="broken")
    return found


class ZarrArray:
    """An array in a folder: `shape`, `dtype`, `chunks`.

    Raises
    ------
    ImageReadError : no array, or one of a version, a codec or a layout that is not read.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._decoders: list[Callable[[bytes], Any]] = []
        if (folder / ".zarray").is_file():
            self._version_2(zarr_json(folder / ".zarray"))
        elif (folder / "zarr.json").is_file():
            self._version_3(zarr_json(folder / "zarr.json"))
        else:
            cause = f"no array in {shown(folder.name)}, which the metadata names"
            raise ImageReadError(cause, "Copy the folder again.", code="missing_file")
        whole = all(isinstance(n, int) and n > 0 for n in (*self.shape, *self.chunks))
        if not whole or len(self.shape) != len(self.chunks) or len(self.shape) < 2:
            cause = f"an array of shape {self.shape} in chunks of {self.chunks}"
            raise ImageReadError(cause, "Copy the folder again.", code="broken")
        if self.dtype.kind not in "buif":
            cause = f"pixels that are no numbers ({self.dtype})"
            raise ImageReadError(cause, "Save it as 8 or 16 bit.", code="dtype")

    def _version_2(self, said: dict[str, Any]) -> None:
        self.shape, self.chunks = tuple(said["shape"]), tuple(said["chunks"])
        self.dtype, self._order, self._fill = (
            np.dtype(str(said["dtype"])),
            str(said.get("order", "C")),
            said["fill_value"],
        )
        self._separator, self._prefix = str(said.get("dimension_separator", ".")), ""
        if said.get("filters"):
            raise _unknown(said["filters"], "filters")
        if said.get("compressor"):
            self._decoders = [_decoder(str(said["compressor"].get("id")))]

    def _version_3(self, said: dict[str, Any]) -> None:
        if said.get("zarr_format") != 3 or said.get("node_type") != "array":
            raise _unknown(said.get("zarr_format"), "version")
        self.shape = tuple(said["shape"])
        self.chunks = tuple(said["chunk_grid"]["configuration"]["chunk_shape"])
        self._order, self._fill = "C", said["fill_value"]
        keys = said.get("chunk_key_encoding", {})
        is_plain = keys.get("name", "default") == "default"
        self._separator = str(keys.get("configuration", {}).get("separator", "/" if is_plain else "."))
        self._prefix = "c" + self._separator if is_plain else ""
        endian: Literal["<", ">"] = "<"
        for codec in said.get("codecs", []):
            name = str(codec.get("name"))
            if name == "bytes":
                endian = ">" if codec.get("configuration", {}).get("endian") == "big" else "<"
            elif name == "crc32c":
                self._decoders.append(_verified)
            else:
                self._decoders.append(_decoder(name))
        self.dtype = np.dtype(str(said["data_type"])).newbyteorder(endian)

    def read(self, lead: Sequence[int], window: tuple[int, int, int, int]) -> np.ndarray:
        """Read a window (y0, y1, x0, x1) of the last two axes, at one place of the others.

        A chunk that is missing has the array's fill value.
        """
        y0, y1, x0, x1 = window
        high, wide = self.chunks[-2:]
        out = np.full((y1 - y0, x1 - x0), self._fill or 0, self.dtype.newbyteorder("="))
        inside = tuple(at % edge for at, edge in zip(lead, self.chunks, strict=False))
        for row, column, path in self._meeting(lead, window):
            if not path.is_file():
                continue
            pixels = self._decoded(path)[inside]
            top, left = row * high, column * wide
            up, down = max(top, y0), min(top + high, y1)
            before, behind = max(left, x0), min(left + wide, x1)
            out[up - y0 : down - y0, before - x0 : behind - x0] = pixels[
                up - top : down - top, before - left : behind - left
            ]
        return out

    def missing(self, lead: Sequence[int]) -> list[str]:
        """Names of the chunks of a plane that are not there."""
        height, width = self.shape[-2:]
        every = self._meeting(lead, (0, height, 0, width))
        return [str(path.relative_to(self._folder)) for _, _, path in every if not path.is_file()]

    def _meeting(self, lead: Sequence[int], window: tuple[int, int, int, int]) -> Iterator[tuple[int, int, Path]]:
        y0, y1, x0, x1 = window
        high, wide = self.chunks[-2:]
        first = [at // edge for at, edge in zip(lead, self.chunks, strict=False)]
        for row in range(y0 // high, math.ceil(y1 / high)):
            for column in range(x0 // wide, math.ceil(x1 / wide)):
                key = self._prefix + self._separator.join(map(str, (*first, row, column)))
                yield row, column, self._folder / key

    def _decoded(self, path: Path) -> np.ndarray:
        data: Any = path.read_bytes()
        chunk = f"chunk {path.relative_to(self._folder)}"
        for decode in reversed(self._decoders):
            try:
                data = decode(bytes(data))
            except ImageReadError as error:
                problem, cause = error.problem, f"{chunk} {error.problem.cause}"
                raise ImageReadError(cause, problem.fix, code=problem.code) from None
        needed = math.prod(self.chunks) * self.dtype.itemsize
        if len(data) != needed:
            cause = f"{chunk} has {len(data):,} bytes decoded, {needed:,} are expected"
            raise ImageReadError(cause, "Copy it again.", code="truncated")
        return np.frombuffer(data, self.dtype).reshape(self.chunks, order="F" if self._order == "F" else "C")


def _decoder(name: str) -> Callable[[bytes], Any]:
    if name not in _CODECS:
        raise _unknown(name, "codec")
    # Imported here: all that is not compressed so is read without imagecodecs, too.
    try:
        import imagecodecs
    except ImportError:
        cause = f"compression {name} needs imagecodecs"
        raise ImageReadError(cause, "Run `pip install imagecodecs`.", code="codec") from None
    decode: Callable[[bytes], Any] = getattr(imagecodecs, f"{name}_decode")
    return decode


def _verified(data: bytes) -> bytes:
    """Return the content before its CRC-32C, once the two agree.

    Raises
    ------
    ImageReadError : they do not.
    """
    # Imported here, as imagecodecs above: few images have such checksums. Python alone would need a second for 8 MB.
    import google_crc32c

    content, stored = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if google_crc32c.value(content) != int.from_bytes(stored, "little"):
        cause = "is damaged: its bytes do not match their checksum (crc32c)"
        raise ImageReadError(cause, "Copy the image again from where it was made.", code="checksum")
    return content


def _unknown(value: object, what: str) -> ImageReadError:
    cause = f"a Zarr array with {what} {shown(value)}"
    known = ", ".join(_CODECS)
    return ImageReadError(cause, f"Save it plainly or with one of {known}, or as OME-TIFF.", code="codec")
