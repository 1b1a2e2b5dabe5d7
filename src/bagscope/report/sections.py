"""What each part of the page says: plain values, made for reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bagscope.ops.doseresponse import fit_dose_response
from bagscope.report import charts, statistics
from bagscope.report.findings import Findings
from bagscope.report.gallery import Gallery
from bagscope.report.marks import marks
from bagscope.tables.values import label_parts
from bagscope.tables.wells import well_name, well_place

_SHOWN_ROWS = 40
_LEAST_DOSES = 4
_FALSE_DISCOVERY = 0.05
_MOST_CHARTS = 24
_KINDS = ("probability", "mil_probability", "share")


def title(findings: Findings) -> str:
    """Name the screen by its plates."""
    plates = [str(plate) for plate in dict.fromkeys(findings.wells["plate"])]
    shown = ", ".join(plates[:3]) + (f" and {len(plates) - 3} more plates" if len(plates) > 3 else "")
    return f"bagscope report: {shown or 'no plate'}"


def lead(findings: Findings) -> str:
    """Say in a sentence what was scored by what."""
    run, images = findings.run, findings.images
    classes = ", ".join(findings.classes) or "no class"
    return (
        f"{len(images):,} fields of {len(findings.wells):,} wells, judged for {classes} by a model that learned from "
        f"well labels alone; scored {str(run.get('time', ''))[:10]} with bagscope {run.get('bagscope', '')}"
    )


def cards(findings: Findings) -> list[dict[str, str]]:
    """The numbers that are looked for first."""
    wells = findings.wells
    right, labelled, low, high = statistics.right_share(wells)
    seen = int(wells["split"].isin(statistics.SEEN).sum()) if "split" in wells else 0
    found = [{"value": f"{len(wells):,}", "name": "wells scored", "note": f"{len(findings.images):,} fields"}]
    for name in [*findings.classes, "none", "unsure"]:
        count = int((wells["call"] == name).sum())
        if count or name in findings.classes[:4]:
            found.append({"value": f"{count:,}", "name": f"called {name}", "note": ""})
    if labelled:
        note = f"95 % interval {low:.0%} to {high:.0%}" + (
            f"; {seen} were trained on" if seen else "; none was trained on"
        )
        found.append({"value": f"{right} of {labelled}", "name": "controls called as labelled", "note": note})
    if "n_cells" in wells:
        found.append({"value": f"{int(wells['n_cells'].sum()):,}", "name": "cells judged", "note": ""})
    failed = len(findings.failures)
    found.append({"value": f"{failed:,}", "name": "rows with a failure", "note": "listed below" if failed else ""})
    return found


def value_columns(findings: Findings) -> list[str]:
    """Numeric columns that wells can be coloured by."""
    names = [f"{kind}:{name}" for name in findings.classes for kind in _KINDS]
    return [name for name in [*names, "confidence", "n_cells"] if name in findings.wells]


def ranges(findings: Findings, columns: Sequence[str]) -> dict[str, list[float]]:
    """One scale for all plates: probabilities and shares from 0 to 1, counts from 0 to the largest."""
    found = {}
    for name in columns:
        values = findings.wells[name].to_numpy(float)
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
        found[name] = [0.0, max(top, 1.0) if name == "n_cells" else 1.0]
    return found


def first_well(findings: Findings) -> int | None:
    """The well that is open at first: the most confident of the last class that was called, else the first."""
    wells = findings.wells.reset_index(drop=True)
    if not len(wells):
        return None
    for name in reversed(findings.classes):
        mine = wells[(wells["call"] == name) & (wells["label"] == "" if "label" in wells else True)]
        if len(mine):
            return int(mine.index.to_numpy()[int(mine["confidence"].astype(float).argmax())])
    return 0


def plates(
    findings: Findings, gallery: Gallery
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Every well as the panel shows it; the plates as grids; the legend of calls."""
    letters, css = marks(findings.classes), call_css(findings.classes)
    columns, wells = value_columns(findings), findings.wells.reset_index(drop=True)
    sites = dict(iter(findings.images.groupby(["plate", "well"], sort=False)))
    records: list[dict[str, Any]] = [{str(key): v for key, v in row.items()} for row in wells.to_dict("records")]
    told = [_well(row, columns, sites.get((row["plate"], row["well"])), gallery) for row in records]
    grids = []
    for plate, own in wells.groupby("plate", sort=False):
        places = {int(at): well_place(str(well)) for at, well in zip(own.index.to_numpy(), own["well"], strict=True)}
        at_place = {place: at for at, place in places.items() if place}
        if not at_place:
            continue
        last = [max(place[axis] for place in at_place) for axis in (0, 1)]
        size = 96 if last[0] <= 8 and last[1] <= 12 else 384 if last[0] <= 16 and last[1] <= 24 else 1536
        first = min(at_place.values())
        rows = []
        for r in range(1, last[0] + 1):
            line: list[dict[str, Any] | None] = []
            for c in range(1, last[1] + 1):
                at = at_place.get((r, c))
                line.append(None if at is None else _button(at, records[at], letters, css, at == first))
            rows.append({"name": well_name(r, 1)[:-2], "wells": line})
        grids.append({"name": str(plate), "size": size, "columns": list(range(1, last[1] + 1)), "rows": rows})
    calls = wells["call"].tolist()
    legend = [
        {
            "name": name or "failed",
            "css": css.get(name, "c7"),
            "mark": letters.get(name, "&"),
            "count": calls.count(name),
        }
        for name in [*letters, *dict.fromkeys(call for call in calls if call not in letters)]
        if calls.count(name)
    ]
    return told, grids, legend


