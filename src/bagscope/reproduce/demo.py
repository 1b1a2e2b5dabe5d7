"""The whole main job on a simulated plate, and how near its calls come to the truth."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bagscope.api import train
from bagscope.engine.events import Events
from bagscope.engine.score_folder import Scores
from bagscope.files.folder import claimed
from bagscope.files.writer import write_atomic
from bagscope.importers import import_screen, write_screen
from bagscope.ops.doseresponse import fit_dose_response
from bagscope.report.figures import DoseSeries, plate_figure
from bagscope.report.page import ExtraTable, write_report
from bagscope.reproduce.demo_cells import cells_judged
from bagscope.synth.plate import FOREIGN, simulate_plate
from bagscope.synth.truth import PlateTruth
from bagscope.tables.frames import csv_bytes

PLATE, TABLE, MODEL, SCORES, COMPARED = "plate", "screen.csv", "model", "scores", "truth_and_calls.csv"
PICTURE, REPORT = "plate.png", "report.html"
SCORE = "probability:positive"
FOREIGN_PLATE = "demo02"
PATTERN = "{plate}_{well}_s{site}.ome.tif"
# In between, both classes are there in numbers, and either call is right.
CLEARLY_NOT, CLEARLY = 0.1, 0.75


@dataclass(frozen=True)
class Shown:
    """What the demo found: scores, the model's classes, sentences, and figures for programs."""

    scores: Scores
    classes: tuple[str, ...]
    lines: list[str]
    values: dict[str, Any]


def run_demo(out: Path, seed: int, device: str | None, threads: int | None, overwrite: bool, events: Events) -> Shown:
    """Simulate, import, check, train, score, compare."""
    began = time.monotonic()
    events.say(
        f"A simulated plate goes into {out}: 96 wells, 2 channels, and 12 wells of a second "
        "one from another microscope; about 2 minutes on two cores."
    )
    with claimed(out, (PLATE, TABLE, MODEL, SCORES, PICTURE, REPORT, COMPARED), finished=COMPARED, overwrite=overwrite):
        # Drawn first, so that plate map and truth are those of the other one: of this one nothing is known.
        simulate_plate(out / PLATE, seed + 1, rows=2, columns=6, plate=FOREIGN_PLATE, odd={}, microscope=FOREIGN)
        truth = simulate_plate(out / PLATE, seed, progress=lambda n, of: events.progress("drawing wells", n, of))
        screen = import_screen("pattern", out / PLATE / "images", out / PLATE / "platemap.csv", pattern=PATTERN)
        write_screen(screen, out / TABLE)
        events.say(f"Made {out / TABLE}; now learning from its 32 control wells, as bagscope train does")
        model = train(out / TABLE, out / MODEL, seed=seed, device=device, threads=threads, events=events)
        scores = model.score(
            out / TABLE, out / SCORES, cells="own", masks=True, device=device, threads=threads, events=events
        )
        own = of_plate(scores, truth.plate)
        table = compared(truth, own)
        write_atomic(out / PICTURE, _picture(table, own, model.classes))
        lines, values = judged(table, truth)
        for more, found in (cells_judged(out / PLATE, truth, own), unlike_judged(truth, scores)):
            lines += more
            values |= found
        events.say(f"Making a page of it: {out / REPORT}")
        write_report(
            scores.folder,
            out / REPORT,
            beside=_beside(table, lines),
            model=model,
            progress=lambda done, of: events.progress("drawing", done, of),
        )
        write_atomic(out / COMPARED, csv_bytes(table))
    seconds = time.monotonic() - began
    lines.append(f"Took {seconds:.0f} s. Truth beside calls: {out / COMPARED}")
    values |= {"failed": len(scores.failures), "seconds": round(seconds, 1)}
    return Shown(scores, model.classes, lines, values)


def compared(truth: PlateTruth, scores: Scores) -> pd.DataFrame:
    """Return a row per well: what is true of it, and what was called."""
    told = scores.wells.set_index("well")
    rows = []
    for well in truth.wells:
        said = told.loc[well.well]
        rows.append(
            {
                "well": well.well,
                "label": well.label,
                "treatment": well.treatment,
                "concentration": np.nan if well.concentration is None else well.concentration,
                "unit": well.unit,
                "odd": well.odd,
                "share_responding": well.share_visible_positive,
                "n_cells": well.n_cells,
                "mil_probability:positive": said["mil_probability:positive"],
                SCORE: said[SCORE],
                "call": said["call"],
            }
        )
    return pd.DataFrame(rows)


