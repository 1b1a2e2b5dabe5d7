"""How the strips and tiles of a TIFF page become pixels: checked against the file first, decoded one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tifffile import TIFF, TiffFile, TiffPage

from bagscope.errors import ImageReadError
from bagscope.files.embedded import picture_size
from bagscope.files.header import Window

_UNCOMPRESSED = 1
_JPEG = {6, 7, 34892, 33007}
_WHOLE_JPEG = {7, 33007}  # 6 and the pieces of an NDPI slide have their ends elsewhere
LOSSY = _JPEG | {33003, 33005, 34712, 34887, 22610, 50001, 50002}
_END_OF_JPEG = b"\xff\xd9"
# Some writers pad a segment behind its end.
_PADDING = 256
# Encoders of JPEG work in blocks of up to 16 pixels, and some write the last one whole.
_BLOCK = 16


@dataclass(frozen=True)
class Plane:
    """One plane of the image: a page, and how far behind the page's own data it lies (0 for the page's own)."""

    page: TiffPage
    shift: int = 0


def word(page: TiffPage) -> str:
    """Strip or tile."""
    return "tile" if page.is_tiled else "strip"


def segment_shape(page: TiffPage) -> tuple[int, int]:
    """Height and width of a whole segment."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def samples_inside(page: TiffPage) -> int:
    """Samples per pixel within one segment: all of them, or 1 when each sample has segments of its own."""
    return int(page.samplesperpixel) if page.planarconfig == 1 else 1


def row_bytes(page: TiffPage) -> int:
    """Bytes of a row of a decoded segment as it lies in an uncompressed file."""
    bits = page.bitspersample if isinstance(page.bitspersample, int) else sum(page.bitspersample)
    per_pixel = bits * (samples_inside(page) if isinstance(page.bitspersample, int) else 1)
    return math.ceil(segment_shape(page)[1] * per_pixel / 8)


def stored_type(page: TiffPage) -> np.dtype:
    """Type of the stored numbers.

    Raises
    ------
    ImageReadError : pixels that are no numbers.
    """
    if page.dtype is None or page.dtype.kind not in "buif":
        what = f"{page.bitspersample}-bit, sample format {int(page.sampleformat or 0)}"
        cause = f"pixels that are no numbers ({what})"
        raise ImageReadError(cause, "Save it as 8 or 16 bit.", code="dtype")
    return page.dtype


def largest_segment(page: TiffPage) -> int:
    """Bytes of the largest decoded segment."""
    height, width = segment_shape(page)
    return height * width * samples_inside(page) * stored_type(page).itemsize


def check_readable(page: TiffPage) -> None:
    """Refuse pages that no decoder here can read.

    Raises
    ------
    ImageReadError : codec missing or unknown, numbers that are no pixels, no area.
    """
    if not page.imagelength or not page.imagewidth:
        cause = "it has no pixels"
        raise ImageReadError(cause, "Save the image anew.", code="no_pixels")
    stored_type(page)
    if page.imagedepth > 1:
        cause = f"one page holds a volume of {page.imagedepth} planes"
        raise ImageReadError(cause, "Save it as a stack of pages.", code="axes")
    if page.is_subsampled and page.compression not in _JPEG:
        cause = "colour that is stored at a lower resolution than brightness, without JPEG"
        raise ImageReadError(cause, "Save it as plain RGB.", code="codec")
    if page.compression == _UNCOMPRESSED:
        return
    name = getattr(page.compression, "name", str(page.compression))
    try:
        TIFF.DECOMPRESSORS[page.compression]
        if page.predictor != 1 and page.compression not in TIFF.IMAGE_COMPRESSIONS:
            TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        if "imagecodecs" in str(error):
            cause = f"compression {name} needs imagecodecs"
            raise ImageReadError(cause, "Run `pip install imagecodecs`.", code="codec") from None
        cause = f"compression {name} is not known"
        raise ImageReadError(cause, "Save it with another compression.", code="codec") from None


