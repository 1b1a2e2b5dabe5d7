"""How labelled rows become one model folder: split, measure, fit, save."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bagscope.engine import loop
from bagscope.engine.card import CalibrationCard, ModelCard
from bagscope.engine.card_file import CARD, load_card_as
from bagscope.engine.compute import trains_in_bf16
from bagscope.engine.events import Events
from bagscope.engine.failures import FAILURES, Failure, failure_table, of_error
from bagscope.engine.model_folder import save_model
from bagscope.engine.model_readme import model_readme
from bagscope.engine.origin import origin
from bagscope.engine.plan import Plan, plan_of, refuse_other
from bagscope.engine.tasks import TASKS
from bagscope.errors import ImageReadError, ModelError, Problem, TableError
from bagscope.feed.cache import Pad
from bagscope.files.writer import write_atomic
from bagscope.images.calibrate import calibration_of
from bagscope.images.rows import Rows, refuse_untrainable
from bagscope.images.setup import Labelled, Setup
from bagscope.settings.jobs import ImagesJob
from bagscope.tables.frames import csv_bytes
from bagscope.tables.labels import Vocabulary, unknown_labels, vocabulary
from bagscope.tables.splits import TEST, TRAIN, VALIDATION, assign_parts, groups_of

RESUME, PLAN = "resume", "plan.json"
HISTORY, SPLIT, README = "history.csv", "split.csv", "README.md"


@dataclass(frozen=True)
class Run:
    """A training run: its settings, where it computes, whether it goes on with earlier work, who listens.

    warned : what was found about the table, said again with every score of the model.
    """

    job: ImagesJob
    device: torch.device
    resume: bool
    events: Events
    warned: tuple[str, ...] = ()


def train_model(
    rows: Rows, failures: Sequence[Failure], folder: Path, run: Run, told: Vocabulary | None = None
) -> ModelCard:
    """Train one model on labelled rows and write its folder; a finished one is returned as it is.

    Parameters
    ----------
    failures : rows that were left out before; they and those that turn out too small or unreadable are written
        to failures.csv.
    told : what the model is to say, where it has to fit another one; default: what its training rows say.

    Raises
    ------
    TableError : too few rows are left. ModelError : resumed with other rows, files or settings.
    """
    job, events = run.job, run.events
    ready = _prepared(rows, job, told)
    rows, resume = ready.rows, folder / RESUME
    plan = plan_of(job, rows.table, ready.parts.tolist(), rows.signatures)
    if (folder / CARD).is_file():
        return _finished(folder, plan, events)
    for note in (*ready.notes, *ready.setup.notes()):
        events.say(note)
    pad = None if job.images.pad == "none" else Pad(ready.setup.least_px, job.images.pad)
    kind = TASKS.load(job.task)
    task = kind.make_task(job, _labelled(rows, ready.parts, ready.told, pad), ready.setup, run.device)
    if run.resume:
        refuse_other(resume / PLAN, plan)
    plan.save(resume / PLAN)
    bf16 = trains_in_bf16(job.compute, run.device)
    fitted = loop.fit(task, job.training, job.seed, run.device, bf16, resume, plan.fingerprint, run.resume, events)
    card = task.learned(fitted.network)
    if hasattr(kind, "learn_cells"):
        card = card.model_copy(update={"cells": kind.learn_cells(task, fitted.network, bf16, events)})
    watched = ready.parts == VALIDATION
    calibrated = calibration_of(fitted.network, card, rows, watched, job, run.device)
    card = card.model_copy(update={"calibration": calibrated})
    events.say(_told(calibrated))
    late = [_while_training(rows, line, error) for line, error in task.unreadable().items()]
    learned = {"training": card.training | _trained_on(ready, plan, fitted, run.warned), "created": created(run, bf16)}
    _write_failures(folder, rows, [*failures, *ready.failures, *late], events)
    write_atomic(folder / HISTORY, csv_bytes(pd.DataFrame(fitted.history)))
    write_atomic(folder / SPLIT, csv_bytes(_split_table(ready, job)))
    card = card.model_copy(update=learned)
    write_atomic(folder / README, model_readme(card))
    card = save_model(folder, fitted.network, card)
    shutil.rmtree(resume, ignore_errors=True)
    return card


def _told(calibration: CalibrationCard) -> str:
    if calibration.method == "none":
        return f"probabilities are not calibrated: {calibration.why}"
    return f"probabilities are calibrated on {calibration.wells} wells: temperature {calibration.temperature:.2f}"


def _finished(folder: Path, plan: Plan, events: Events) -> ModelCard:
    card = load_card_as(folder, ModelCard)
    if card.training.get("plan") != plan.fingerprint:
        cause = "the model there was trained on other rows or files, or with other settings"
        fix = "Name another folder with -o, or replace it with --overwrite."
        raise ModelError(cause, fix, code="changed", file=folder)
    shutil.rmtree(folder / RESUME, ignore_errors=True)
    events.say(f"{folder} is finished already")
    return card


@dataclass(frozen=True)
class _Ready:
    """Rows that can train: all large enough, none of those measured unreadable."""

    rows: Rows
    parts: np.ndarray
    told: Vocabulary
    setup: Setup
    notes: tuple[str, ...]
    failures: list[Failure]


def _prepared(rows: Rows, job: ImagesJob, told: Vocabulary | None) -> _Ready:
    """Split and measure, and again without the rows that turn out to be of no use, as if they had not been there."""
    measured_setup = TASKS.load(job.task).measured_setup
    failures: list[Failure] = []
    while True:
        parts, words, notes = _parts(rows, job, told)
        setup = measured_setup(job, _labelled(rows, parts, words))
        bad = {i: of_error(int(rows.source.positions[i]), "read", error) for i, error in setup.unreadable.items()}
        if job.images.pad == "none":
            bad |= _too_small(rows, setup.least_px)
        if not bad:
            return _Ready(rows, parts, words, setup, notes, failures)
        failures += bad.values()
        rows = rows.take(np.setdiff1d(np.arange(len(rows)), list(bad)))
        refuse_untrainable(rows, job)


def _parts(rows: Rows, job: ImagesJob, told: Vocabulary | None) -> tuple[np.ndarray, Vocabulary, tuple[str, ...]]:
    found = assign_parts(rows.table, job.split.by, job.split.validation, job.seed)
    parts, labels = found.parts.copy(), rows.table["label"].to_numpy(dtype=object)
    if told is None:
        trained, every = vocabulary(labels[parts == TRAIN]), vocabulary(labels[np.isin(parts, (TRAIN, VALIDATION))])
        told = replace(trained, several=every.several)
        if len(told.classes) + told.none < 2:
            cause = f"the rows that train have {len(told.classes) + told.none} class(es); at least 2"
            fix = "Give rows of each class to 'train'; see failures for rows that cannot be used."
            raise TableError([Problem("refuse", "one_class", cause, fix, str(rows.screen.path or ""), None, "split")])
    # A row of a class that is not trained cannot watch the training.
    unknown = [bool(unknown_labels([label], told.classes)) for label in labels]
    parts[(parts == VALIDATION) & np.array(unknown, dtype=bool)] = TEST
    return parts, told, found.notes


def _labelled(rows: Rows, parts: np.ndarray, told: Vocabulary, pad: Pad | None = None) -> Labelled:
    table, source = rows.table, rows.source
    return Labelled(
        store=source.store.take(range(len(rows)), pad),
        labels=table["label"].tolist(),
        told=told,
        wells=[f"{plate}/{well}" for plate, well in zip(table["plate"], table["well"], strict=True)],
        parts=parts.tolist(),
        lines=table["row"].tolist(),
        channels=source.channels,
        pixel_um=source.common_pixel_um(),
    )


def _too_small(rows: Rows, least_px: int) -> dict[int, Failure]:
    fix = "Leave it out, or enlarge small images with --set images.pad=reflect."
    found = {}
    for i, (_, h, w) in enumerate(rows.source.store.shapes):
        if min(h, w) < least_px:
            cause = f"image {h}x{w}, the model needs >= {least_px} pixels each way"
            problem = Problem("list", "too_small", cause, fix)
            found[i] = Failure(int(rows.source.positions[i]), "check", problem)
    return found


def _write_failures(folder: Path, rows: Rows, failures: Sequence[Failure], events: Events) -> None:
    path = folder / FAILURES
    if failures:
        write_atomic(path, csv_bytes(failure_table(rows.screen, failures)))
        events.warn(f"{len(failures)} of {len(rows.screen)} failed, see {path}")
    else:
        path.unlink(missing_ok=True)


def _while_training(rows: Rows, line: int, error: ImageReadError) -> Failure:
    return of_error(int(np.flatnonzero(rows.screen.rows["row"] == line)[0]), "train", error)


def _trained_on(ready: _Ready, plan: Plan, fitted: loop.Fitted, warned: Sequence[str]) -> dict[str, Any]:
    """What the card remembers of the run; by their signatures, rows are known again when they are scored."""
    signs = np.array(ready.rows.signatures, dtype=object)
    return {
        "kept_step": fitted.kept_step,
        "stopped_early": fitted.stopped_early,
        "rows": {part: sorted(signs[ready.parts == part].tolist()) for part in (TRAIN, VALIDATION)},
        "plan": plan.fingerprint,
        "warnings": list(warned),
    }


def created(run: Run, bf16: bool) -> dict[str, Any]:
    """Where a model comes from."""
    made = {"device": str(run.device), "precision": "bf16" if bf16 else "fp32", "seed": run.job.seed}
    return origin() | made


def _split_table(ready: _Ready, job: ImagesJob) -> pd.DataFrame:
    table = ready.rows.table
    told = table[["row", "plate", "well", "site", "label"]].reset_index(drop=True)
    return told.assign(group=groups_of(table, job.split.by), split=ready.parts)
