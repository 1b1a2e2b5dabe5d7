"""What a score folder holds: tables of images, wells and treatments, failures, and where they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagscope.engine.card import Card
from bagscope.engine.cell_tables import cell_columns, cells_digest, names_table, with_shares, write_cells
from bagscope.engine.failures import failure_table, warn_of_failures
from bagscope.engine.origin import origin
from bagscope.engine.parts import Parts
from bagscope.engine.predictions import Predictions
from bagscope.engine.run import Run
from bagscope.errors import ModelError
from bagscope.files.run_names import CELLS, FAILURES, LEVELS, NAMES, PARTS, RUN
from bagscope.files.writer import read_json, write_atomic, write_json
from bagscope.settings.jobs import ReadJob
from bagscope.tables.calls import CallRule
from bagscope.tables.frames import csv_bytes, read_csv, read_parquet, table_files
from bagscope.tables.levels import LOG_ODDS, LOGIT, Levels, aggregate
from bagscope.tables.table import Screen

LARGEST_RUN = 100_000_000
TABLES = (*(f"{level}.{kind}" for level in LEVELS for kind in ("parquet", "csv")), *CELLS, NAMES)


@dataclass(frozen=True)
class Scores:
    """A score folder: tables of images, wells and treatments, and of what failed."""

    folder: Path
    images: pd.DataFrame
    wells: pd.DataFrame
    treatments: pd.DataFrame
    failures: pd.DataFrame

    @property
    def cells(self) -> pd.DataFrame:
        """One row per cell, read from the folder; empty when cells were not predictions."""
        path = self.folder / CELLS[0]
        return read_parquet(path) if path.is_file() else pd.DataFrame()


@dataclass(frozen=True)
class Provenance:
    """How scores came about: settings, what was warned of, how long it took, and by which model."""

    job: ReadJob
    warnings: tuple[str, ...]
    seconds: float
    model: Path | None = None


def levels_of(screen: Screen, card: Card, predictions: Predictions, job: ReadJob) -> Levels:
    """Aggregate the scores of rows to wells and treatments by the model's call rule.

    Thresholds that the user sets overrule the model's. A row that failed has no score. `split` is `train` or
    `validation` for rows that the model has seen.
    """
    of_fields = {position: (part.log_odds, part.logits) for position, part in predictions.parts.items()}
    odds, logits = _by_row(of_fields, len(screen), card)
    columns: dict[str, Any] = {LOG_ODDS + name: odds[:, k] for k, name in enumerate(card.classes)}
    columns |= {LOGIT + name: logits[:, k] for k, name in enumerate(card.outputs)}
    frame = screen.rows.copy()
    split = frame["split"].to_numpy(dtype=object, copy=True)
    for position, side in predictions.training_split.items():
        split[position] = side
    frame["split"] = split
    columns["unlike"] = [predictions.parts[at].unlike if at in predictions.parts else "" for at in range(len(frame))]
    columns |= cell_columns(screen, card.classes, predictions.parts)
    fields = pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)
    rule = CallRule(threshold=card.calls.threshold, confidence=card.calls.confidence)
    given = job.calls.model_fields_set
    if given:
        rule = CallRule(
            threshold=job.calls.threshold if "threshold" in given else rule.threshold,
            confidence=job.calls.confidence if "confidence" in given else rule.confidence,
        )
    levels = aggregate(
        fields,
        card.classes,
        several=card.several_labels,
        none_trained=card.none_trained,
        rule=rule,
        seed=job.seed,
        bags=_by_row(predictions.wells, len(screen), card) if predictions.wells else None,
    )
    return with_shares(levels, card.classes)


def _by_row(
    scores: Mapping[int, tuple[np.ndarray, np.ndarray]], rows: int, card: Card
) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds (R, K) and the last layer's calibrated logits (R, O) of each row; NaN where it has none."""
    odds, logits = np.full((rows, len(card.classes)), np.nan), np.full((rows, len(card.outputs)), np.nan)
    for position, (log_odds, head) in scores.items():
        odds[position], logits[position] = log_odds, head / card.calibration.temperature
    return odds, logits


@dataclass(frozen=True)
class Result:
    """The scores of a screen on their way to a score folder, with their provenance."""

    screen: Screen
    card: Card
    levels: Levels
    predictions: Predictions
    how: Provenance


