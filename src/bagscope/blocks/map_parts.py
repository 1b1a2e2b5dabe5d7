"""Results of one mapped image, stored as a part: an image is done when its part exists and its map is unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bagscope.engine.parts import read_stored
from bagscope.errors import ImageReadError
from bagscope.files.signature import signature
from bagscope.files.writer import write_json

LARGEST = 10_000_000


@dataclass(frozen=True)
class BlockSums:
    """Blocks of one coarse class in an image: their number, and per fine class sum and sum of squares of the share."""

    coarse: str
    n: int
    sums: tuple[float, ...]
    squares: tuple[float, ...]


@dataclass(frozen=True)
class MapAccuracy:
    """Accuracy of the map of one class.

    wide, narrow : pixels in the wide and the narrow band round the true boundary: (intersection, union, truth, map).
    distance : of the boundaries in pixels; None where one mask has none, or the truth is unknown in part.
    pepper : specks per 10,000 pixels.
    """

    name: str
    wide: tuple[int, int, int, int]
    narrow: tuple[int, int, int, int]
    distance: float | None
    pepper: float | None


@dataclass(frozen=True)
class MapPart:
    """Results of the map of one image.

    pixels : number of pixels of each class.
    probability : mean over the image, of each class.
    low, high : interval of each class's fraction; empty for an image of a single square.
    unsure : fraction of unsure pixels.
    regions : number of regions.
    map_file, regions_file : within the score folder; `kept` is a fingerprint of these and of the table of regions.
    """

    height: int
    width: int
    pixel_um: float | None
    pixels: tuple[int, ...]
    probability: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    unsure: float
    regions: int
    map_file: str
    regions_file: str
    blocks: tuple[BlockSums, ...] = ()
    right: tuple[MapAccuracy, ...] = ()
    kept: str = ""


def save_part(path: Path, mark: str, part: MapPart) -> None:
    """Write a part whole or not at all."""
    write_json(path, {"fingerprint": mark, "part": asdict(part)}, durable=False)


def load_part(path: Path, mark: str, files: Sequence[Path]) -> MapPart | None:
    """Return the part if it is intact, has this fingerprint, and its files are unchanged; else None."""
    found = read_stored(path, mark, LARGEST)
    if found is None:
        return None
    try:
        part = _part(found["part"])
        return part if part.kept == signature(files) else None
    except (ImageReadError, KeyError, TypeError, ValueError):
        return None  # a part that is damaged, or whose files are missing, is made again


def _part(found: dict[str, Any]) -> MapPart:
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    blocks = tuple(
        BlockSums(str(one["coarse"]), int(one["n"]), tuple(one["sums"]), tuple(one["squares"]))
        for one in found["blocks"]
    )
    right = tuple(
        MapAccuracy(one["name"], tuple(one["wide"]), tuple(one["narrow"]), one["distance"], one["pepper"])
        for one in found["right"]
    )
    return MapPart(**(plain | {"blocks": blocks, "right": right}))
