"""What is known of a mapped image, kept in a file: done means that it is there and its map is still the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bagscope.engine.parts import read_stored
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
    """How right the map of a class is: (both, either, truth, found) pixels in the wide and the narrow band, and more.

    distance, pepper : None where they say nothing.
    """

    name: str
    wide: tuple[int, int, int, int]
    narrow: tuple[int, int, int, int]
    distance: float | None
    pepper: float | None


@dataclass(frozen=True)
class MapPart:
    """What a map says of an image.

    pixels : of each class. probability : mean over the image, of each class. low, high : interval of each share; empty
    where one square alone says nothing. unsure : share of pixels. regions : number. map_file, regions_file : within the
    score folder; kept : stands for their content and that of the table of regions.
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
    """Write a part; it is whole or absent."""
    write_json(path, {"fingerprint": mark, "part": asdict(part)}, durable=False)


def load_part(path: Path, mark: str, files: Sequence[Path]) -> MapPart | None:
    """Return a part that is whole, has this fingerprint, and whose files are as they were written; else None."""
    found = read_stored(path, mark, LARGEST)
    if found is None:
        return None
    try:
        part = _part(found["part"])
        return part if part.kept == signature(files) else None
    except (OSError, KeyError, TypeError, ValueError):
        return None  # a part that was damaged is made again


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
