"""How an image file of any kind becomes (C, H, W) pixels, a header, or label numbers: one error for all faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from bagscope.errors import ImageReadError
from bagscope.files.colour import finite
from bagscope.files.content import kind_of, suffix_warning
from bagscope.files.guard import guarded
from bagscope.files.header import Header, Picture, Selection, Window
from bagscope.files.ome_zarr import ZarrPicture
from bagscope.files.png import PngPicture
from bagscope.files.rasters import BmpPicture, JpegPicture
from bagscope.files.tiff import TiffPicture

__all__ = ["Header", "Selection", "Window", "open_image", "read_header", "read_labels"]

_FORMATS: dict[str, Callable[[Path, Selection], Picture]] = {
    "tiff": TiffPicture,
    "png": PngPicture,
    "jpeg": JpegPicture,
    "bmp": BmpPicture,
    "zarr": ZarrPicture,
}
_ANY = Selection()
_FEW_LABELS = 10


def read_header(path: Path | str, selection: Selection = _ANY) -> Header:
    """Say what an image is, and refuse all that can be known to fail, without decoding a pixel.

    Raises
    ------
    ImageReadError : whatever is wrong, with file, cause and fix.
    """
    path = Path(path)

    def read() -> Header:
        with _opened(path, selection) as picture:
            return picture.header

    return guarded(path, read)


def open_image(path: Path | str, selection: Selection = _ANY, window: Window | None = None) -> np.ndarray:
    """Read the pixels of an image exactly as they are stored.

    A window is equal to that part of the whole image.

    Parameters
    ----------
    selection : which plane is meant, and how odd pixels are treated.
    window : (y0, y1, x0, x1) in pixels of the chosen level, inside the image; None for all of it.

    Returns
    -------
    (C, H, W), the stored type of number (1-bit pixels as uint8 0 and 1) in the machine's byte order, contiguous.

    Raises
    ------
    ImageReadError : whatever is wrong, with file, cause and fix; never half an image.
    """
    path = Path(path)

    def read() -> np.ndarray:
        with _opened(path, selection) as picture:
            if window is not None:
                _refuse_outside(window, picture.header)
            pixels = finite(picture.read(window), selection, lambda: picture.read(None))
            return np.ascontiguousarray(pixels, picture.header.dtype)

    return guarded(path, read)


def read_labels(path: Path | str) -> np.ndarray:
    """Read a label image: each pixel the number of the object it belongs to, exactly as stored.

    Returns
    -------
    (H, W) of any type of whole number; indices of a palette are the numbers.

    Raises
    ------
    ImageReadError : as `open_image`; also colour, several planes, fractions, or a lossy compression, which
        makes numbers that nobody wrote: most labels are then single pixels.
    """
    path = Path(path)

    def read() -> np.ndarray:
        with _opened(path, Selection(alpha="drop")) as picture:
            if picture.header.lossy:
                cause = f"label numbers in a lossy file ({picture.header.compression}) are not what was saved"
                raise ImageReadError(cause, "Save the labels as PNG or TIFF.", code="lossy_labels")
            labels = picture.read_indices()
            if labels.dtype.kind not in "bui":
                cause = f"{labels.dtype} pixels where label numbers are expected"
                raise ImageReadError(cause, "Save the labels as whole numbers.", code="labels")
            whole = np.uint8 if labels.dtype.kind == "b" else labels.dtype.newbyteorder("=")
            labels = np.ascontiguousarray(labels, whole)
            _refuse_specks(labels)
            return labels

    return guarded(path, read)


def _refuse_specks(labels: np.ndarray) -> None:
    """Numbers most of which stand on one pixel alone come from a lossy file, or from grey values."""
    pixels = np.unique(labels[labels > 0], return_counts=True)[1]
    alone = int((pixels == 1).sum())
    if len(pixels) >= _FEW_LABELS and alone > len(pixels) / 2:
        cause = f"{alone} of {len(pixels)} labels are single pixels: a lossy mask, or no label image"
        fix = "Save the labels as PNG or TIFF without resizing; centres of cells go into a table, --cells FILE.csv."
        raise ImageReadError(cause, fix, code="lossy_labels")


@contextmanager
def _opened(path: Path, selection: Selection) -> Iterator[Picture]:
    kind = kind_of(path)
    picture = _FORMATS[kind](path, selection)
    try:
        said = suffix_warning(path, kind)
        picture.header = replace(picture.header, warnings=(*said, *picture.header.warnings))
        yield picture
    finally:
        picture.close()


def _refuse_outside(window: Window, header: Header) -> None:
    y0, y1, x0, x1 = window
    if not (0 <= y0 < y1 <= header.height and 0 <= x0 < x1 <= header.width):
        cause = f"rows {y0} to {y1} and columns {x0} to {x1} of {header.height}x{header.width} pixels"
        raise ImageReadError(cause, "Ask for a part inside the image.", code="window")