@dataclass(frozen=True)
class Details:
    """What a score folder holds beside the tables of images, wells and treatments.

    digest : stands for the files that `write` writes (cells, regions), so that a finished folder is recognised.
    files : small files, by name. optional : files that are removed when they are not among `files`.
    facts : further entries of run.json.
    """

    digest: str
    write: Callable[[], None]
    files: Mapping[str, bytes] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def write_scores(
    screen: Screen, card: Card, predictions: Predictions, how: Provenance, run: Run[Any], cells: tuple[str, str] = CELLS
) -> Scores:
    """Aggregate the scores of fields to wells and treatments, and write a score folder.

    Parameters
    ----------
    cells : names of the tables with a row per cell.
    """
    folder, levels = run.target.folder, levels_of(screen, card, predictions, how.job)
    files = {}
    if {"mask_file", "map_file"} & set(levels.images.columns):
        files[NAMES] = csv_bytes(names_table(levels.images, screen.image_columns[0]))
    details = Details(
        cells_digest(predictions.parts),
        lambda: write_cells(folder, screen, predictions.parts, Parts(folder / PARTS), cells),
        files,
    )
    return write_folder(Result(screen, card, levels, predictions, how), details, run)


def write_folder(result: Result, details: Details, run: Run[Any]) -> Scores:
    """Write the tables, then run.json: a score folder without it is unfinished. An unchanged folder is left alone."""
    folder, levels, screen = run.target.folder, result.levels, result.screen
    failures = failure_table(screen, result.predictions.failures)
    files = {FAILURES: csv_bytes(failures), **details.files}
    for level in LEVELS:
        files |= table_files(getattr(levels, level), level)
    is_same = stored_digest(folder) == details.digest
    if is_same and all(_holds(folder / name, content) for name, content in files.items()):
        run.events.say(f"{folder} is finished already, and nothing has changed")
    else:
        for name in (RUN, *details.optional):
            (folder / name).unlink(missing_ok=True)
        details.write()
        for name, content in files.items():
            write_atomic(folder / name, content)
        write_json(folder / RUN, _provenance(result, details))
    warn_of_failures(folder, screen, failures, run.events)
    return Scores(folder, levels.images, levels.wells, levels.treatments, failures)


def stored_digest(folder: Path) -> str | None:
    """Return the digest of the cells or regions that a finished folder holds, None when it is unfinished."""
    if not (folder / RUN).is_file():
        return None
    found = read_json(folder / RUN, LARGEST_RUN)
    return str(found.get("cells_sha256", "")) if isinstance(found, dict) else None


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file is there with this very content."""
    return path.is_file() and path.read_bytes() == content


def read_scores(folder: Path) -> Scores:
    """Read a finished score folder.

    Raises
    ------
    ModelError : there is none, or it is unfinished.
    """
    if not (folder / RUN).is_file():
        cause = "no finished scores there" if folder.is_dir() else "no such folder"
        fix = "Give the folder that `bagscope score ... -o SCORES` made; unfinished: add --resume there."
        raise ModelError(cause, fix, code="no_scores", file=folder)
    images, wells, treatments = (read_parquet(folder / f"{level}.parquet") for level in LEVELS)
    return Scores(folder, images, wells, treatments, read_csv(folder / FAILURES))


def _provenance(result: Result, details: Details) -> dict[str, Any]:
    """Return the content of run.json."""
    card, how, screen, predictions = result.card, result.how, result.screen, result.predictions
    return {
        "format_version": 1,
        **origin(),
        "model": {
            "weights_sha256": card.weights_sha256,
            "classes": list(card.classes),
            "task": card.task,
            "folder": str(how.model.absolute()) if how.model else "",
        },
        "table": str(screen.path or ""),
        "table_sha256": hashlib.sha256(screen.path.read_bytes()).hexdigest() if screen.path else "",
        "cells_sha256": details.digest,
        "rows": len(screen),
        "scored": predictions.scored,
        "failed": len(predictions.failures),
        "seconds": round(how.seconds, 3),
        "megapixels": round(predictions.megapixels, 3),
        "settings": json.loads(how.job.model_dump_json()),
        "warnings": list(how.warnings),
        **details.facts,
    }
