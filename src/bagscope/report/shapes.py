"""What a page says of shapes: surfaces that can be turned, and the network held against the traditional measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bagscope.errors import BagscopeError
from bagscope.files.run_names import COMPARISON, SOLIDS
from bagscope.files.writer import read_json
from bagscope.report.marks import marks
from bagscope.tables.frames import read_csv

_LARGEST = 100_000_000
_NUMBERS = ("auc", "low", "high", "default_above", "above_low", "above_high", "bags", "groups")
_NAMES = {
    "default": "this model",
    "network": "its network alone",
    "measures": "logistic regression on all measures",
    "six": "logistic regression on the usual six measures",
    "boosting": "gradient boosting on all measures",
}


@dataclass(frozen=True)
class Solids:
    """Surfaces by class, as `bagscope score` keeps them, and the comparison of methods where one was made.

    note : what is wrong with the surfaces, "" for nothing.
    """

    by_class: dict[str, list[dict[str, Any]]]
    comparison: pd.DataFrame | None
    note: str


def read_solids(scores: Path, model: Path | None, classes: tuple[str, ...]) -> Solids | None:
    """Read the shapes of a score folder; None where there are none."""
    if not (scores / SOLIDS).is_file():
        return None
    note = ""
    try:
        found = read_json(scores / SOLIDS, _LARGEST)
        by_class = {name: [_checked(one) for one in found.get(name, [])] for name in classes}
    except (BagscopeError, AttributeError, KeyError, TypeError, ValueError):
        by_class = {name: [] for name in classes}
        note = f"The shapes in {SOLIDS} are damaged, or of another version of bagscope: score again to see them."
    table = model / COMPARISON if model is not None else None
    compared = read_csv(table, numbers=_NUMBERS) if table is not None and table.is_file() else None
    return Solids(by_class, compared, note)


def _checked(one: dict[str, Any]) -> dict[str, Any]:
    """Plain numbers only: the file may have been changed."""
    lists = {name: [int(value) for value in one[name]] for name in ("points", "normals", "speaks")}
    if not len(lists["points"]) == len(lists["normals"]) == 3 * len(lists["speaks"]):
        message = "a surface whose lists do not fit"
        raise ValueError(message)
    return {**lists, "where": str(one["where"]), "p": float(one["probability"]), "across": float(one["across_um"])}


def shape_blocks(solids: Solids | None, classes: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Blocks of the page, one per class, and the surfaces that their canvases draw, by number."""
    if solids is None:
        return [], []
    none = "No shape can be shown." if solids.note else "No shape was called so."
    letters = marks(classes)
    surfaces: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    for at, name in enumerate(classes):
        shown = []
        for one in solids.by_class[name]:
            shown.append(
                {"number": len(surfaces), "told": f"{one['where']}: {one['p']:.2f}, {one['across']:g} µm across"}
            )
            surfaces.append({key: one[key] for key in ("points", "normals", "speaks")})
        blocks.append({"name": name, "mark": letters[name], "css": f"c{at % 8}", "shapes": shown, "none": none})
    return blocks, surfaces


def methods(solids: Solids | None) -> list[dict[str, str]]:
    """Rows of the comparison: method, area under the curve with its interval, and how far the model is above it."""
    if solids is None or solids.comparison is None:
        return []
    rows = []
    for one in solids.comparison.to_dict("records"):
        above = f"{one['default_above']:+.3f} ({one['above_low']:+.3f} to {one['above_high']:+.3f})"
        rows.append(
            {
                "name": _NAMES.get(str(one["method"]), str(one["method"])),
                "auc": f"{one['auc']:.3f} ({one['low']:.3f} to {one['high']:.3f})",
                "above": "" if one["method"] == "default" else above,
                "bags": f"{one['bags']:.0f} of {one['groups']:.0f} groups",
            }
        )
    return rows
