"""How a PNG becomes (C, H, W) pixels: exactly as they are stored, 16 bits and few bits too, checksums looked at."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from bagscope.errors import ImageReadError
from bagscope.files.colour import Colour
from bagscope.files.memory import allowed_bytes, refuse_larger
from bagscope.files.rasters import Layout, Raster

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_TAIL = 1 << 16
_METRES_PER_INCH = 0.0254
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _GREY_ALPHA: (8, 16), _RGB_ALPHA: (8, 16)}
# Grey of few bits comes out of Pillow stretched to 0..255; label numbers and intensities are wanted as stored.
_STRETCH = {2: 85, 4: 17}
_SMALL = ("PLTE", "tRNS", "pHYs", "acTL")
_LARGEST_SMALL = 1024
_PIECE = 1 << 20
# First row and column, and steps, of the seven passes of an interlaced PNG.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


class PngPicture(Raster):
    """A PNG picture whose header was checked."""

    kind = "png"

    def _layout(self) -> Layout:
        with self._path.open("rb") as stream:
            head, small = _head(stream)
            size = stream.seek(0, io.SEEK_END)
            stream.seek(max(0, size - _TAIL))
            if _END not in stream.read():
                cause = "it has no end: the file was cut"
                raise ImageReadError(cause, "Copy it again.", code="truncated")
        width, height, depth, self._type, interlaced = head
        self._is_interlaced = bool(interlaced)
        if "acTL" in small and int.from_bytes(small["acTL"][:4], "big") > 1:
            cause = "an animation, not one picture"
            raise ImageReadError(cause, "Save one picture of it.", code="axes")
        self._size, self._depth, self._file_size = (height, width), depth, size
        self._transparent = small.get("tRNS", b"")
        if self._transparent and self._type == _RGB and len(self._transparent) < 6:
            cause = "its transparent colour is cut off"
            raise ImageReadError(cause, "Save it anew.", code="broken")
        return Layout(height, width, self._colour_of(small), "deflate", _per_inch(small.get("pHYs", b"")))

    def _colour_of(self, small: dict[str, bytes]) -> Colour:
        dtype = np.dtype(bool if self._depth == 1 else np.uint16 if self._depth == 16 else np.uint8)
        has_alpha = bool(self._transparent) or self._type in (_GREY_ALPHA, _RGB_ALPHA)
        samples = _SAMPLES[self._type] + bool(self._transparent)
        if self._type != _PALETTE:
            kind = "grey" if self._type in (_GREY, _GREY_ALPHA) else "rgb"
            return Colour(kind, samples, dtype, self._depth, None, has_alpha)
        colours = small.get("PLTE", b"")
        if not colours or len(colours) % 3:
            cause = "a palette image without its palette"
            raise ImageReadError(cause, "Save it as grey or RGB.", code="broken")
        palette = np.frombuffer(colours, np.uint8).reshape(-1, 3)
        return Colour("palette", samples, np.dtype(np.uint8), self._depth, palette, has_alpha)

    def _stored(self) -> np.ndarray:
        content = self._plain_content()
        if self._depth == 16 and self._type != _GREY:
            # Pillow would make 8 bits of it without a word. All else works without imagecodecs.
            import imagecodecs

            self._refuse_other_length(content)
            stored = imagecodecs.png_decode(content)
        else:
            with PngImageFile(io.BytesIO(content)) as image:
                stored = np.asarray(image)
        stored = stored.reshape(*self._size, -1)
        if self._type == _GREY and self._depth in _STRETCH:
            stored = stored // np.uint8(_STRETCH[self._depth])
        return np.concatenate([stored, self._alpha_of(stored)], axis=2) if self._transparent else stored

    def _plain_content(self) -> bytes:
        """Return the file without texts, profiles and animations, which the pixels do not depend on.

        Raises
        ------
        ImageReadError : a chunk whose checksum is wrong.
        """
        what = "the file's content"
        refuse_larger(self._file_size, allowed_bytes(self._selection.max_bytes, undivided=True), what)
        parts = [_SIGNATURE]
        with self._path.open("rb") as stream:
            stream.seek(len(_SIGNATURE))
            for name, length in _chunks(stream):
                if name not in ("IHDR", "PLTE", "IDAT", "IEND"):
                    stream.seek(length + 4, io.SEEK_CUR)
                    continue
                body, check = stream.read(length), stream.read(4)
                if len(check) < 4:
                    cause = "the file was cut"
                    raise ImageReadError(cause, "Copy it again.", code="truncated")
                typed = name.encode() + body
                if zlib.crc32(typed) != int.from_bytes(check, "big"):
                    cause = f"the checksum of a chunk {name} is wrong"
                    raise ImageReadError(cause, "Copy it again.", code="broken")
                parts += [struct.pack(">I", length), typed, check]
        return b"".join(parts)

    def _refuse_other_length(self, content: bytes) -> None:
        """Refuse pixels that are too many or too few; libpng would unpack all that there are, however many.

        Raises
        ------
        ImageReadError : code "broken".
        """
        expected = _unpacked_bytes(self._size, 2 * _SAMPLES[self._type], self._is_interlaced)
        unpacker, length = zlib.decompressobj(), 0
        stream = io.BytesIO(content)
        stream.seek(len(_SIGNATURE))
        for name, size in _chunks(stream):
            packed = stream.read(size + 4)[:size] if name == "IDAT" else b""
            stream.seek(0 if name == "IDAT" else size + 4, io.SEEK_CUR)
            while packed and length <= expected:
                length += len(unpacker.decompress(packed, _PIECE))
                packed = unpacker.unconsumed_tail
        if length != expected:
            cause = f"it holds {'more' if length > expected else 'fewer'} pixels than its header says"
            raise ImageReadError(cause, "Copy it again, or save it anew.", code="broken")

    def _alpha_of(self, stored: np.ndarray) -> np.ndarray:
        """Return how opaque each pixel is, (H, W, 1): a palette says it per index, else one colour is transparent."""
        if self._type == _PALETTE:
            opaque = np.full(256, 255, np.uint8)
            opaque[: len(self._transparent)] = np.frombuffer(self._transparent[:256], np.uint8)
            return opaque[stored]
        colour = np.frombuffer(self._transparent[: 2 * stored.shape[2]], ">u2")
        return (stored != colour).any(axis=2, keepdims=True).astype(stored.dtype)


def _head(stream: BinaryIO) -> tuple[tuple[int, int, int, int, int], dict[str, bytes]]:
    """Return width, height, depth, colour type and whether interlaced, and the small chunks before the pixels."""
    stream.seek(len(_SIGNATURE))
    small: dict[str, bytes] = {}
    head = None
    for name, length in _chunks(stream):
        if name == "IDAT":
            break
        if (name == "IHDR") != (head is None):
            cause = "its first chunk is not its header"
            raise ImageReadError(cause, "Save it anew.", code="broken")
        body = stream.read(length) if length <= _LARGEST_SMALL else b""
        stream.seek(4 + length - len(body), io.SEEK_CUR)
        if name == "IHDR":
            head = _size_and_type(body)
        elif name in _SMALL:
            small[name] = body
    else:
        cause = "it has no pixels"
        raise ImageReadError(cause, "Copy it again.", code="truncated")
    if head is None:
        cause = "its first chunk is not its header"
        raise ImageReadError(cause, "Save it anew.", code="broken")
    return head, small


def _unpacked_bytes(size: tuple[int, int], per_pixel: int, is_interlaced: bool) -> int:
    """Return how many bytes rows take, each behind the byte that names its filter."""
    height, width = size
    if not is_interlaced:
        return height * (1 + width * per_pixel)
    passes = [(len(range(top, height, down)), len(range(left, width, across))) for top, left, down, across in _ADAM7]
    return sum(rows * (1 + columns * per_pixel) for rows, columns in passes if columns)


def _size_and_type(body: bytes) -> tuple[int, int, int, int, int]:
    if len(body) != 13:
        cause = "its header is cut off"
        raise ImageReadError(cause, "Copy it again.", code="truncated")
    width, height, depth, colour_type = struct.unpack(">IIBB", body[:10])
    if depth not in _DEPTHS.get(colour_type, ()):
        cause = f"a PNG of colour type {colour_type} and {depth} bits, which does not exist"
        raise ImageReadError(cause, "Save it anew.", code="broken")
    if not width or not height:
        cause = "it has no pixels"
        raise ImageReadError(cause, "Save the image anew.", code="no_pixels")
    return width, height, depth, colour_type, body[12]


def _chunks(stream: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield name and length of each chunk up to the end's; the stream then stands at its body."""
    while True:
        start = stream.read(8)
        if len(start) < 8:
            return
        name = start[4:].decode("latin-1")
        yield name, int.from_bytes(start[:4], "big")
        if name == "IEND":
            return


def _per_inch(physical: bytes) -> tuple[float, float]:
    if len(physical) < 9 or physical[8] != 1:  # 1: metres; else only the pixels' shape is given
        return 0, 0
    across, down = struct.unpack(">II", physical[:8])
    return across * _METRES_PER_INCH, down * _METRES_PER_INCH
