"""How a field of OME-Zarr, version 0.4 or 0.5, becomes (C, H, W) pixels: levels and axes as its metadata names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bagscope.errors import ImageReadError, shown
from bagscope.files import tiff_axes
from bagscope.files.header import Header, Selection, Window
from bagscope.files.memory import allowed_bytes, refuse_larger
from bagscope.files.pixel_size import LARGEST_UM, SMALLEST_UM, unit_um
from bagscope.files.tiff_axes import Stack
from bagscope.files.zarr_array import ZarrArray, zarr_json

_METADATA = (".zarray", ".zattrs", ".zgroup", "zarr.json")
_VERSIONS = ("0.4", "0.5")
_SHOWN = 3


def is_zarr(path: Path) -> bool:
    """True for a folder with the metadata of Zarr in it."""
    return path.is_dir() and any((path / name).is_file() for name in _METADATA)


class ZarrPicture:
    """A field of OME-Zarr, or a single array of two axes or three, channels first; see `header.Picture`."""

    def __init__(self, path: Path, selection: Selection):
        self._selection = selection
        said = _multiscales(path)
        axes, folders, scale, names = ("", [path], {}, ()) if said is None else _told(path, said)
        if not 0 <= selection.level < len(folders):
            cause = f"level {selection.level} is asked for, the image has {len(folders)} (numbers from 0)"
            raise ImageReadError(cause, "Choose one with --set images.level=0.", code="level")
        self._array = array = ZarrArray(folders[selection.level])
        axes = axes or "CYX"[-len(array.shape) :]
        if len(axes) != len(array.shape) or axes[-2:] != "YX":
            cause = f"axes {axes} for an array of {len(array.shape)}"
            raise ImageReadError(cause, "Rows and columns are to be its last axes.", code="axes")
        lead = array.shape[:-2]
        pages = np.arange(int(np.prod(lead, dtype=np.int64))).reshape(lead)
        stack = Stack(axes[:-2] or "I", lead or (1,), pages if lead else pages.reshape(1), channel_names=names)
        self._lead = lead
        self._places = tiff_axes.choose(stack, selection)
        height, width = array.shape[-2:]
        um = scale.get((selection.level, "X"))
        self.header = Header(
            path=path,
            kind="zarr",
            height=height,
            width=width,
            channels=len(self._places),
            dtype=np.dtype("uint8") if array.dtype.kind == "b" else array.dtype.newbyteorder("="),
            axes=stack.shown_axes() + "YX",
            planes=stack.planes,
            levels=len(folders),
            channel_names=names if len(names) == len(self._places) else (),
            pixel_um=um,
            compression="zarr",
            lossy=False,
            z_um=scale.get((selection.level, "Z")),
            piece=(array.chunks[-2], array.chunks[-1]),
        )
        self._refuse_missing()

    def close(self) -> None:
        """Nothing is open."""

    def _refuse_missing(self) -> None:
        missing = [name for place in self._places.ravel() for name in self._array.missing(self._at(int(place)))]
        if missing and not self._selection.sparse_as_zero:
            cause = f"{len(missing)} chunks are missing ({', '.join(missing[:_SHOWN])})"
            fix = "Copy them again; where empty ones were left out on purpose: --set images.sparse_as_zero=true."
            raise ImageReadError(cause, fix, code="no_data")

    def _at(self, place: int) -> tuple[int, ...]:
        return tuple(int(n) for n in np.unravel_index(place, self._lead)) if self._lead else ()

    def read(self, window: Window | None) -> np.ndarray:
        """Decode (C, H, W) pixels; of several depths the brightest pixel counts."""
        window = window or (0, self.header.height, 0, self.header.width)
        size = (window[1] - window[0], window[3] - window[2])
        needed = self.header.channels * size[0] * size[1] * self.header.dtype.itemsize
        refuse_larger(needed, allowed_bytes(self._selection.max_bytes), "the part that is read")
        out = np.empty((self.header.channels, *size), self.header.dtype)
        for channel, depths in enumerate(self._places.tolist()):
            for number, place in enumerate(depths):
                pixels = self._array.read(self._at(place), window)
                out[channel] = np.maximum(out[channel], pixels) if number else pixels
        return out

    def read_indices(self) -> np.ndarray:
        """Decode (H, W) label numbers."""
        if self._places.size != 1:
            cause = f"{self.header.channels} channels where label numbers are expected"
            raise ImageReadError(cause, "Save the labels as one plane of whole numbers.", code="labels")
        return self.read(None)[0]


def _multiscales(path: Path) -> dict[str, Any] | None:
    """First image of the folder's metadata, None for a single array.

    Raises
    ------
    ImageReadError : a version that is not read, or a plate where a field is expected.
    """
    if (path / "zarr.json").is_file():
        said = zarr_json(path / "zarr.json")
        if said.get("node_type") == "array":
            return None
        said = said.get("attributes", {}).get("ome", {})
        version = said.get("version", "0.5")
    elif (path / ".zarray").is_file():
        return None
    else:
        said = zarr_json(path / ".zattrs") if (path / ".zattrs").is_file() else {}
        version = (said.get("multiscales") or [{}])[0].get("version", "0.4")
    if not said.get("multiscales"):
        cause = "a plate, not a field" if "plate" in said else "a Zarr group without an image"
        raise ImageReadError(cause, "Name a field in it, such as plate.zarr/B/3/0.", code="no_image")
    if version not in _VERSIONS:
        cause = f"OME-Zarr version {shown(version)}"
        raise ImageReadError(cause, f"Versions {' and '.join(_VERSIONS)} are read; convert it.", code="version")
    found = said["multiscales"][0]
    return found | {"omero": said.get("omero", {})}


def _told(path: Path, said: dict[str, Any]) -> tuple[str, list[Path], dict[tuple[int, str], float], tuple[str, ...]]:
    """Axes, folders of levels, micrometres by level and axis, names of channels."""
    axes = [str(one["name"]).upper() for one in said["axes"]]
    units = [unit_um(str(one.get("unit", ""))) for one in said["axes"]]
    folders, scale = [], {}
    for level, one in enumerate(said["datasets"]):
        place = path / str(one["path"])
        if not place.resolve().is_relative_to(path.resolve()):
            cause = f"level {shown(one['path'])} leads out of the folder"
            raise ImageReadError(cause, "No program writes this; do not trust the folder.", code="outside")
        folders.append(place)
        for change in one.get("coordinateTransformations", []):
            for axis, unit, factor in zip(axes, units, change.get("scale", []), strict=False):
                if unit and SMALLEST_UM <= float(factor) * unit <= LARGEST_UM:
                    scale[level, axis] = float(factor) * unit
    channels = said["omero"].get("channels", []) if isinstance(said["omero"], dict) else []
    return "".join(axes), folders, scale, tuple(str(one.get("label", "")) for one in channels)