def check_segments(planes: list[Plane], size: int, sparse_as_zero: bool) -> None:
    """Refuse planes whose data are not all in the file; decodes nothing.

    Every segment must have data, lie within the file and share no byte with another one: a reader
    that trusts the table gives black or shifted rows, or 3.6 GB for 36 kB.

    Parameters
    ----------
    size : of the file in bytes.
    sparse_as_zero : segments with offset and count 0 are left out on purpose.

    Raises
    ------
    ImageReadError : codes "no_data", "truncated" and "overlap".
    """
    starts, stops = [], []
    for plane in planes:
        offsets, counts = _table(plane, sparse_as_zero)
        there = counts > 0
        starts.append(offsets[there])
        stops.append(offsets[there] + counts[there])
        beyond = np.flatnonzero(there & (offsets + counts > size))
        if len(beyond):
            cause = f"{word(plane.page)} {beyond[0]} of {len(counts)} lies beyond the end of the file: it was cut"
            raise ImageReadError(cause, "Copy it again.", code="truncated")
    start, stop = np.concatenate(starts), np.concatenate(stops)
    order = np.argsort(start, kind="stable")
    if (stop[order][:-1] > start[order][1:]).any():
        cause = f"{word(planes[0].page)}s share the same bytes of the file: {_decoded(planes):,} bytes from {size:,}"
        raise ImageReadError(cause, "No camera writes this; do not trust the file.", code="overlap")


def _decoded(planes: list[Plane]) -> int:
    return sum(int(plane.page.nbytes) for plane in planes)


def expected_segments(page: TiffPage) -> int:
    """Number of segments that cover the page."""
    height, width = segment_shape(page)
    across = math.ceil(page.imagewidth / width)
    per_sample = math.ceil(page.imagelength / height) * across
    return per_sample * (1 if page.planarconfig == 1 else int(page.samplesperpixel))


