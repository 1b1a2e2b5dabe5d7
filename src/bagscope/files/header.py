"""What is asked of an image file, and what it says before any pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Selection:
    """Which plane of a stack is meant, and how odd pixels are treated.

    Parameters
    ----------
    page : number of the page in the file, from 0; overrules `z` and `t`.
    z : plane of a z-stack: number from 0, "max" (brightest of all planes) or "mid"; None: the only one.
    t : time point, from 0; None: the only one.
    level : level of a pyramid, 0 is full resolution.
    alpha : "refuse" an alpha channel that varies, or "drop" it; one that is constant is always dropped.
    nan : "refuse" NaN and infinity, or "mask": fill them with the median of the channel.
    gray : take a colour picture for one grey channel, the mean of its samples.
    sparse_as_zero : read segments that a sparse TIFF leaves out (offset and count 0) as zeros.
    max_bytes : largest decoded image; 0 = a quarter of the free memory.
    """

    page: int | None = None
    z: int | str | None = None
    t: int | None = None
    level: int = 0
    alpha: str = "refuse"
    nan: str = "refuse"
    gray: bool = False
    sparse_as_zero: bool = False
    max_bytes: int = 0


@dataclass(frozen=True)
class Header:
    """What a file says of the image that a `Selection` means; of a pyramid, of the level chosen.

    Parameters
    ----------
    kind : "tiff", "png", "jpeg", "bmp" or "zarr", told from the content.
    height, width, channels, dtype : of the array that `open_image` gives.
    axes : of the file, outermost first, axes of length 1 left out ("YX", "CYX", "ZCYX", "YXS"; I: unlabelled).
    planes : number of two-dimensional planes in the file.
    levels : number of resolutions, 1 without a pyramid.
    channel_names : () when the file has none.
    pixel_um : micrometres per pixel, when the file says so in a known unit.
    z_um : micrometres from plane to plane of a z-stack, likewise.
    warnings : sentences.
    piece : height and width of what can be decoded alone, such as a tile; None: only the whole.
    """

    path: Path
    kind: str
    height: int
    width: int
    channels: int
    dtype: np.dtype
    axes: str
    planes: int
    levels: int
    channel_names: tuple[str, ...]
    pixel_um: float | None
    compression: str
    lossy: bool
    warnings: tuple[str, ...] = ()
    z_um: float | None = None
    piece: tuple[int, int] | None = None


class Picture(Protocol):
    """An opened image file: what every format has to offer.

    A class is called with path and selection; it looks at the structure of the file at once and
    raises `ImageReadError` for all that can be known without decoding.
    """

    header: Header

    def read(self, window: Window | None) -> np.ndarray:
        """Decode (C, H, W) pixels, or only a window of them."""

    def read_indices(self) -> np.ndarray:
        """Decode (H, W) label numbers: palettes are not looked up, samples are one."""

    def close(self) -> None:
        """Let go of the file."""
