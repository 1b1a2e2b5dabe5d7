"""How regions of a map become outlines that QuPath opens: valid polygons with holes, in full-resolution pixels."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from shapely import Polygon
from shapely.geometry import mapping

# Colours of classes: those of Okabe and Ito, which most people can tell apart.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
# One feature a line: then files can be joined without being read as JSON.
_HEAD, _TAIL = b'{"type":"FeatureCollection","features":[', b"\n]}\n"


@dataclass(frozen=True)
class Region:
    """An outline: its class, polygon (x to the right, y down, in pixels), numbers and texts by name."""

    name: str
    polygon: Polygon
    numbers: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


def simplified(polygon: Polygon, tolerance: float) -> Polygon:
    """Return an outline with fewer corners, nowhere farther from it than the tolerance, and valid still."""
    found = polygon.simplify(tolerance, preserve_topology=True) if tolerance else polygon
    return found if isinstance(found, Polygon) and found.is_valid and not found.is_empty else polygon


def feature_of(region: Region, number: int, classes: Sequence[str], seed: str = "") -> dict[str, Any]:
    """Return a region as QuPath reads it.

    Parameters
    ----------
    number : of the region in its collection. classes : their order gives them their colours.
    seed : makes the id, so that equal regions of equal images have equal ones.
    """
    colour = list(COLOURS[(classes.index(region.name) if region.name in classes else 0) % len(COLOURS)])
    numbers = {str(name): float(v) for name, v in region.numbers.items() if math.isfinite(v)}
    more = {"metadata": dict(region.metadata)} if region.metadata else {}
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"bagscope {seed} {number} {region.polygon.wkt[:200]}")),
        "geometry": mapping(region.polygon),
        "properties": {
            "objectType": "annotation",
            "name": region.name,
            "classification": {"name": region.name, "color": colour},
            "measurements": numbers,
            **more,
        },
    }


def write_features(stream: BinaryIO, features: Iterable[bytes]) -> None:
    """Write a collection feature by feature, so that as many as there are need no more memory than one."""
    stream.write(_HEAD)
    for number, feature in enumerate(features):
        stream.write(b",\n" if number else b"\n")
        stream.write(feature)
    stream.write(_TAIL)


def read_features(path: Path) -> Iterator[bytes]:
    """Yield the features of a file that `write_features` wrote, each as it stands there."""
    with path.open("rb") as stream:
        stream.readline()
        for line in stream:
            if line != _TAIL.lstrip():
                yield line.rstrip(b",\n")


def geojson_bytes(feature: Mapping[str, Any]) -> bytes:
    """Write a feature as one line of UTF-8 JSON without numbers that are none."""
    return json.dumps(feature, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
