"""How the files of one field, one for all channels or one per channel, become one (C, H, W) array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from bagscope.errors import ImageReadError
from bagscope.files.header import Header, Selection, Window
from bagscope.files.memory import allowed_bytes, refuse_larger
from bagscope.files.reader import open_image, read_header

# Rounding in different programs; more is another objective or another camera.
_PIXEL_SIZE_TOLERANCE = 0.02
Found = TypeVar("Found")


@dataclass(frozen=True)
class FieldFiles:
    """The files of one field of view.

    Parameters
    ----------
    paths : one file with all channels, or one file per channel.
    channels : their names, in order; () when the table names none.
    selection : which planes of the files are meant.
    """

    paths: tuple[Path, ...]
    channels: tuple[str, ...]
    selection: Selection = Selection()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if not self.paths or (len(self.paths) > 1 and len(self.paths) != len(self.channels)):
            message = f"{len(self.paths)} files for channels {self.channels}: one file, or one per channel"
            raise ValueError(message)


def read_field_header(field: FieldFiles) -> Header:
    """Say what a field is without decoding a pixel: of several files, what they are together.

    Raises
    ------
    ImageReadError : a file that cannot be read, with its channel as the column; files of several
        channels each, or that differ in size or type of number.
    """
    if len(field.paths) == 1:
        return read_header(field.paths[0], field.selection)
    headers = [
        _of_channel(field, at, partial(read_header, path, field.selection)) for at, path in enumerate(field.paths)
    ]
    first = headers[0]
    for at, header in enumerate(headers):
        _refuse_several(field, at, header.channels)
        _refuse_other(field, at, "size", f"{first.height}x{first.width}", f"{header.height}x{header.width}")
        # An 8-bit channel among 16-bit ones is mostly a picture for a talk, exported beside the data.
        _refuse_other(field, at, "type", str(first.dtype), str(header.dtype))
    refuse_larger(_bytes(first) * len(headers), allowed_bytes(field.selection.max_bytes), "the field")
    um, remarks = _pixel_um(headers)
    warnings = [f"{path.name}: {text}" for path, header in zip(field.paths, headers, strict=True)
                for text in header.warnings]  # fmt: skip
    return replace(
        first,
        channels=len(headers),
        axes="C" + first.axes,
        planes=sum(header.planes for header in headers),
        levels=min(header.levels for header in headers),
        channel_names=field.channels,
        pixel_um=um,
        lossy=any(header.lossy for header in headers),
        warnings=(*warnings, *remarks),
    )


def read_field(field: FieldFiles, window: Window | None = None) -> np.ndarray:
    """Read the pixels of a field, (C, H, W), channels in the order of its files.

    Raises
    ------
    ImageReadError : as `read_field_header` and `reader.open_image`.
    """
    if len(field.paths) == 1:
        return open_image(field.paths[0], field.selection, window)
    stacked = np.empty(0)
    for at, path in enumerate(field.paths):
        pixels = _of_channel(field, at, partial(open_image, path, field.selection, window))
        _refuse_several(field, at, len(pixels))
        if at == 0:
            needed = pixels.nbytes * len(field.paths)
            refuse_larger(needed, allowed_bytes(field.selection.max_bytes), "the field")
            stacked = np.empty((len(field.paths), *pixels.shape[1:]), pixels.dtype)
        shapes = [f"{height}x{width}" for height, width in (stacked.shape[1:], pixels.shape[1:])]
        _refuse_other(field, at, "size", *shapes)
        _refuse_other(field, at, "type", str(stacked.dtype), str(pixels.dtype))
        stacked[at] = pixels[0]
    return stacked


def _of_channel(field: FieldFiles, at: int, read: Callable[[], Found]) -> Found:
    try:
        return read()
    except ImageReadError as error:
        said = error.problem
        raise ImageReadError(
            said.cause, said.fix, code=said.code, file=said.file, column=f"image_{field.channels[at]}"
        ) from error


def _refuse_several(field: FieldFiles, at: int, channels: int) -> None:
    if channels != 1:
        cause = f"{channels} channels where one is expected, {field.channels[at]}"
        fix = "Name one file per channel, or one file with all channels in the column 'image'."
        raise _refused(field, at, cause, fix, "channels")


def _refuse_other(field: FieldFiles, at: int, what: str, first: str, here: str) -> None:
    if first != here:
        cause = f"its {what} is {here}, that of {field.paths[0].name} is {first}"
        raise _refused(field, at, cause, "Save the channels of a field alike.", f"channel_{what}")


def _refused(field: FieldFiles, at: int, cause: str, fix: str, code: str) -> ImageReadError:
    return ImageReadError(cause, fix, code=code, file=field.paths[at], column=f"image_{field.channels[at]}")


def _bytes(header: Header) -> int:
    return header.height * header.width * header.dtype.itemsize


def _pixel_um(headers: list[Header]) -> tuple[float | None, list[str]]:
    said = [header.pixel_um for header in headers if header.pixel_um]
    if said and max(said) > (1 + _PIXEL_SIZE_TOLERANCE) * min(said):
        return None, [f"pixel sizes differ between channels ({min(said):g} and {max(said):g} um): none is used"]
    return (said[0], []) if said else (None, [])
