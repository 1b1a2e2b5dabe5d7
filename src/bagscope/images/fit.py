"""How labelled rows become a model folder: split, measure, fit, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from bagscope.engine import loop
from bagscope.engine.card import CalibrationCard
from bagscope.engine.compute import Execution, trains_in_bf16
from bagscope.engine.failures import Failure, of_error
from bagscope.engine.loaded import TrainedNetwork
from bagscope.engine.plan import Plan, plan_of
from bagscope.engine.run import Run
from bagscope.engine.states import Checkpoints
from bagscope.engine.training import Trained, created, finished_card, split_file, write_model
from bagscope.errors import ImageReadError, Problem, TableError
from bagscope.feed.cache import Pad
from bagscope.files.run_names import RESUME
from bagscope.images.calibrate import calibration_of
from bagscope.images.card import ModelCard
from bagscope.images.pseudo_labels import learn_cells
from bagscope.images.rows import Rows, refuse_untrainable
from bagscope.images.setup import Labelled, Setup, make_task, measured_setup
from bagscope.images.task import ImagesTask
from bagscope.nets.bagnet import BagNet
from bagscope.settings.jobs import ImagesJob
from bagscope.tables.labels import Vocabulary, unknown_labels, vocabulary_of
from bagscope.tables.splits import TEST, TRAIN, VALIDATION, assign_parts


def train_one(
    rows: Rows, failures: Sequence[Failure], folder: Path, run: Run[ImagesJob], classes: Vocabulary | None = None
) -> ModelCard:
    """Train a model on labelled rows and write its folder; a finished model is returned as it is.

    Parameters
    ----------
    failures : rows that were left out before; they and the rows that turn out too small or unreadable are written
        to failures.csv.
    classes : what the model predicts, where it has to agree with another model; default: the labels of its training
        rows.

    Raises
    ------
    TableError : too few rows are left. ModelError : resumed with other rows, files or settings.
    """
    ready = _prepare(rows, run.job, classes)
    plan = plan_of(run.job, ready.rows.table, ready.parts.tolist(), ready.rows.signatures)
    finished = finished_card(folder, plan, ModelCard, run)
    if finished is not None:
        return finished
    for note in (*ready.notes, *ready.setup.notes()):
        run.events.say(note)
    task, trained = _fit(ready, folder, plan, run)
    late = [_while_training(ready.rows, line, error) for line, error in task.unreadable().items()]
    return write_model(folder, trained, plan, run, (rows.screen, [*failures, *ready.failures, *late]))


@dataclass(frozen=True)
class _Ready:
    """Rows that can train: all large enough, none of those measured unreadable."""

    rows: Rows
    parts: np.ndarray
    classes: Vocabulary
    setup: Setup
    notes: tuple[str, ...]
    failures: list[Failure]


def _fit(ready: _Ready, folder: Path, plan: Plan, run: Run[ImagesJob]) -> tuple[ImagesTask, Trained[ModelCard]]:
    """Train the network, then its cells, and calibrate it on the validation rows."""
    job, rows = run.job, ready.rows
    pad = None if job.images.pad == "none" else Pad(ready.setup.least_px, job.images.pad)
    task = make_task(job, _labelled(rows, ready.parts, ready.classes, pad), ready.setup, run.device)
    execution = Execution(run.device, trains_in_bf16(job.compute, run.device), job.seed)
    checkpoints = Checkpoints(folder / RESUME, plan.fingerprint, run.target.resume)
    fitted = loop.fit(task, job.training, execution, checkpoints, run.events)
    network = cast(BagNet, fitted.network)
    card = task.learned(network)
    card = card.model_copy(update={"cells": learn_cells(task, network, execution, checkpoints, run.events)})
    model = TrainedNetwork(network, card, run.device)
    calibration = calibration_of(model, rows, ready.parts == VALIDATION, job)
    run.events.say(_calibration_note(calibration))
    card = card.model_copy(update={"calibration": calibration, "created": created(run, execution.bf16)})
    signatures = np.array(rows.signatures, dtype=object)
    trained = Trained(
        network=network,
        card=card,
        fitted=fitted,
        rows={part: signatures[ready.parts == part].tolist() for part in (TRAIN, VALIDATION)},
        extra={"stopped_early": fitted.stopped_early},
        files=split_file(rows.table, job.split.by, ready.parts.tolist()),
    )
    return task, trained


def _while_training(rows: Rows, line: int, error: ImageReadError) -> Failure:
    return of_error(int(np.flatnonzero(rows.screen.rows["row"] == line)[0]), "train", error)


def _calibration_note(calibration: CalibrationCard) -> str:
    if calibration.method == "none":
        return f"probabilities are not calibrated: {calibration.why}"
    return f"probabilities are calibrated on {calibration.wells} wells: temperature {calibration.temperature:.2f}"


def _prepare(rows: Rows, job: ImagesJob, classes: Vocabulary | None) -> _Ready:
    """Split and measure; repeat without the rows that turn out to be unusable, as if they had not been there."""
    failures: list[Failure] = []
    while True:
        parts, words, notes = _parts(rows, job, classes)
        setup = measured_setup(job, _labelled(rows, parts, words))
        bad = {i: of_error(int(rows.source.positions[i]), "read", error) for i, error in setup.unreadable.items()}
        if job.images.pad == "none":
            bad |= _too_small(rows, setup.least_px)
        if not bad:
            return _Ready(rows, parts, words, setup, notes, failures)
        failures += bad.values()
        rows = rows.take(np.setdiff1d(np.arange(len(rows)), list(bad)))
        refuse_untrainable(rows, job)


def _parts(rows: Rows, job: ImagesJob, classes: Vocabulary | None) -> tuple[np.ndarray, Vocabulary, tuple[str, ...]]:
    """Assign rows to training, validation and test, and name the classes."""
    assigned = assign_parts(rows.table, job.split.by, job.split.validation, job.seed)
    parts, labels = assigned.parts.copy(), rows.table["label"].to_numpy(dtype=object)
    if classes is None:
        trained = vocabulary_of(labels[parts == TRAIN])
        labelled = vocabulary_of(labels[np.isin(parts, (TRAIN, VALIDATION))])
        classes = replace(trained, several=labelled.several)
        if len(classes.classes) + classes.none < 2:
            cause = f"the rows that train have {len(classes.classes) + classes.none} class(es); at least 2"
            fix = "Give rows of each class to 'train'; see failures for rows that cannot be used."
            raise TableError([Problem("refuse", "one_class", cause, fix, str(rows.screen.path or ""), None, "split")])
    # A row of a class that is not trained cannot validate.
    unknown = [bool(unknown_labels([label], classes.classes)) for label in labels]
    parts[(parts == VALIDATION) & np.array(unknown, dtype=bool)] = TEST
    return parts, classes, assigned.notes


def _labelled(rows: Rows, parts: np.ndarray, classes: Vocabulary, pad: Pad | None = None) -> Labelled:
    table, source = rows.table, rows.source
    return Labelled(
        store=source.store.take(range(len(rows)), pad),
        labels=table["label"].tolist(),
        vocabulary=classes,
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
