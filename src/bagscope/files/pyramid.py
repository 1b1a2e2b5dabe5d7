"""How a map of any size becomes an OME-TIFF, with smaller copies where it is large, without ever being in memory."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tifffile

from bagscope.atomic import replacing
from bagscope.files.tile_store import TileStore

# Beyond, offsets of a plain TIFF might not reach; compressed it is mostly far smaller.
_BIG = 2 << 30


def write_map(
    path: Path | str, store: TileStore, *, channel_names: Sequence[str], pixel_um: float | None = None
) -> int:
    """Write probabilities as tiled, compressed OME-TIFF: a float32 channel per class, values in steps of 1/1024.

    An image with a side above 4096 pixels gets smaller copies (SubIFDs), each half as large, down to 1024.

    Parameters
    ----------
    store : holds all tiles of the image. pixel_um : micrometres per pixel.

    Returns
    -------
    Number of levels.

    Raises
    ------
    FolderError : as `write_atomic`.
    """
    store.make_levels()
    size = {} if pixel_um is None else {f"PhysicalSize{axis}": float(pixel_um) for axis in "XY"}
    units = {f"{name}Unit": "µm" for name in size}
    metadata = {
        "axes": "CYX",
        "UUID": str(uuid.UUID(bytes=store.digest)),
        "Channel": {"Name": list(channel_names)},
        **size,
        **units,
    }
    smaller = len(store.levels) - 1
    needed = sum(store.classes * h * w * 4 for h, w in store.levels)
    how: dict[str, Any] = {
        "tile": (store.tile, store.tile),
        "compression": "zlib",
        "photometric": "minisblack",
        "maxworkers": 1,
    }
    with (
        replacing(Path(path), needed) as stream,
        tifffile.TiffWriter(stream, ome=True, bigtiff=needed > _BIG) as file,
    ):
        for level, (height, width) in enumerate(store.levels):
            more: dict[str, Any] = {"subfiletype": 1} if level else {"subifds": smaller, "metadata": metadata}
            shape = (store.classes, height, width)
            file.write(store.tiles(level), shape=shape, dtype="float32", **how, **more)
    return smaller + 1
