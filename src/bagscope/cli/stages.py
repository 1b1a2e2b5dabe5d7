"""What a verb calls once its options are read.

Training and scoring are loaded when they begin: a look at a table or a model's card needs no torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bagscope.api import check
from bagscope.engine.card_file import load_card
from bagscope.engine.check import CheckReport
from bagscope.engine.tasks import check_of, stages_of
from bagscope.errors import SettingsError
from bagscope.settings.jobs import READ_JOBS, make_job

if TYPE_CHECKING:
    from bagscope.cli.console import Console
    from bagscope.engine.score_folder import Scores


def check_table(
    table: Path, pixels: bool, model: Path | None, task: str, config: Path | None, given: dict[str, Any]
) -> CheckReport:
    """Check a table for training, or for scoring by a model."""
    if model is None:
        return check(table, task=task, config=config, pixels=pixels, **given)
    card = load_card(model)
    job = make_job(READ_JOBS[card.task], config, given)
    return check_of(card.task).check(table, stages_of(card.task).prepare(job, card), card, pixels)


def train_table(
    table: Path,
    out: Path,
    task: str,
    config: Path | None,
    given: dict[str, Any],
    resume: bool,
    overwrite: bool,
    console: Console,
) -> tuple[Any, int]:
    """Train a model; return it and the number of rows that failed."""
    from bagscope.api import train
    from bagscope.engine.failures import count_failures

    model = train(table, out, task=task, config=config, resume=resume, overwrite=overwrite, events=console, **given)
    return model, count_failures(out)


def score_table(
    model: Path,
    table: Path,
    out: Path,
    config: Path | None,
    given: dict[str, Any],
    resume: bool,
    overwrite: bool,
    console: Console,
) -> tuple[Scores, tuple[str, ...]]:
    """Score a table; return the scores and the model's classes."""
    from bagscope.api import load

    job = make_job(READ_JOBS[load_card(model).task], config, given)
    judge = load(model, device=job.compute.device)
    scores = judge.score(table, out, config=config, resume=resume, overwrite=overwrite, events=console, **given)
    return scores, judge.classes


def score_summary(scores: Scores, classes: tuple[str, ...]) -> str:
    """Return for people what was found: grids of wells, or areas where pixels were judged."""
    if _are_maps(scores):
        from bagscope.cli.areas import area_table

        return area_table(scores.images, classes)
    from bagscope.report.plate_grid import plate_grids

    return plate_grids(scores.wells, classes)


def summed_up(scores: Scores, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return for programs what was found."""
    if _are_maps(scores):
        mean = scores.images[[f"share:{name}" for name in classes]].mean()
        known = mean.notna().all()
        return {"share": {name: float(mean[f"share:{name}"]) for name in classes} if known else None}
    calls = {str(name): int(count) for name, count in scores.wells["call"].value_counts().items()}
    found = {"cells": int(scores.wells["n_cells"].sum())} if "n_cells" in scores.wells else {}
    return {"wells": calls, **found}


def next_step(scores: Scores) -> str:
    """Say what people do with a finished score folder."""
    out = scores.folder
    if _are_maps(scores):
        return (
            f"open an image in QuPath and drop its outlines from {out / 'regions'} on it; areas: {out / 'images.csv'}"
        )
    return f"bagscope report {out} -o report.html, or open {out / 'wells.csv'}"


def _are_maps(scores: Scores) -> bool:
    return "call" not in scores.wells


def look_at(
    model: Path,
    table: Path | None,
    out: Path,
    row: int | None,
    layer: str | None,
    cell: str | None,
    device: str | None,
    threads: int | None,
    console: Console,
) -> dict[str, Any]:
    """Draw filters or activations into a file; return what was drawn, for programs."""
    from bagscope.api import load
    from bagscope.engine.compute import threads as with_threads
    from bagscope.images import activations
    from bagscope.images.predict import Model
    from bagscope.report.layers import activations_figure, filters_figure, write_picture

    if table is None and (row, layer, cell) != (None, None, None):
        cause = "--row, --layer and --cell say what to look at in a table's field, but no table is named"
        raise SettingsError(cause, "Name the table after the model: bagscope look MODEL TABLE.", code="no_table")
    found = load(model, device=device or "auto")
    if not isinstance(found, Model):
        cause = f"a model for the task '{found.card.task}' has no filters or activations to show"
        raise SettingsError(cause, "Name a model of the task images.", code="other_task", file=model)
    with with_threads(threads or 0):
        if table is None:
            filters = activations.first_filters(found)
            write_picture(out, filters_figure(filters, found.channels))
            return {"picture": str(out), "filters": len(filters), "layers": list(activations.layer_names(found))}
        row, layer, centre = row or 2, layer or "conv1", None if cell is None else _centre(cell)
        seen = activations.activations_of_row(found, table, row, layer, centre, console)
    where = seen.where + ("" if cell is None else f", cell at {cell}")
    write_picture(out, activations_figure(seen.values, seen.seen, found.channels, f"{layer}, {where}"))
    return {"picture": str(out), "layer": layer, "filters": len(seen.values), "size": list(seen.values.shape[1:])}


def report_of(scores: Path, out: Path, device: str | None, threads: int | None, console: Console) -> int:
    """Write the page of a score folder, with what its network looks for; return its bytes."""
    from bagscope.api import load
    from bagscope.engine.compute import threads as with_threads
    from bagscope.report.findings import read_findings
    from bagscope.report.page import write_report

    folder = read_findings(scores).model_folder
    model = None if folder is None else load(folder, device=device or "auto")
    with with_threads(threads or 0):
        write_report(scores, out, model=model, progress=lambda done, of: console.progress("reading images", done, of))
    return out.stat().st_size


def _centre(text: str) -> tuple[float, float]:
    try:
        y, x = (float(part) for part in text.split(","))
    except ValueError:
        cause = f"--cell {text}"
        raise SettingsError(cause, "Write row and column: --cell 120,85.5", code="bad_cell") from None
    return y, x


def describe_model(model: Path) -> tuple[list[str], dict[str, Any]]:
    """Describe a model: lines for people, and its card for programs."""
    card = load_card(model)
    lines = [f"{model}: task {card.task}, format {card.format_version}", *card.summary_lines()]
    return lines, json.loads(card.model_dump_json())
