"""What the page says of the model, of where the scores come from, and of quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bagscope.report import charts, statistics
from bagscope.report.architecture import architecture_chart
from bagscope.report.findings import Findings
from bagscope.report.gallery import Gallery
from bagscope.report.marks import marks
from bagscope.report.sections import call_css, number
from bagscope.tables.values import label_parts

_SHOWN_FAILURES = 60
_SPECTRUM = 6


def spectra(findings: Findings, gallery: Gallery) -> list[dict[str, Any]]:
    """Per class, images from the most to the least certain, and its surest cells."""
    letters, css = marks(findings.classes), call_css(findings.classes)
    images, found = findings.images, []
    shown = [f"f{int(row)}" in gallery.pictures for row in images["row"]]
    for name in findings.classes:
        column = f"mil_probability:{name}"
        order = (
            images[np.array(shown, bool)].sort_values(column, ascending=False, kind="stable")
            if any(shown)
            else images[:0]
        )
        at = np.unique(np.linspace(0, max(0, len(order) - 1), min(_SPECTRUM, len(order))).round().astype(int))
        strip = [
            {
                "key": f"f{int(one['row'])}",
                "outlines": f"o{int(one['row'])}" if f"o{int(one['row'])}" in gallery.pictures else "",
                "alt": f"{one['plate']} {one['well']} site {one['site']}",
                "told": f"{one['well']} site {one['site']}: {number(one[column], 3)}",
            }
            for one in order.iloc[at].to_dict("records")
        ]
        cells = [{**one, "p": number(one["confidence"], 2)} for one in gallery.cells.get(name, [])]
        cells.sort(key=lambda one: -float(one["confidence"]))
        found.append({"name": name, "css": css[name], "mark": letters[name], "images": strip, "cells": cells})
    return found


def quality(findings: Findings, gallery: Gallery) -> dict[str, Any]:
    """Position effects, replicates, wells for a second look, failures."""
    wells = findings.wells.reset_index(drop=True)
    names = [f"{kind}:{name}" for kind in ("share", "probability") for name in findings.classes[::-1]]
    column = next((name for name in names if name in wells), "")
    rows = statistics.positions(wells, column) if column else []
    agreement, groups = statistics.replicate_agreement(wells, column) if column else (math.nan, 0)
    said = "Replicates: no treatment without a label has two wells."
    if math.isfinite(agreement):
        said = (
            f"Replicates agree by {agreement:.3f} (intraclass correlation of {column} over {groups} treatments and "
            "doses; 1 is perfect, 0 is chance)."
        )
    odd = statistics.disagreements(wells)
    look = [
        {
            "id": int(str(at)),
            "well": f"{row['plate']} {row['well']}",
            "told": f"labelled {row['label']}, called {row['call']}",
        }
        for at, row in odd.iterrows()
    ]
    place = {(p, w): at for at, (p, w) in enumerate(zip(wells["plate"], wells["well"], strict=True))}
    for one in findings.images.to_dict("records"):
        unlike = [f"unlike the training images ({one['unlike']})"] if one.get("unlike") else []
        for flag in [*gallery.flags.get(int(one["row"]), []), *unlike]:
            told = f"site {one['site']}: {flag}, called {one['call'] or 'nothing'}"
            look.append({"id": place[one["plate"], one["well"]], "well": f"{one['plate']} {one['well']}", "told": told})
    failures = findings.failures
    return {
        "positions": [
            {
                "plate": r["plate"],
                "edge": number(r["edge"], 3),
                "rows": number(r["rows"], 2),
                "columns": number(r["columns"], 2),
            }
            for r in rows
        ],
        "position_column": column,
        "replicates": said,
        "second_look": look[:_SHOWN_FAILURES],
        "failures": failures.head(_SHOWN_FAILURES).to_dict("records"),
        "more_failures": max(0, len(failures) - _SHOWN_FAILURES),
    }


def model(
    findings: Findings, pictures: Sequence[tuple[str, str]], field: tuple[int, int] | None
) -> dict[str, Any] | None:
    """The model's history, pooling curves, pictures, layers and card.

    Parameters
    ----------
    field : height and width of an image; None when none can be read any more.
    """
    card = findings.card
    if not card:
        return None
    training = card.get("training", {})
    history = ""
    if findings.history is not None and len(findings.history):
        told = findings.history
        watched = told["validation_loss"] if "validation_loss" in told else pd.Series(np.full(len(told), np.nan))
        history = charts.history_chart(
            told["step"].to_numpy(float),
            told["loss"].to_numpy(float),
            watched.to_numpy(float),
            training.get("kept_step"),
        )
    return {
        "history": history,
        "curves": _curves(findings),
        "pictures": [{"name": name, "uri": uri} for name, uri in pictures],
        "architecture": _architecture(card, field),
        "card": _card_rows(card, findings),
    }


def _curves(findings: Findings) -> list[dict[str, str]]:
    card, wells = findings.card, findings.wells
    pooling = card.get("pooling", {})
    if pooling.get("name") != "noisy_and" or not card.get("thresholds"):
        return []
    found = []
    for name, b in list(zip(findings.classes, card["thresholds"], strict=False))[:12]:
        column = f"mil_probability:{name}"
        if column not in wells:
            continue
        points = [
            (str(w), float(p), name in label_parts(str(label)))
            for w, p, label in zip(wells["well"], wells[column], wells.get("label", [""] * len(wells)), strict=True)
        ]
        told = f"learned share b = {float(b):.3f}, at which the rise is steepest; wells labelled {name} in colour"
        found.append(
            {"name": name, "told": told, "svg": charts.pooling_chart(name, float(pooling["a"]), float(b), points)}
        )
    return found


def _architecture(card: dict[str, Any], field: tuple[int, int] | None) -> str:
    if card.get("network", {}).get("name") != "kraus" or field is None:
        return ""
    factor, classes = float(card.get("scale", {}).get("factor", 1)), len(card["classes"])
    h, w = (max(1, round(n * factor)) for n in field)
    outputs = classes + bool(card.get("none_trained") and not card.get("several_labels"))
    pooling, smallest = str(card.get("pooling", {}).get("name", "")), int(card["grid"]["smallest"])
    return architecture_chart(len(card["channels"]), classes, h, w, pooling, outputs, smallest)


def _card_rows(card: dict[str, Any], findings: Findings) -> list[tuple[str, str]]:
    rows, scale, made = card.get("training", {}).get("rows", {}), card.get("scale", {}), card.get("created", {})
    cells = card.get("cells") or {}
    diameter = scale.get("cell_diameter_px")
    size = "images are not rescaled" if diameter is None else f"{diameter:.1f} px ({scale.get('source')})"
    second = "no second training on cells"
    if cells.get("self_trained"):
        second = f"second training on {sum(cells.get('own_labels', ())):,} cells that the network was sure of"
    own = [
        ("channels", ", ".join(map(str, card.get("channels", ())))),
        ("calibration", _calibration(card)),
        ("cell diameter", size),
        ("single cells", second),
        ("nuclei", str(cells.get("nuclei") or "no channel named")),
    ]
    if "lattice" in card:
        turns, lattice = card.get("turns", {}), card["lattice"]
        own = [
            ("shapes", f"{card.get('training', {}).get('shapes')} in training; grid of {lattice['cell']:.3g} um"),
            ("turned", f"{turns.get('range')}, {turns.get('views')} views of each shape"),
            ("sizes", str(card.get("volumes", {}).get("size"))),
            ("scores rest on", str(card.get("use"))),
            ("measures", f"{len(card.get('measures', ()))}"),
        ]
    return [
        ("folder", str(findings.model_folder)),
        (
            "classes",
            ", ".join(findings.classes) + ("; none where no class applies" if card.get("none_trained") else ""),
        ),
        ("trained on", f"{len(rows.get('train', ()))} images, watched on {len(rows.get('validation', ()))}"),
        ("kept", f"step {card.get('training', {}).get('kept_step')} of {card.get('training', {}).get('steps')}"),
        *own,
        ("made by", f"bagscope {made.get('bagscope')}, torch {made.get('torch')}, seed {made.get('seed')}"),
        ("command", str(made.get("command") or "from Python")),
    ]


def _calibration(card: dict[str, Any]) -> str:
    told = card.get("calibration", {})
    if told.get("method") == "temperature":
        return f"temperature {float(told['temperature']):.2f}, from {told.get('wells')} wells that watched the training"
    return f"none: {told.get('why', 'not tried')}"


def origin(findings: Findings) -> list[tuple[str, str]]:
    """Where the scores come from."""
    run = findings.run
    return [
        ("table", str(run.get("table") or "given in Python")),
        ("SHA-256 of the table", str(run.get("table_sha256", ""))),
        ("SHA-256 of the weights", str(run.get("model", {}).get("weights_sha256", ""))),
        ("scores", str(findings.folder)),
        ("command", str(run.get("command") or "from Python")),
        ("versions", f"bagscope {run.get('bagscope')}, torch {run.get('torch')}, Python {run.get('python')}"),
        ("time", f"{run.get('time', '')}, {number(run.get('seconds'), 3)} s"),
    ]