def call_css(classes: Sequence[str]) -> dict[str, str]:
    """The style's class of each call."""
    found = {name: f"c{at % 8}" for at, name in enumerate(classes)}
    return found | {"none": "call-none", "unsure": "call-unsure", "": "call-failed"}


def without_place(findings: Findings) -> str:
    """Say which wells stand on no plate, since their names are no places."""
    names = [str(well) for well in findings.wells["well"] if well_place(str(well)) is None]
    return f"{len(names)} wells whose names are no place on a plate are in the tables only." if names else ""


def _button(
    at: int, row: dict[str, Any], letters: dict[str, str], css: dict[str, str], is_first: bool
) -> dict[str, Any]:
    call = str(row["call"])
    label = str(row.get("label", ""))
    told = f"{row['well']}: {call or 'failed'}" + (f", labelled {label}" if label else "")
    return {
        "id": at,
        "css": css.get(call, "c7"),
        "mark": letters.get(call, "&"),
        "label": label,
        "told": told,
        "tab": 0 if is_first else -1,
    }


def _well(row: dict[str, Any], columns: Sequence[str], sites: pd.DataFrame | None, gallery: Gallery) -> dict[str, Any]:
    call = str(row["call"])
    label, sure = str(row.get("label", "")), number(row["confidence"], 2)
    told = f"called {call} (confidence {sure})" if call else "could not be scored"
    if label:
        seen = ", trained on" if str(row.get("split", "")) in statistics.SEEN else ""
        told += f"; labelled {label}{seen}"
    facts = []
    if str(row.get("treatment", "")):
        dose = number(row.get("concentration"), 4)
        facts.append(f"{row['treatment']}" + (f", {dose} {row.get('unit', '')}" if dose else ""))
    for name in ("share",):
        lows = {key: row[key] for key in row if key.startswith(f"{name}_low:")}
        for key, low in lows.items():
            own = key.split(":", 1)[1]
            high = row.get(f"{name}_high:{own}", math.nan)
            if _finite(low) and _finite(high):
                facts.append(
                    f"share of {own}: {number(row.get(f'share:{own}'), 3)} ({number(low, 3)} to {number(high, 3)})"
                )
    fields = []
    if sites is not None:
        for one in sites.to_dict("records"):
            fields.append(
                {"row": int(one["row"]), "site": str(one["site"]), "flags": gallery.flags.get(int(one["row"]), [])}
            )
    values = {name: float(row[name]) if _finite(row[name]) else None for name in columns}
    return {
        "plate": str(row["plate"]),
        "well": str(row["well"]),
        "told": told,
        "values": {name: int(v) if v is not None and name == "n_cells" else v for name, v in values.items()},
        "facts": facts,
        "sites": fields,
    }


