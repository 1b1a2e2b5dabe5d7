"""Which shapes a report shows, as surfaces that can be turned: kept small, and coloured by what speaks for a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from bagscope.engine.parts import Parts
from bagscope.errors import BagscopeError
from bagscope.files.run_names import SOLIDS
from bagscope.files.writer import read_json, write_json
from bagscope.nets.shape_judge import ShapeJudge
from bagscope.tables.table import Screen
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.importance import importance_of
from bagscope.volumes.solids import Solid

# Shapes of each class in a report, and points of each: enough to see a shape, few enough for a hundred of them.
PER_CLASS, MOST_POINTS = 8, 2500
_LARGEST = 50_000_000


def keep_pictures(
    parts: Parts, at: int, judge: ShapeJudge, card: ShapesCard, solids: Sequence[Solid], table: pd.DataFrame,
    device: torch.device,
) -> None:  # fmt: skip
    """Keep, beside the part of a volume, the surface of its surest shape of each class."""
    found = []
    for k, name in enumerate(card.classes):
        sure = table[f"probability:{name}"].to_numpy(float)
        best = int(sure.argmax())
        if table["call"].iloc[best] != name:
            continue
        told = importance_of(judge, card, solids[best], k, device)
        found.append({
            "class": name,
            "cell": int(table["cell"].iloc[best]),
            "probability": round(float(sure[best]), 4),
            **_surface(solids[best], told),
        })  # fmt: skip
    write_json(pictures_path(parts, at), found, durable=False)


def pictures_path(parts: Parts, at: int) -> Path:
    """Place of the surfaces of a volume."""
    return parts.path(at).with_suffix(".solids.json")


def _surface(solid: Solid, importance: np.ndarray) -> dict[str, Any]:
    """Middles of the voxels at the surface in thousandths of the reach, normals, how they speak; the longest edge."""
    mask = np.pad(solid.cut.mask, 1)
    edge = mask & ~ndimage.binary_erosion(mask)
    at = np.argwhere(edge)
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 1.5)
    normal = -np.stack([one[edge] for one in np.gradient(soft)], 1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    spacing = np.asarray(solid.shape.spacing)
    # A shape that was brought to unit volume is told in its own um.
    scale = (solid.volume / (solid.cut.mask.sum() * np.prod(spacing))) ** (1 / 3)
    across = scale * ((np.ptp(at, axis=0) + 1) * spacing).max()
    if len(at) > MOST_POINTS:
        kept = np.sort(np.random.default_rng(0).choice(len(at), MOST_POINTS, replace=False))
        at, normal = at[kept], normal[kept]
    points = (at - at.mean(0)) * spacing
    reach = float(np.abs(points).max()) or 1.0
    told = np.pad(importance, 1)[tuple(at.T)]
    return {
        "points": np.round(points / reach * 1000).astype(int).ravel().tolist(),
        "normals": np.round(normal * 100).astype(int).ravel().tolist(),
        "speaks": np.round(100 * np.sqrt(told)).astype(int).tolist(),
        "across_um": float(f"{across:.3g}"),
    }


def write_solids(out: Path, classes: Sequence[str], positions: Sequence[int], parts: Parts, screen: Screen) -> None:
    """Gather the surest shapes of every class for the report."""
    every: dict[str, list[dict[str, Any]]] = {name: [] for name in classes}
    for at in positions:
        row = screen.rows.iloc[at]
        try:
            found = read_json(pictures_path(parts, at), _LARGEST)
        except BagscopeError:
            continue
        for one in found:
            if one.get("class") in every:
                where = f"{row['plate']} {row['well']} site {row['site']}, shape {one['cell']}"
                every[one["class"]].append(one | {"row": int(row["row"]), "where": where})
    best = {name: sorted(of, key=lambda one: -one["probability"])[:PER_CLASS] for name, of in every.items()}
    write_json(out / SOLIDS, best)
