"""How a volume, a stack of planes or an array, is read with the spacing of its voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bagscope.errors import ImageReadError, shown
from bagscope.files.field import FieldFiles
from bagscope.files.guard import guarded
from bagscope.files.header import Selection
from bagscope.files.memory import allowed_bytes, refuse_larger
from bagscope.files.npz import array_headers, read_array
from bagscope.files.reader import read_header
from bagscope.files.worker import DecodingWorker

Spacing = tuple[float, float, float]
_NPZ = ".npz"
_SPACING = "spacing"


@dataclass(frozen=True)
class VolumeFile:
    """Where a volume lies: a file, the channel of a stack that has several, or the array of a .npz, and its row.

    Parameters
    ----------
    at : number of the volume in an array of four axes.
    """

    path: Path
    channel: int = 0
    array: str = ""
    at: int | None = None


@dataclass(frozen=True)
class VolumeHeader:
    """Shape (Z, Y, X) of a volume, its type, and micrometres between voxels z, y, x where the file says so.

    array : its name in a .npz. count : volumes that are decoded to get at this one.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    spacing: Spacing | None
    array: str = ""
    count: int = 1


def read_volume_header(file: VolumeFile) -> VolumeHeader:
    """Say what a volume is without decoding it.

    Raises
    ------
    ImageReadError : whatever is wrong, with file, cause and fix: one plane, no such channel or array, several times.
    """
    if file.path.suffix.lower() == _NPZ:
        return guarded(file.path, lambda: _npz_header(file))
    header = read_header(file.path, Selection(z=0, t=0))
    depth, channels = _sizes(file, header.axes, header.planes, header.channels)
    if file.channel >= channels:
        cause = f"channel {file.channel} is asked for, the volume has {channels} (numbers from 0)"
        raise ImageReadError(cause, "Correct --set volumes.channel=0.", code="channel", file=file.path)
    known = header.pixel_um and header.z_um
    spacing = (header.z_um, header.pixel_um, header.pixel_um) if known else None
    return VolumeHeader((depth, header.height, header.width), header.dtype, spacing)  # type: ignore[arg-type]


def read_volume(file: VolumeFile, worker: DecodingWorker, max_bytes: int = 0) -> tuple[np.ndarray, VolumeHeader]:
    """Read a volume (Z, Y, X) as it is stored.

    Parameters
    ----------
    worker : decodes planes, and may die of one without harm.
    max_bytes : largest volume; 0 = a quarter of the free memory.

    Raises
    ------
    ImageReadError : as `read_volume_header`; also a volume larger than allowed.
    """
    header = read_volume_header(file)
    needed = header.count * math.prod(header.shape) * header.dtype.itemsize
    try:
        refuse_larger(needed, allowed_bytes(max_bytes), "the volume")
    except ImageReadError as error:
        raise ImageReadError(error.problem.cause, error.problem.fix, code="too_large", file=file.path) from None
    if file.path.suffix.lower() == _NPZ:
        return worker.run(read_array, file.path, header.array, file.at), header
    planes = np.empty(header.shape, header.dtype)
    for z in range(header.shape[0]):
        planes[z] = worker.read(FieldFiles((file.path,), (), Selection(z=z)))[file.channel]
    return planes, header


def _sizes(file: VolumeFile, axes: str, planes: int, channels: int) -> tuple[int, int]:
    """Depth and channels; axes as a header names them."""
    if "T" in axes:
        cause = f"axes {axes}: a time series"
        raise ImageReadError(cause, "Save each time as a file of its own.", code="axes", file=file.path)
    if "I" in axes:
        # Pages without a description: nothing else than depths makes sense in a volume.
        return planes, channels
    if "Z" not in axes:
        cause = f"axes {axes}: one plane, no volume"
        raise ImageReadError(cause, "Give a stack of planes (ZYX).", code="flat", file=file.path)
    return planes // channels if "C" in axes else planes, channels


def _npz_header(file: VolumeFile) -> VolumeHeader:
    shapes = array_headers(file.path)
    name = _array_name(file, shapes)
    (shape, dtype), count = shapes[name], 1
    if len(shape) == 4:
        if file.at is None or not 0 <= file.at < shape[0]:
            cause = f"array '{name}' holds {shape[0]} volumes, and row {file.at} is asked for"
            fix = "Name the volume, from 0, in the table's column 'page'."
            raise ImageReadError(cause, fix, code="plane")
        count, shape = shape[0], shape[1:]
    if len(shape) != 3 or min(shape) < 1 or dtype.kind not in "bui":
        cause = f"array '{name}' of shape {shape} and type {dtype}"
        raise ImageReadError(cause, "Give whole numbers or truth values, (Z, Y, X).", code="flat")
    told = None
    if _SPACING in shapes and shapes[_SPACING][0] == (3,):
        with np.load(file.path, allow_pickle=False) as arrays:
            told = tuple(float(one) for one in arrays[_SPACING])
        if not all(0 < one < math.inf for one in told):
            cause = f"spacing {told} in its array '{_SPACING}': three numbers above 0 are expected"
            raise ImageReadError(cause, "Correct it, or fill the column spacing_um.", code="bad_spacing")
    return VolumeHeader(shape, dtype, told, name, count)  # type: ignore[arg-type]


def _array_name(file: VolumeFile, shapes: dict[str, tuple[tuple[int, ...], np.dtype]]) -> str:
    if file.array and file.array not in shapes:
        cause = f"no array '{file.array}', there are {', '.join(map(shown, shapes))}"
        raise ImageReadError(cause, "Correct --set volumes.array=NAME.", code="array")
    found = [name for name, (shape, _) in shapes.items() if len(shape) in (3, 4)]
    if not file.array and len(found) != 1:
        cause = f"{len(found)} arrays of three or four axes: {', '.join(map(shown, found)) or 'none'}"
        raise ImageReadError(cause, "Name one with --set volumes.array=NAME.", code="array")
    return file.array or found[0]


def spacing_of(text: str, header: VolumeHeader, given: str, file: Path) -> Spacing:
    """Return micrometres between voxels: the table's, else the file's, else those of the settings.

    Parameters
    ----------
    text : the row's `spacing_um`, z;y;x. given : the setting, z,y,x; "" for none.

    Raises
    ------
    ImageReadError : nobody says, or a spacing that is none.
    """
    if text:
        return _numbers(text, file)
    if header.spacing is not None:
        return header.spacing
    if given:
        return _numbers(given, file)
    cause = "nobody says how far apart its planes are, or its pixels are not square"
    fix = "Fill the column spacing_um (z;y;x in um), or give --spacing z,y,x; --spacing 1,1,1 counts in voxels."
    raise ImageReadError(cause, fix, code="no_spacing", file=file)


def _numbers(text: str, file: Path) -> Spacing:
    parts: Sequence[str] = text.replace(",", ";").split(";")
    try:
        found = tuple(float(part) for part in parts)
    except ValueError:
        found = ()
    if len(found) != 3 or not all(0 < one < math.inf for one in found):
        cause = f"spacing {shown(text)}: three numbers above 0 are expected"
        raise ImageReadError(cause, "Write z;y;x in um, such as 1.75;0.8;0.8.", code="bad_spacing", file=file)
    return found