def of_plate(scores: Scores, plate: str) -> Scores:
    """Return the fields and wells of one plate alone."""
    images, wells = (table[table["plate"] == plate].reset_index(drop=True) for table in (scores.images, scores.wells))
    return replace(scores, images=images, wells=wells)


def unlike_judged(truth: PlateTruth, scores: Scores) -> tuple[list[str], dict[str, Any]]:
    """Sum up which images were found unlike those of training: of the other plate, of odd wells, of all others."""
    images = scores.images[scores.images["n_fields"] > 0]
    flagged = images["unlike"] != ""
    foreign = images["plate"] == FOREIGN_PLATE
    odd = {well.well: well.odd for well in truth.wells if well.odd}
    is_odd = ~foreign & images["well"].isin(odd)
    usual = ~foreign & ~is_odd
    wells = ", ".join(
        f"{well} ({odd[well]}): {'yes' if flag else 'no'}"
        for well, flag in zip(images.loc[is_odd, "well"], flagged[is_odd], strict=True)
    )
    counts = [(int(flagged[part].sum()), int(part.sum())) for part in (foreign, usual)]
    line = (
        f"Images flagged as unlike those of training: {counts[0][0]} of {counts[0][1]} of the plate from another "
        f"microscope; {wells}; {counts[1][0]} of {counts[1][1]} others"
    )
    values = {"unlike_foreign": counts[0][0], "unlike_usual": counts[1][0]}
    return [line], values


def _beside(table: pd.DataFrame, lines: list[str]) -> ExtraTable:
    """Truth and calls of every well, side by side, as text."""
    columns = ["well", "treatment", "concentration", "unit", "odd", "share_responding", SCORE, "call"]
    rows = [
        [f"{value:.3g}" if isinstance(value, float) and np.isfinite(value) else "" if value != value else str(value)
         for value in row]
        for row in table[columns].itertuples(index=False)
    ]  # fmt: skip
    return ExtraTable("Truth beside calls", lines, [name.replace("_", " ") for name in columns], rows)


def _picture(table: pd.DataFrame, scores: Scores, classes: tuple[str, ...]) -> bytes:
    # A well in which no class is seen (empty, out of focus) says nothing about the dose.
    shown = table[(table["label"] == "") & ~table["call"].isin(["", "none"])]
    series = [
        DoseSeries(str(name), str(w["unit"].iloc[0]), w["concentration"].to_numpy(), w[SCORE].to_numpy())
        for name, w in shown.groupby("treatment")
    ]
    return plate_figure(scores.wells, classes, series, SCORE)


def judged(table: pd.DataFrame, truth: PlateTruth) -> tuple[list[str], dict[str, Any]]:
    """Sum up the wells that were not trained on: agreement, order, and dose-response."""
    unseen = table[(table["label"] == "") & (table["odd"] == "") & (table["call"] != "")]
    share, odd = unseen["share_responding"], table[table["odd"] != ""]
    clear = unseen[(share <= CLEARLY_NOT) | (share >= CLEARLY)]
    right = (clear["call"] == np.where(clear["share_responding"] >= CLEARLY, "positive", "negative")).sum()
    order = float(stats.spearmanr(share, unseen["mil_probability:positive"]).statistic)
    lines = [
        f"Wells not trained on, in which at most {CLEARLY_NOT:.0%} or at least {CLEARLY:.0%} of the cells respond: "
        f"{right} of {len(clear)} called right",
        f"Rank correlation of score and true share over {len(unseen)} dose wells: {order:.2f}",
    ]
    values: dict[str, Any] = {"right": int(right), "clear": len(clear), "rank_correlation": order, "ec50": {}}
    for treatment in truth.treatments:
        mine = unseen[unseen["treatment"] == treatment.name]
        fit = fit_dose_response(mine["concentration"], mine[SCORE])
        said = f"{fit.ec50:.3g} ({fit.low:.3g} to {fit.high:.3g})" if fit.fitted else f"no fit: {fit.reason}"
        true = f"half of the effect on cells is at {treatment.ec50:g}"
        lines.append(f"{treatment.name}: the score is half-way at {said} {treatment.unit}; {true}")
        values["ec50"][treatment.name] = fit.ec50 if fit.fitted else None
    wells = ", ".join(f"{w} ({o}): {c or 'failed'}" for w, o, c in odd[["well", "odd", "call"]].to_numpy().tolist())
    lines.append(f"Odd wells: {wells}")
    return lines, values
