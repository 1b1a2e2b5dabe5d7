"""Surfaces of shapes for the report, which can be rotated: small files, coloured by relevance for a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from bagscope.engine.loaded import Predictor
from bagscope.engine.parts import Parts
from bagscope.errors import BagscopeError
from bagscope.files.run_names import SOLIDS
from bagscope.files.writer import read_json, write_json
from bagscope.tables.table import Screen
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.importance import importance_of
from bagscope.volumes.solids import Solid

# Shapes of each class in a report, and points of each: enough to see a shape, few enough for a hundred of them.
PER_CLASS, MOST_POINTS = 8, 2500
_LARGEST = 50_000_000


def write_pictures(path: Path, model: Predictor[ShapesCard], solids: Sequence[Solid], table: pd.DataFrame) -> None:
    """Write the surface of the most probable shape of each class in a volume.

    Parameters
    ----------
    path : see `pictures_path`. table : scores of the shapes, a row each.
    """
    pictures = []
    for k, name in enumerate(model.card.classes):
        probability = table[f"probability:{name}"].to_numpy(float)
        best = int(probability.argmax())
        if table["call"].iloc[best] != name:
            continue
        importance = importance_of(model.network, model.card, solids[best], k, model.device)
        pictures.append(
            {
                "class": name,
                "cell": int(table["cell"].iloc[best]),
                "probability": round(float(probability[best]), 4),
                **_surface(solids[best], importance),
            }
        )
    write_json(path, pictures, durable=False)


def pictures_path(parts: Parts, at: int) -> Path:
    """Return the path of the surfaces of a volume."""
    return parts.path(at).with_suffix(".solids.json")


def _surface(solid: Solid, importance: np.ndarray) -> dict[str, Any]:
    """Return centres of surface voxels in thousandths of the largest distance, normals, relevance; the longest edge."""
    mask = np.pad(solid.cut.mask, 1)
    edge = mask & ~ndimage.binary_erosion(mask)
    at = np.argwhere(edge)
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 1.5)
    normal = -np.stack([slope[edge] for slope in np.gradient(soft)], 1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    spacing = np.asarray(solid.shape.spacing)
    # A shape that was rescaled to unit volume is reported in its original micrometres.
    scale = (solid.volume / (solid.cut.mask.sum() * np.prod(spacing))) ** (1 / 3)
    across = scale * ((np.ptp(at, axis=0) + 1) * spacing).max()
    if len(at) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(len(at), MOST_POINTS, replace=False))
        at, normal = at[chosen], normal[chosen]
    points = (at - at.mean(0)) * spacing
    reach = float(np.abs(points).max()) or 1.0
    relevance = np.pad(importance, 1)[tuple(at.T)]
    return {
        "points": np.round(points / reach * 1000).astype(int).ravel().tolist(),
        "normals": np.round(normal * 100).astype(int).ravel().tolist(),
        "speaks": np.round(100 * np.sqrt(relevance)).astype(int).tolist(),
        "across_um": float(f"{across:.3g}"),
    }


def write_solids(out: Path, classes: Sequence[str], positions: Sequence[int], parts: Parts, screen: Screen) -> None:
    """Gather the most probable shapes of each class for the report."""
    pictures_of: dict[str, list[dict[str, Any]]] = {name: [] for name in classes}
    for at in positions:
        row = screen.rows.iloc[at]
        try:
            pictures = read_json(pictures_path(parts, at), _LARGEST)
        except BagscopeError:
            continue
        for picture in pictures:
            if picture.get("class") in pictures_of:
                where = f"{row['plate']} {row['well']} site {row['site']}, shape {picture['cell']}"
                pictures_of[picture["class"]].append(picture | {"row": int(row["row"]), "where": where})
    best = {
        name: sorted(pictures, key=lambda picture: -picture["probability"])[:PER_CLASS]
        for name, pictures in pictures_of.items()
    }
    write_json(out / SOLIDS, best)
