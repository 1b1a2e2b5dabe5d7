"""How labelled rows become one model folder: split, measure, fit, save."""

from __future__ import annotations

import platform
import shlex
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bagscope import __version__
from bagscope.errors import ImageReadError, Problem
from bagscope.feed.cache import Pad
from bagscope.files.writer import write_atomic
from bagscope.run import engine
from bagscope.run.compute import trains_in_bf16
from bagscope.run.events import Events
from bagscope.run.failures import Failure, of_error
from bagscope.run.model_folder import save_model
from bagscope.run.model_readme import model_readme
from bagscope.run.plan import plan_of, refuse_other
from bagscope.run.rows import Rows, refuse_untrainable
from bagscope.settings.jobs import ImagesJob
from bagscope.tables.frames import csv_bytes
from bagscope.tables.splits import TRAIN, VALIDATION, assign_parts, groups_of
from bagscope.tasks import TASKS
from bagscope.tasks.card import ModelCard
from bagscope.tasks.images.setup import Labelled, Setup

RESUME, PLAN = "resume", "plan.json"
HISTORY, SPLIT, README = "history.csv", "split.csv", "README.md"


@dataclass(frozen=True)
class Run:
    """A training run: its settings, where it computes, whether it goes on with earlier work, who listens."""

    job: ImagesJob
    device: torch.device
    resume: bool
    events: Events


def train_model(rows: Rows, folder: Path, run: Run) -> tuple[ModelCard, list[Failure]]:
    """Train one model on labelled rows and write its folder.

    Returns
    -------
    The model's card, and rows that turned out too small or unreadable.

    Raises
    ------
    TableError : too few rows are large enough. ModelError : resumed with other rows, files or settings.
    """
    job, events = run.job, run.events
    make = TASKS.load(job.task)
    parts, notes = _parts(rows, job)
    setup = make.measured_setup(job, _labelled(rows, parts))
    for note in (*notes, *setup.notes()):
        events.say(note)
    rows, parts, failures = _large_enough(rows, parts, setup, job)
    pad = None if job.images.pad == "none" else Pad(setup.least_px, job.images.pad)
    task = make.make_task(job, _labelled(rows, parts, pad), setup, run.device)
    resume = folder / RESUME
    plan = plan_of(job, rows.table, parts.tolist(), rows.signatures)
    if run.resume:
        refuse_other(resume / PLAN, plan)
    plan.save(resume / PLAN)
    bf16 = trains_in_bf16(job.compute, run.device)
    fitted = engine.fit(task, job.training, job.seed, run.device, bf16, resume, plan.fingerprint, run.resume, events)
    failures += [_while_training(rows, line, error) for line, error in task.unreadable().items()]
    card = task.learned(fitted.network)
    learned = {"training": card.training | _trained_on(rows, parts, fitted), "created": created(run, bf16)}
    card = card.model_copy(update=learned)
    write_atomic(folder / HISTORY, csv_bytes(pd.DataFrame(fitted.history)))
    write_atomic(folder / SPLIT, csv_bytes(_split_table(rows, parts, job)))
    write_atomic(folder / README, model_readme(card))
    card = save_model(folder, fitted.network, card)
    shutil.rmtree(resume, ignore_errors=True)
    return card, failures


def _parts(rows: Rows, job: ImagesJob) -> tuple[np.ndarray, tuple[str, ...]]:
    found = assign_parts(rows.table, job.split.by, job.split.validation, job.seed)
    return found.parts, found.notes


def _labelled(rows: Rows, parts: np.ndarray, pad: Pad | None = None) -> Labelled:
    table, source = rows.table, rows.source
    return Labelled(
        store=source.store.take(range(len(rows)), pad),
        labels=table["label"].tolist(),
        wells=[f"{plate}/{well}" for plate, well in zip(table["plate"], table["well"], strict=True)],
        parts=parts.tolist(),
        lines=table["row"].tolist(),
        channels=source.channels,
        pixel_um=source.common_pixel_um(),
    )


def _large_enough(
    rows: Rows, parts: np.ndarray, setup: Setup, job: ImagesJob
) -> tuple[Rows, np.ndarray, list[Failure]]:
    sides = np.array([min(shape[1:]) for shape in rows.source.store.shapes])
    small = sides < setup.least_px
    if job.images.pad != "none" or not small.any():
        return rows, parts, []
    fix = "Leave it out, or enlarge small images with --set images.pad=reflect."
    failures = []
    for i in np.flatnonzero(small):
        _, h, w = rows.source.store.shapes[i]
        cause = f"image {h}x{w}, the model needs >= {setup.least_px} pixels each way"
        failures.append(Failure(int(rows.source.positions[i]), "check", Problem("list", "too_small", cause, fix)))
    rows = rows.take(~small)
    refuse_untrainable(rows, job)
    return rows, parts[~small], failures


def _while_training(rows: Rows, line: int, error: ImageReadError) -> Failure:
    return of_error(int(np.flatnonzero(rows.screen.rows["row"] == line)[0]), "train", error)


def _trained_on(rows: Rows, parts: np.ndarray, fitted: engine.Fitted) -> dict[str, Any]:
    """What the card remembers of the run; by their signatures, rows are known again when they are scored."""
    signs = np.array(rows.signatures, dtype=object)
    return {
        "kept_step": fitted.kept_step,
        "stopped_early": fitted.stopped_early,
        "rows": {part: sorted(signs[parts == part].tolist()) for part in (TRAIN, VALIDATION)},
    }


def created(run: Run, bf16: bool) -> dict[str, Any]:
    """Where a model comes from."""
    return {
        "bagscope": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": str(run.device),
        "precision": "bf16" if bf16 else "fp32",
        "seed": run.job.seed,
        "command": shlex.join(["bagscope", *sys.argv[1:]]) if Path(sys.argv[0]).stem == "bagscope" else "",
    }


def _split_table(rows: Rows, parts: np.ndarray, job: ImagesJob) -> pd.DataFrame:
    table = rows.table[["row", "plate", "well", "site", "label"]].reset_index(drop=True)
    return table.assign(group=groups_of(rows.table, job.split.by), split=parts)
