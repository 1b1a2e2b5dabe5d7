"""How BMP and JPEG pictures become (C, H, W) pixels, and what all formats share that are decoded in one piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile

from bagscope.errors import ImageReadError, shown
from bagscope.files.colour import Colour, channels_of
from bagscope.files.header import Header, Selection, Window
from bagscope.files.memory import allowed_bytes, refuse_larger
from bagscope.files.pixel_size import MICROMETRES, from_resolution, square_pixel_size
from bagscope.files.tiff_axes import choose, unlabelled

_END_OF_JPEG = b"\xff\xd9"
# Cameras write thumbnails and makers' notes behind the picture; the end mark is looked for in so much of the file.
_TAIL = 1 << 16
_BMP_CORE_HEADER = 12


@dataclass(frozen=True)
class Layout:
    """What a picture's own header says.

    Parameters
    ----------
    per_inch : pixels per inch along x and y; 0 = not said.
    """

    height: int
    width: int
    colour: Colour
    compression: str
    per_inch: tuple[float, float] = (0, 0)


class Raster(ABC):
    """A picture of one plane and one resolution; see `header.Picture`.

    A format says what its header holds and how its samples are decoded.
    """

    kind: ClassVar[str]
    lossy: ClassVar[bool] = False

    def __init__(self, path: Path, selection: Selection):
        self._path, self._selection = path, selection
        try:
            layout = self._layout()
            _refuse_other_planes(selection)
            needed = _bytes(layout, selection)
            refuse_larger(needed, allowed_bytes(selection.max_bytes, undivided=True))
        except BaseException:
            self.close()
            raise
        self._colour = layout.colour
        self.header = self._header(layout)

    @abstractmethod
    def _layout(self) -> Layout:
        """Read and check the header; decodes nothing."""

    @abstractmethod
    def _stored(self) -> np.ndarray:
        """Decode all samples, (H, W, S)."""

    def close(self) -> None:  # noqa: B027 - a format that keeps no file open has nothing to do
        """Let go of the file."""

    def _header(self, layout: Layout) -> Header:
        sizes = [from_resolution(per_inch, MICROMETRES["inch"]) for per_inch in layout.per_inch]
        um, remarks = square_pixel_size(*sizes)
        channels = layout.colour.channels(self._selection)
        return Header(
            path=self._path,
            kind=self.kind,
            height=layout.height,
            width=layout.width,
            channels=channels,
            dtype=layout.colour.result_dtype,
            axes="YX" if layout.colour.samples == 1 else "YXS",
            planes=1,
            levels=1,
            channel_names=("R", "G", "B") if channels == 3 and layout.colour.is_coloured else (),
            pixel_um=um,
            compression=layout.compression,
            lossy=self.lossy,
            warnings=tuple(remarks),
        )

    def read(self, window: Window | None) -> np.ndarray:
        """Decode (C, H, W) pixels; a window is cut out of the whole."""
        pixels = channels_of(self._stored(), self._colour, self._selection)
        if window is None:
            return pixels
        y0, y1, x0, x1 = window
        return pixels[:, y0:y1, x0:x1]

    def read_indices(self) -> np.ndarray:
        """Decode (H, W) label numbers."""
        samples = self._colour.samples - self._colour.has_alpha
        if samples != 1:
            cause = f"{samples} channels where label numbers are expected"
            raise ImageReadError(cause, "Save the labels as one plane of whole numbers.", code="labels")
        return self._stored()[..., 0]


def _bytes(layout: Layout, selection: Selection) -> int:
    colour = layout.colour
    stored = colour.samples * colour.dtype.itemsize
    result = colour.channels(selection) * colour.result_dtype.itemsize
    return layout.height * layout.width * (result + (stored if stored != result else 0))


def _refuse_other_planes(selection: Selection) -> None:
    choose(unlabelled((0,)), selection)
    for name, number in (("page", selection.page), ("level", selection.level)):
        if number:
            cause = f"{name} {shown(number)} is asked for, the file has 1 (numbers from 0)"
            fix = f"Correct it in the table or with --set images.{name}=0."
            raise ImageReadError(cause, fix, code="level" if name == "level" else "plane")


class _Pillow(Raster):
    """A picture that Pillow opens and decodes.

    The format's own class is called and not `PIL.Image.open`: that would have its own limit on size,
    which is for the whole process.
    """

    _image: JpegImageFile | BmpImageFile | None = None

    def close(self) -> None:
        if self._image is not None:
            self._image.close()

    def _stored(self) -> np.ndarray:
        assert self._image is not None
        stored = np.asarray(self._image)
        return stored if stored.ndim == 3 else stored[..., None]

    def _per_inch(self) -> tuple[float, float]:
        assert self._image is not None
        said = self._image.info.get("dpi", (0, 0))
        return float(said[0]), float(said[1])


class JpegPicture(_Pillow):
    """A JPEG picture whose header was checked."""

    kind, lossy = "jpeg", True

    def _layout(self) -> Layout:
        self._image = image = JpegImageFile(self._path)
        colours = {"L": Colour("grey", 1, np.dtype(np.uint8)), "RGB": Colour("rgb", 3, np.dtype(np.uint8))}
        if image.mode not in colours:
            cause = f"colour model {image.mode}"
            raise ImageReadError(cause, "Save it as grey or RGB.", code="colour_model")
        self._refuse_cut()
        return Layout(image.height, image.width, colours[image.mode], "jpeg", self._per_inch())

    def _refuse_cut(self) -> None:
        """The decoder fills the rest of the picture's last rows with grey, without a word."""
        assert self._image is not None
        # Pillow stops behind the mark that begins the pixels: an end mark before it belongs to a thumbnail.
        begin, size = self._image.fp.tell() if self._image.fp else 0, self._path.stat().st_size
        with self._path.open("rb") as stream:
            stream.seek(max(begin, size - _TAIL))
            if _END_OF_JPEG not in stream.read(_TAIL):
                cause = "it has no end: the file was cut"
                raise ImageReadError(cause, "Copy it again.", code="truncated")


