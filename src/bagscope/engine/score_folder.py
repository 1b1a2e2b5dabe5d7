"""What a score folder holds: tables of images, wells and treatments, failures, and where they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagscope.engine.card import Card
from bagscope.engine.cell_tables import CELLS, NAMES, cell_columns, cells_digest, names_table, with_shares, write_cells
from bagscope.engine.events import Events
from bagscope.engine.failures import FAILURES, failure_table
from bagscope.engine.origin import origin
from bagscope.engine.parts import PARTS, Parts
from bagscope.engine.predictions import JudgedFields
from bagscope.errors import ModelError
from bagscope.files.writer import read_json, write_atomic, write_json
from bagscope.settings.jobs import ReadJob
from bagscope.tables.calls import CallRule
from bagscope.tables.frames import csv_bytes, read_csv, read_parquet, table_files
from bagscope.tables.levels import LOG_ODDS, LOGIT, Levels, aggregate
from bagscope.tables.table import Screen

RUN = "run.json"
LARGEST_RUN = 100_000_000
LEVELS = ("images", "wells", "treatments")
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
        """One row per cell, read from the folder; empty when cells were not judged."""
        path = self.folder / CELLS[0]
        return read_parquet(path) if path.is_file() else pd.DataFrame()


@dataclass(frozen=True)
class Provenance:
    """How scores came about: settings, what was warned of, how long it took, and by which model."""

    job: ReadJob
    warnings: tuple[str, ...]
    seconds: float
    model: Path | None = None


@dataclass(frozen=True)
class Counts:
    """Rows that were scored, rows that failed, and megapixels that this run read and scored."""

    scored: int
    failed: int
    megapixels: float


def levels_of(screen: Screen, card: Card, judged: JudgedFields, job: ReadJob) -> Levels:
    """Sum up the scores of every row of a screen by the model's call rule; limits that were set by hand overrule it.

    A row that failed has none. `split` says what a row was to the model: `train` or `validation` when the model has
    seen it.
    """
    of_fields = {position: (part.log_odds, part.logits) for position, part in judged.parts.items()}
    odds, logits = _by_row(of_fields, len(screen), card)
    columns: dict[str, Any] = {LOG_ODDS + name: odds[:, k] for k, name in enumerate(card.classes)}
    columns |= {LOGIT + name: logits[:, k] for k, name in enumerate(card.outputs)}
    frame = screen.rows.copy()
    split = frame["split"].to_numpy(dtype=object, copy=True)
    for position, side in judged.known.items():
        split[position] = side
    frame["split"] = split
    columns["unlike"] = [judged.parts[at].unlike if at in judged.parts else "" for at in range(len(frame))]
    columns |= cell_columns(screen, card.classes, judged.parts)
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
        bags=_by_row(judged.wells, len(screen), card) if judged.wells else None,
    )
    return with_shares(levels, card.classes)


def _by_row(
    scores: Mapping[int, tuple[np.ndarray, np.ndarray]], rows: int, card: Card
) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds (R, K) and the last layer's calibrated logits (R, O) of each row; NaN where it has none."""
    odds, logits = np.full((rows, len(card.classes)), np.nan), np.full((rows, len(card.outputs)), np.nan)
    for position, (own, head) in scores.items():
        odds[position], logits[position] = own, head / card.calibration.temperature
    return odds, logits


def write_scores(
    folder: Path, screen: Screen, card: Card, judged: JudgedFields, how: Provenance, events: Events
) -> Scores:
    """Write the tables, then run.json: a score folder without it is unfinished."""
    levels = levels_of(screen, card, judged, how.job)
    return write_levels(folder, screen, card, levels, judged, how, events)


def write_levels(
    folder: Path,
    screen: Screen,
    card: Card,
    levels: Levels,
    judged: JudgedFields,
    how: Provenance,
    events: Events,
    cells: tuple[str, str] = CELLS,
) -> Scores:
    """Write tables that were summed up before; see `write_scores`. A finished folder that says the same is left.

    Parameters
    ----------
    cells : names of the files with a row per cell.
    """
    failures = failure_table(screen, judged.failures)
    files = {FAILURES: csv_bytes(failures)}
    for level in LEVELS:
        files |= table_files(getattr(levels, level), level)
    if {"mask_file", "map_file"} & set(levels.images.columns):
        files[NAMES] = csv_bytes(names_table(levels.images, screen.image_columns[0]))
    same_cells = told_of_cells(folder) == cells_digest(judged.parts)
    if same_cells and all(holds(folder / name, content) for name, content in files.items()):
        events.say(f"{folder} is finished already, and nothing has changed")
    else:
        (folder / RUN).unlink(missing_ok=True)
        write_cells(folder, screen, judged.parts, Parts(folder / PARTS), cells)
        for name, content in files.items():
            write_atomic(folder / name, content)
        counts = Counts(len(judged.parts), len(failures), judged.megapixels)
        write_json(folder / RUN, provenance(screen, card, how, counts, cells_digest(judged.parts)))
    if len(failures):
        events.warn(f"{len(failures)} of {len(screen)} failed, see {folder / FAILURES}")
    return Scores(folder, levels.images, levels.wells, levels.treatments, failures)


def told_of_cells(folder: Path) -> str | None:
    """Return the fingerprint of the cells that a finished folder holds, None when it is unfinished."""
    if not (folder / RUN).is_file():
        return None
    found = read_json(folder / RUN, LARGEST_RUN)
    return str(found.get("cells_sha256", "")) if isinstance(found, dict) else None


def holds(path: Path, content: bytes) -> bool:
    """Tell whether a file is there with this very content."""
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


def provenance(screen: Screen, card: Card, how: Provenance, counts: Counts, cells: str) -> dict[str, Any]:
    """Return what run.json says.

    Parameters
    ----------
    cells : stands for the files below the tables' rows, such as the cells of all fields.
    """
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
        "cells_sha256": cells,
        "rows": len(screen),
        "scored": counts.scored,
        "failed": counts.failed,
        "seconds": round(how.seconds, 3),
        "megapixels": round(counts.megapixels, 3),
        "settings": json.loads(how.job.model_dump_json()),
        "warnings": list(how.warnings),
    }