def _table(plane: Plane, sparse_as_zero: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return where each segment lies and its bytes, of uncompressed ones the bytes that its rows need."""
    page, name = plane.page, word(plane.page)
    offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    expected = expected_segments(page)
    if len(offsets) < expected or len(counts) < expected:
        cause = f"{min(len(offsets), len(counts))} of {expected} {name}s are listed"
        raise ImageReadError(cause, "Copy the file again, or save it anew.", code="no_data")
    offsets, counts = offsets[:expected], counts[:expected]
    empty = (offsets == 0) | (counts == 0)
    if sparse_as_zero:
        empty &= ~((offsets == 0) & (counts == 0))
    if empty.any():
        cause = f"{name} {np.flatnonzero(empty)[0]} of {expected} has no data"
        fix = "Save it anew; sparse files that leave out zeros: --set images.sparse_as_zero=true."
        raise ImageReadError(cause, fix, code="no_data")
    if page.compression == _UNCOMPRESSED:
        needed = _needed(page, expected)
        short = np.flatnonzero((counts < needed) & (counts > 0))
        if len(short):
            cause = (
                f"{name} {short[0]} of {expected} has {counts[short[0]]:,} bytes, its pixels take {needed[short[0]]:,}"
            )
            raise ImageReadError(cause, "Save it anew.", code="truncated")
        counts = np.where(counts > 0, needed, 0)
    return offsets + np.where(counts > 0, plane.shift, 0), counts


def is_cut(page: TiffPage, size: int) -> bool:
    """True when data that a page needs lie beyond the end of the file, whose size is given; decodes nothing."""
    offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    shown = min(len(offsets), len(counts))
    offsets, counts = offsets[:shown], counts[:shown]
    if page.compression == _UNCOMPRESSED and page.imagelength and page.imagewidth:
        needed = _needed(page, expected_segments(page))[:shown]
        counts[: len(needed)] = np.minimum(counts[: len(needed)], needed)
    return bool((offsets + counts > size).any())


def _needed(page: TiffPage, expected: int) -> np.ndarray:
    height = segment_shape(page)[0]
    rows = np.full(expected, height, np.int64)
    last = page.imagelength % height
    if not page.is_tiled and last:
        down = math.ceil(page.imagelength / height)
        rows[down - 1 :: down] = last
    return rows * row_bytes(page)


def read_plane(file: TiffFile, plane: Plane, window: Window) -> np.ndarray:
    """Decode a window of a plane, (Y, X, S); only segments that meet the window are read.

    Raises
    ------
    ImageReadError : a segment ends early. Decoders raise what they like.
    """
    page = plane.page
    y0, y1, x0, x1 = window
    out = np.zeros((y1 - y0, x1 - x0, int(page.samplesperpixel)), page.dtype)
    if is_plain(page):
        _read_rows(file, plane, window, out)
        return out
    inside = samples_inside(page)
    for index, sample in _meeting(page, window):
        pixels, (_, _, top, left, _) = _decode(file, plane, index)
        if pixels is None:
            continue
        height, width = pixels.shape[:2]
        up, down = max(top, y0), min(top + height, y1)
        before, behind = max(left, x0), min(left + width, x1)
        out[up - y0 : down - y0, before - x0 : behind - x0, sample : sample + inside] = pixels[
            up - top : down - top, before - left : behind - left
        ]
    return out


def is_plain(page: TiffPage) -> bool:
    """True for strips that lie in the file as they are in memory: then rows can be read alone."""
    regular = page.bitspersample in (8, 16, 32, 64) and stored_type(page).itemsize * 8 == page.bitspersample
    as_is = page.compression == _UNCOMPRESSED and page.predictor == 1 and page.fillorder == 1
    return as_is and regular and not page.is_tiled and not page.is_subsampled and page.sampleformat != 5


def _read_rows(file: TiffFile, plane: Plane, window: Window, out: np.ndarray) -> None:
    page = plane.page
    y0, y1, x0, x1 = window
    height, width = segment_shape(page)
    inside, line = samples_inside(page), row_bytes(page)
    stored = stored_type(page).newbyteorder(file.byteorder)
    for index, sample in _meeting(page, window):
        top = index % math.ceil(page.imagelength / height) * height
        up, down = max(top, y0), min(top + height, y1)
        if not page.databytecounts[index]:
            continue
        file.filehandle.seek(page.dataoffsets[index] + plane.shift + (up - top) * line)
        data = file.filehandle.read((down - up) * line)
        if len(data) < (down - up) * line:
            raise _ended_early(page, index)
        rows = np.frombuffer(data, stored).reshape(down - up, width, inside)
        out[up - y0 : down - y0, :, sample : sample + inside] = rows[:, x0:x1]


def _meeting(page: TiffPage, window: Window) -> Iterator[tuple[int, int]]:
    """Yield number and first sample of the segments that meet a window."""
    y0, y1, x0, x1 = window
    height, width = segment_shape(page)
    down, across = math.ceil(page.imagelength / height), math.ceil(page.imagewidth / width)
    for sample in range(0, int(page.samplesperpixel), samples_inside(page)):
        for row in range(y0 // height, math.ceil(y1 / height)):
            for column in range(x0 // width, math.ceil(x1 / width)):
                yield (sample * down + row) * across + column, sample


def _decode(file: TiffFile, plane: Plane, index: int) -> tuple[np.ndarray | None, tuple[int, ...]]:
    page = plane.page
    offset, count = page.dataoffsets[index], page.databytecounts[index]
    data = None
    if count:
        file.filehandle.seek(offset + plane.shift)
        data = file.filehandle.read(count)
        if len(data) < count and page.compression != _UNCOMPRESSED:
            raise _ended_early(page, index)
        # The decoder fills what is missing with grey, without a word.
        whole = page.compression in _WHOLE_JPEG and page.jpegheader is None
        if whole and _END_OF_JPEG not in data[-_PADDING:]:
            raise _ended_early(page, index)
        _refuse_larger_picture(page, index, data)
    pixels, place, _ = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
    return (None if pixels is None else pixels[0]), place


def _refuse_larger_picture(page: TiffPage, index: int, content: bytes) -> None:
    """A picture in a strip may be far larger than the strip; the decoder would make all of it."""
    size = picture_size(content, int(page.compression))
    if size and any(
        there > math.ceil(whole / _BLOCK) * _BLOCK for there, whole in zip(size, segment_shape(page), strict=True)
    ):
        height, width = segment_shape(page)
        cause = f"{word(page)} {index} holds a picture of {size[0]}x{size[1]} pixels, {height}x{width} are expected"
        raise ImageReadError(cause, "No camera writes this; do not trust the file.", code="broken")


def _ended_early(page: TiffPage, index: int) -> ImageReadError:
    cause = f"{word(page)} {index} ends early: the file was cut"
    return ImageReadError(cause, "Copy it again.", code="truncated")