class BmpPicture(_Pillow):
    """A BMP picture whose header was checked."""

    kind = "bmp"

    def _layout(self) -> Layout:
        self._image = image = BmpImageFile(self._path)
        bits = self._bits()
        # Pillow takes the pixels of these for others when the palette is grey.
        if (image.mode, bits) not in (("1", 1), ("L", 8), ("RGB", bits), ("RGBA", 32), ("P", bits)):
            cause = f"a BMP of {bits} bits and a grey palette"
            raise ImageReadError(cause, "Save it as PNG.", code="codec")
        is_packed = image.info["compression"] in (1, 2)
        if not is_packed:
            self._refuse_cut(-(-image.width * bits // 32) * 4 * image.height)
        compression = "rle" if is_packed else "none"
        return Layout(image.height, image.width, self._colour_of(bits), compression, self._per_inch())

    def _refuse_cut(self, needed: int) -> None:
        assert self._image is not None
        if self._image.tile[0].offset + needed > self._path.stat().st_size:
            cause = "it has fewer rows than its header says: the file was cut"
            raise ImageReadError(cause, "Copy it again.", code="truncated")

    def _bits(self) -> int:
        with self._path.open("rb") as stream:
            head = stream.read(30)
        at = 24 if int.from_bytes(head[14:18], "little") == _BMP_CORE_HEADER else 28
        return int.from_bytes(head[at : at + 2], "little")

    def _colour_of(self, bits: int) -> Colour:
        assert self._image is not None
        if self._image.mode == "1":
            return Colour("grey", 1, np.dtype(bool), 1)
        if self._image.mode == "L":
            return Colour("grey", 1, np.dtype(np.uint8))
        if self._image.mode == "P":
            assert self._image.palette is not None
            raw = np.frombuffer(bytes(self._image.palette.palette), np.uint8)
            width = 4 if self._image.palette.rawmode == "BGRX" else 3
            palette = np.ascontiguousarray(raw.reshape(-1, width)[:, 2::-1])
            return Colour("palette", 1, np.dtype(np.uint8), bits, palette)
        has_alpha = self._image.mode == "RGBA"
        return Colour("rgb", 3 + has_alpha, np.dtype(np.uint8), 8, None, has_alpha)