def controls(findings: Findings) -> dict[str, Any]:
    """Separation of controls, labels against calls, reliability."""
    wells = findings.wells
    found = [one for one in statistics.separations(wells, findings.classes) if one.inside and one.outside]
    rows = [
        {
            "column": s.column,
            "inside": s.inside,
            "outside": s.outside,
            "z": number(s.z_prime, 3),
            "s": number(s.ssmd, 3),
        }
        for s in found
    ]
    seen = max((one.seen for one in found), default=0)
    labels, calls, counts = statistics.confusion(wells, findings.classes)
    right, labelled, low, high = statistics.right_share(wells)
    table = None
    if labels:
        table = {
            "told": f"{right} of {labelled} labelled wells are called as labelled ({low:.0%} to {high:.0%}).",
            "calls": calls,
            "rows": [{"name": name, "counts": line.tolist()} for name, line in zip(labels, counts, strict=True)],
        }
    return {
        "separations": rows,
        "seen": f"{seen} of these wells were trained on, which flatters their figures." if seen else "",
        "confusion": table,
        "calibration": _calibration(findings),
    }


def _calibration(findings: Findings) -> dict[str, str]:
    held_out = findings.cross_fitted
    wells = findings.wells if held_out is None else held_out
    found = statistics.calibration(wells)
    coverage, risk = statistics.risk_coverage(wells)
    drawn = charts.risk_chart(coverage, risk) if len(coverage) >= statistics.LEAST_CALIBRATION else ""
    if found is None:
        told = (
            f"Nobody can say: fewer than {statistics.LEAST_CALIBRATION} labelled wells were kept from training. "
            "Scores of cross-fitted models (train --folds) tell."
        )
        return {"told": told, "chart": "", "risk": drawn}
    by = "no training saw" if held_out is None else "a model scored that did not see them (train --folds)"
    told = f"Expected calibration error {found.error:.3f}, from {int(found.wells.sum())} labelled wells that {by}."
    return {
        "told": told,
        "chart": charts.calibration_chart(found.confidence, found.right, found.wells),
        "risk": drawn,
    }


def hits(findings: Findings) -> list[dict[str, Any]]:
    """Per class, treatments by effect, and dose series with their fits."""
    wells = statistics.alike(findings.wells, findings.images)
    left = len(findings.wells) - len(wells)
    note = f"{left} wells are left out whose images look unlike those of training." if left else ""
    if "treatment" not in wells or not (wells["treatment"] != "").any():
        return []
    found = []
    names = findings.classes if len(findings.classes) != 2 else findings.classes[::-1][:1]
    for name in names:
        column = next((c for c in (f"share:{name}", f"probability:{name}") if c in wells), "")
        if not column:
            continue
        table = statistics.hits(wells, column, name)
        rows = [
            {
                "treatment": str(row["treatment"]),
                "dose": f"{number(row['concentration'], 4)} {row['unit']}".strip(),
                "wells": int(row["wells"]),
                "effect": number(row["effect"], 3),
                "interval": f"{number(row['low'], 3)} to {number(row['high'], 3)}" if _finite(row["low"]) else "",
                "p": number(row["p"], 2),
                "fdr": number(row["fdr"], 2),
                "hit": bool(row["fdr"] <= _FALSE_DISCOVERY and row["effect"] > 0),
            }
            for row in table.head(_SHOWN_ROWS).to_dict("records")
        ]
        more = len(table) if len(table) > _SHOWN_ROWS else 0
        drawn = _dose_charts(wells, column, name)
        found.append({"name": column, "rows": rows, "more": more, "charts": drawn, "note": note})
    return found


def _dose_charts(wells: pd.DataFrame, column: str, name: str) -> list[dict[str, str]]:
    drawn: list[dict[str, str]] = []
    series = wells[wells[column].notna() & np.isfinite(wells["concentration"].to_numpy(float))]
    own = series["label"].map(lambda text: name in label_parts(text)).to_numpy(bool)
    for (treatment, unit), mine in series[~own].groupby(["treatment", "unit"], sort=False):
        dose = mine["concentration"].to_numpy(float)
        if not treatment or len(np.unique(dose[dose > 0])) < _LEAST_DOSES or len(drawn) >= _MOST_CHARTS:
            continue
        response = mine[column].to_numpy(float)
        fit = fit_dose_response(dose, response)
        told = f"no fit: {fit.reason}"
        if fit.fitted:
            told = f"EC50 {fit.ec50:.3g} ({fit.low:.3g} to {fit.high:.3g}) {unit}"
        svg = charts.dose_chart(str(treatment), str(unit), dose, response, mine["well"].tolist(), fit, column)
        drawn.append({"name": str(treatment), "told": told, "svg": svg})
    return drawn


def number(value: Any, digits: int) -> str:
    """Write a number with so many digits that count; "" for what is none."""
    return f"{float(value):.{digits}g}" if _finite(value) else ""


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
