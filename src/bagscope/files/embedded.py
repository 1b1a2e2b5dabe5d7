"""How large the picture is that a TIFF keeps in one strip or tile: asked before a decoder takes memory for it."""

from __future__ import annotations

import struct

_JPEG, _JPEG2000, _JPEGXL = {7, 33007, 34892}, {33003, 33004, 33005, 34712}, {50002, 52546}
_PNG, _WEBP = {34933}, {34927, 50001}
_NO_SIZE = {0xC4, 0xC8, 0xCC}  # markers among those of frames that are none
_SEEN = 1 << 16


def picture_size(content: bytes, compression: int) -> tuple[int, int] | None:
    """Return height and width that a compressed picture itself declares; None when nobody can tell.

    Parameters
    ----------
    content : a strip or tile as it is stored.
    compression : number of the TIFF's compression.
    """
    try:
        if compression in _JPEG:
            return _jpeg(content)
        if compression in _JPEG2000:
            begin = content.index(b"\xff\x4f\xff\x51", 0, _SEEN) + 8
            x1, y1, x0, y0 = struct.unpack_from(">4I", content, begin)
            return y1 - y0, x1 - x0
        if compression in _PNG:
            width, height = struct.unpack_from(">2I", content, 16)
            return height, width
        if compression in _WEBP:
            return _webp(content)
        if compression in _JPEGXL:
            return _jpegxl(content)
    except (ValueError, struct.error, IndexError):
        return None  # broken: the decoder says how
    return None


def _jpeg(content: bytes) -> tuple[int, int] | None:
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            height, width = struct.unpack_from(">2H", content, at + 5)
            return height, width
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", content, at + 2)[0]
    return None


def _webp(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if len(content) < (25 if kind == b"VP8L" else 30):
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[27:30], "little"), 1 + int.from_bytes(content[24:27], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<2H", content, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _jpegxl(content: bytes) -> tuple[int, int] | None:
    """Read the first bits of the codestream (ISO/IEC 18181-1, SizeHeader)."""
    begin = 0 if content[:2] == b"\xff\x0a" else content.index(b"\xff\x0a", content.index(b"jxl", 12, _SEEN), _SEEN)
    bits = int.from_bytes(content[begin + 2 : begin + 11], "little")
    if len(content) < begin + 11:
        return None

    def take(number: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << number) - 1), bits >> number
        return value

    is_in_eights = take(1)

    def length() -> int:
        return 8 * (1 + take(5)) if is_in_eights else 1 + take((9, 13, 18, 30)[take(2)])

    height = length()
    ratio = take(3)
    if not ratio:
        return height, length()
    across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height, height * across // down
