"""The page of a score folder of maps: pictures under their maps, areas, and whether blocks hold what was told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bagscope.errors import ImageReadError
from bagscope.files.field import FieldFiles, read_field_header
from bagscope.files.header import Header
from bagscope.files.pictures import webp
from bagscope.files.run_names import CONSISTENCY, EVALUATION, GEOJSON
from bagscope.ops.shrink import shrunk
from bagscope.report import why
from bagscope.report.charts import history_chart
from bagscope.report.findings import Findings
from bagscope.report.gallery import fields_at
from bagscope.report.marks import marks
from bagscope.report.page_images import PageImages
from bagscope.report.page_parts import page_file, rendered
from bagscope.report.pictures import CLASS_COLOURS, composite, contrast_of, uri
from bagscope.report.sections import number
from bagscope.tables.frames import read_csv

SHOWN, EDGE = 24, 560
# Of these, "evaluation" and "blocks" are there where their tables are.
SECTIONS = (
    ("maps", "Maps"),
    ("areas", "Areas"),
    ("evaluation", "Against the truth"),
    ("blocks", "Blocks"),
    ("quality", "Failures"),
    ("model", "Model"),
    ("origin", "Origin"),
)
# Pixels of an image that are read at once.
_PORTION = 2**22
_ALPHA, _QUALITY = 0.45, 70
_RGB = ("R", "G", "B")
_OF = {"all": "all images", "unseen": "images not trained on"}
_MEASURES = {
    "masked_iou": "intersection over union within a block's width of the true boundary",
    "masked_dice": "Dice, there",
    "masked_iou_narrow": "intersection over union within 4 px of the true boundary",
    "masked_dice_narrow": "Dice, there",
    "boundary_distance": "mean distance of boundaries, px",
    "pepper": "specks per 10,000 px",
    "unsure": "share of unsure pixels",
}


@dataclass(frozen=True)
class _Drawn:
    """A picture and the same under its map, as addresses that a page can hold."""

    picture: str
    map: str


def holds_maps(findings: Findings) -> bool:
    """Whether a score folder is one of maps."""
    return (findings.folder / GEOJSON).is_file()


def maps_page(findings: Findings, images: PageImages, progress: Callable[[int, int], None]) -> str:
    """Write the page: one file without any request to another place, and nothing in it but our own markup.

    Parameters
    ----------
    progress : called with images read and all images that are shown.
    """
    return rendered(
        "maps.html", _content(findings, images, progress), style=page_file("page.css"), script=page_file("theme.js")
    )


def _content(findings: Findings, images: PageImages, progress: Callable[[int, int], None]) -> dict[str, Any]:
    rows, classes = findings.images, findings.classes
    scored = rows[rows["n_fields"] > 0]
    letters, background = marks(classes), _background(findings)
    legend = [
        {"name": name, "mark": letters[name], "css": f"c{k % 8}"} for k, name in enumerate(classes) if k != background
    ]
    unit = "um2" if any(str(name).startswith("area_um2:") for name in rows) else "px"
    drawn = _drawn(findings, background, images, progress)
    history = findings.history
    chart = "" if history is None or not len(history) else history_chart(
        np.arange(len(history), dtype=float), history["loss"].to_numpy(float), np.full(len(history), np.nan), None
    )  # fmt: skip
    run = findings.run
    lead = (
        f"{len(scored):,} images mapped for {', '.join(classes)} by a model that learned from whole blocks; "
        f"{str(run.get('time', ''))[:10]}, bagscope {run.get('bagscope', '')}"
    )
    consistency = _table(findings, CONSISTENCY, ("given_mean", "given_sd", "predicted_mean", "predicted_sd", "n"))
    evaluation = _evaluation(findings)
    told = {"evaluation": evaluation, "blocks": consistency}
    return {
        "skip": "maps",
        "sections": [(name, title) for name, title in SECTIONS if told.get(name, True)],
        "title": f"bagscope maps: {_named(findings)}",
        "lead": lead,
        "warnings": [*findings.warnings, *images.warnings],
        "cards": _cards(findings, scored, background, unit),
        "legend": legend,
        "classes": classes,
        "unit": {"um2": "square micrometres", "px": "pixels"}[unit],
        "rows": [_row(one, classes, unit) for one in scored.to_dict("records")],
        "shown": [_shown(findings, at, one) for at, one in drawn.items()],
        "more": len(scored) - len(drawn),
        "consistency": consistency,
        "evaluation": evaluation,
        "failures": findings.failures.head(40).to_dict("records"),
        "history": chart,
        "card": _card(findings),
        "origin": why.origin(findings),
    }


def _background(findings: Findings) -> int:
    name = str(findings.run.get("settings", {}).get("maps", {}).get("background", ""))
    return findings.classes.index(name) if name in findings.classes else 0


def _named(findings: Findings) -> str:
    plates = [str(plate) for plate in dict.fromkeys(findings.images["plate"])]
    return ", ".join(plates[:3]) + (f" and {len(plates) - 3} more" if len(plates) > 3 else "")


def _cards(findings: Findings, scored: pd.DataFrame, background: int, unit: str) -> list[dict[str, str]]:
    found = [{"value": f"{len(scored):,}", "name": "images mapped", "note": ""}]
    pixels = (scored["height_px"] * scored["width_px"]).to_numpy(float)
    for k, name in enumerate(findings.classes):
        if k != background and len(scored):
            share = float(np.average(scored[f"share:{name}"].to_numpy(float), weights=pixels))
            area = float(np.nansum(scored[f"area_{unit}:{name}"].to_numpy(float)))
            found.append({"value": f"{share:.1%}", "name": f"of all pixels are {name}", "note": _area(area, unit)})
    if len(scored):
        unsure = float(np.average(scored["unsure"].to_numpy(float), weights=pixels))
        found.append({"value": f"{unsure:.1%}", "name": "of all pixels are unsure", "note": ""})
    failed = len(findings.failures)
    return [*found, {"value": f"{failed:,}", "name": "rows with a failure", "note": "listed below" if failed else ""}]


def _area(value: float, unit: str) -> str:
    if not np.isfinite(value):
        return ""
    if unit == "px":
        return f"{value:,.0f} px"
    return f"{value / 1e6:,.4g} mm²" if value >= 1e5 else f"{value:,.4g} µm²"


def _row(one: dict[Any, Any], classes: Sequence[str], unit: str) -> dict[str, Any]:
    cells = []
    for name in classes:
        share, low, high = (float(one[f"share{end}:{name}"]) for end in ("", "_low", "_high"))
        between = f" ({low:.1%} to {high:.1%})" if np.isfinite(low) else ""
        area = _area(float(one.get(f"area_{unit}:{name}", np.nan)), unit)
        cells.append({"share": f"{share:.1%}{between}", "area": area})
    where = " ".join(str(one[key]) for key in ("plate", "well", "site") if str(one[key]) not in ("", "-"))
    return {"name": _image_name(one), "where": where, "cells": cells, "unsure": f"{float(one['unsure']):.1%}",
            "split": str(one.get("split", ""))}  # fmt: skip


def _image_name(one: dict[Any, Any]) -> str:
    first = next((str(one[key]) for key in one if key == "image" or str(key).startswith("image_")), "")
    return first.replace("\\", "/").rpartition("/")[2]


def _shown(findings: Findings, at: int, drawn: _Drawn) -> dict[str, Any]:
    row = {str(key): value for key, value in findings.images.iloc[at].to_dict().items()}
    told = ", ".join(f"{name} {float(row[f'share:{name}']):.1%}" for name in findings.classes)
    seen = " (trained on)" if str(row.get("split", "")) == "train" else ""
    return {"name": _image_name(row) + seen, "told": told, "picture": drawn.picture, "map": drawn.map}


def _drawn(
    findings: Findings, background: int, images: PageImages, progress: Callable[[int, int], None]
) -> dict[int, _Drawn]:
    """Draw images and their maps, spread over the screen, those that were not trained on first."""
    if findings.screen is None:
        return {}
    scored = np.flatnonzero((findings.images["n_fields"] > 0).to_numpy())
    seen = (findings.images["split"].astype(str) == "train").to_numpy()[scored]
    order = [*scored[~seen].tolist(), *scored[seen].tolist()]
    found: dict[int, _Drawn] = {}
    chosen = sorted(order[:SHOWN])
    for done, (at, field) in enumerate(fields_at(findings, chosen), start=1):
        pixels = small_of(field, images)
        place = findings.folder / str(findings.images["map_file"].iloc[at])
        probability = None if pixels is None else small_of(FieldFiles((place,), ()), images)
        if pixels is not None and probability is not None and probability.shape[1:] == pixels.shape[1:]:
            is_rgb = findings.channels == _RGB and pixels.dtype == np.uint8
            found[at] = _pair(pixels, _classes(probability, findings), background, is_rgb=is_rgb)
        progress(done, len(chosen))
    return found


def small_of(field: FieldFiles, images: PageImages) -> np.ndarray | None:
    """Read an image of any size, (C, h, w), no edge longer than `EDGE`: portions of it are averaged as they come.

    None when it cannot be read.
    """
    try:
        header = read_field_header(field)
    except ImageReadError as error:
        images.leave_out(field, error)
        return None
    small = _averaged(field, header, images)
    return np.round(small).astype(header.dtype) if small is not None and header.dtype.kind in "ui" else small


def _averaged(field: FieldFiles, header: Header, images: PageImages) -> np.ndarray | None:
    height, width = header.height, header.width
    step = max(1, -(-max(height, width) // EDGE))
    if height * width <= _PORTION:
        pixels = images.read(field)
        return None if pixels is None else shrunk(pixels, step)
    high = max(1, int(_PORTION**0.5) // step) * step
    rows = []
    for y in range(0, height // step * step, high):
        row = []
        for x in range(0, width // step * step, high):
            window = (y, min(y + high, height // step * step), x, min(x + high, width // step * step))
            pixels = images.read(field, window)
            if pixels is None:
                return None
            row.append(shrunk(pixels, step))
        rows.append(np.concatenate(row, 2))
    return np.concatenate(rows, 1)


def _classes(probability: np.ndarray, findings: Findings) -> np.ndarray:
    limits = findings.run.get("limits")
    return (probability / np.array(limits)[:, None, None] if limits else probability).argmax(0)


def _pair(pixels: np.ndarray, classes: np.ndarray, background: int, *, is_rgb: bool) -> _Drawn:
    if is_rgb:
        drawn = np.moveaxis(pixels, 0, 2)
    else:
        drawn = composite(pixels, contrast_of([pixels], [str(k) for k in range(len(pixels))]))
    table = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in CLASS_COLOURS[1:]], np.float32)
    painted = np.where((classes != background)[:, :, None], _ALPHA, 0) * (table[classes % len(table)] - drawn)
    under = np.clip(drawn + painted, 0, 255).astype(np.uint8)
    return _Drawn(uri(webp(drawn, quality=_QUALITY)), uri(webp(under, quality=_QUALITY)))


def _table(findings: Findings, file: str, numbers: Sequence[str]) -> list[dict[str, str]]:
    path = findings.folder / file
    if not path.is_file():
        return []
    rows = read_csv(path, numbers=numbers).to_dict("records")
    return [
        {str(key): number(value, 3) if key in numbers else str(value) for key, value in one.items()} for one in rows
    ]


def _evaluation(findings: Findings) -> list[dict[str, str]]:
    """Figures over all images, and over those that were not trained on."""
    path = findings.folder / EVALUATION
    if not path.is_file():
        return []
    table = read_csv(path, numbers=("value", "low", "high", "images"))
    rows = []
    for one in table[table["image"].isin(_OF)].to_dict("records"):
        between = f" ({number(one['low'], 3)} to {number(one['high'], 3)})" if np.isfinite(float(one["low"])) else ""
        told = {"measure": _MEASURES.get(str(one["measure"]), str(one["measure"])), "class": str(one["class"])}
        of = f"{_OF[str(one['image'])]} ({one['images']:.0f})"
        rows.append(told | {"of": of, "value": number(one["value"], 3) + between})
    return rows


def _card(findings: Findings) -> list[tuple[str, str]]:
    card = findings.card
    if not card:
        return []
    blocks, training = card.get("blocks", {}), card.get("training", {})
    counts = training.get("blocks", {})
    shares = zip(card["classes"], card.get("shares", ()), strict=False)
    return [
        ("classes", ", ".join(card["classes"])),
        ("coarse classes", ", ".join(f"{name} ({counts.get(name, 0):,} blocks)" for name in card.get("coarse", ()))),
        ("expected shares", ", ".join(f"{name} {share:.1%}" for name, share in shares)),
        ("method", " ".join(str(blocks.get(key, "")) for key in ("method", "grouping", "distance"))),
        ("trained on", f"{len(training.get('rows', {}).get('train', [])):,} images, {training.get('steps')} steps"),
        ("seed", str(card.get("created", {}).get("seed", ""))),
    ]
