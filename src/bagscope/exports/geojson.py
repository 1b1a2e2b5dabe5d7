"""How regions of a map become outlines that QuPath opens: valid polygons with holes, in full-resolution pixels."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry import mapping

# Colours of classes: those of Okabe and Ito, which most people can tell apart.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


@dataclass(frozen=True)
class Region:
    """An outline: its class, polygon (x to the right, y down, in pixels), and numbers by name."""

    name: str
    polygon: Polygon
    numbers: Mapping[str, float] = field(default_factory=dict)


def boxes_of(mask: np.ndarray, y0: int = 0, x0: int = 0) -> list[Polygon]:
    """Cover a mask by boxes, one for each run of pixels in a row; `y0`, `x0` is its top left pixel."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    return list(shapely.box(starts + x0, rows + y0, ends + x0, rows + y0 + 1)) if len(rows) else []


def joined(parts: Iterable[Any]) -> list[Polygon]:
    """Join polygons that share an edge; those that only touch at a corner stay apart, so that every one is valid."""
    whole = shapely.union_all(list(parts))
    found = list(getattr(whole, "geoms", [whole])) if not whole.is_empty else []
    return [one for one in found if isinstance(one, Polygon) and one.area > 0]


def simplified(polygon: Polygon, tolerance: float) -> Polygon:
    """Return an outline with fewer corners, nowhere farther from it than the tolerance, and valid still."""
    found = polygon.simplify(tolerance, preserve_topology=True) if tolerance else polygon
    return found if isinstance(found, Polygon) and found.is_valid and not found.is_empty else polygon


def feature_collection(regions: Iterable[Region], classes: Sequence[str], seed: str = "") -> dict[str, Any]:
    """Return regions as QuPath reads them.

    Parameters
    ----------
    classes : their order gives them their colours.
    seed : makes the ids, so that equal regions of equal images have equal ones.
    """
    features = []
    for number, region in enumerate(regions):
        colour = list(COLOURS[(classes.index(region.name) if region.name in classes else 0) % len(COLOURS)])
        numbers = {str(name): float(v) for name, v in region.numbers.items() if math.isfinite(v)}
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"bagscope {seed} {number} {region.polygon.wkt[:200]}")),
                "geometry": mapping(region.polygon),
                "properties": {
                    "objectType": "annotation",
                    "name": region.name,
                    "classification": {"name": region.name, "color": colour},
                    "measurements": numbers,
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def geojson_bytes(collection: Mapping[str, Any]) -> bytes:
    """Write a collection as UTF-8 JSON without numbers that are none."""
    return json.dumps(collection, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
