"""How a screen of volumes becomes a model: shapes, network and regression on measures, and folds when asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bagscope.engine.check import CheckReport
from bagscope.engine.failures import Failure
from bagscope.engine.plan import plan_of
from bagscope.engine.run import Run
from bagscope.engine.scoring import screen_of
from bagscope.engine.states import Checkpoints
from bagscope.engine.training import Trained, created, finished_card, split_file, write_model
from bagscope.files.run_names import (
    CARD,
    COMPARISON,
    CROSS_FITTED,
    FAILURES,
    FOLDS,
    HISTORY,
    README,
    RESUME,
    SPLIT,
    WEIGHTS,
)
from bagscope.settings.jobs import VolumesJob
from bagscope.tables.labels import Vocabulary, vocabulary_of
from bagscope.tables.splits import TRAIN, VALIDATION, assign_parts, fold_numbers
from bagscope.tables.table import Screen
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.fit import LabelledShapes, fit_one, labelled_shapes
from bagscope.volumes.folds import cross_fit

MODEL_FILES = (CARD, WEIGHTS, HISTORY, SPLIT, README, FAILURES, RESUME, COMPARISON, CROSS_FITTED, FOLDS)


def train(report: CheckReport, run: Run[VolumesJob]) -> None:
    """Train on the labelled volumes of a checked screen; see `engine.tasks.Stages`."""
    rows, failures = labelled_shapes(report, run)
    classes = vocabulary_of(rows.table["label"].tolist())
    # Impossible folds are refused before the first training, not after it.
    split = run.job.split
    folds = fold_numbers(rows.table, split.by, split.folds, run.job.seed) if split.folds else None
    _train_one(rows, classes, run, (screen_of(report), failures))
    if folds is not None:
        cross_fit(rows, failures, report, folds, run)


def _train_one(
    rows: LabelledShapes, classes: Vocabulary, run: Run[VolumesJob], failed: tuple[Screen, Sequence[Failure]]
) -> None:
    """Train the final model and write its folder; a finished model is left as it is."""
    job, folder = run.job, run.target.folder
    assigned = assign_parts(rows.table, job.split.by, job.split.validation, job.seed)
    parts = assigned.parts
    signatures = np.array([shapes.signature for shapes in rows.found], dtype=object)
    spaced = [f"{sign} at {spacing}" for sign, spacing in zip(signatures, rows.spacings, strict=True)]
    plan = plan_of(job, rows.table, parts.tolist(), spaced)
    if finished_card(folder, plan, ShapesCard, run) is not None:
        return
    for note in assigned.notes:
        run.events.say(note)
    checkpoints = Checkpoints(folder / RESUME, plan.fingerprint, run.target.resume)
    fitted, card, network = fit_one(rows, parts, classes, run, checkpoints)
    shapes = sum(len(row.solids) for row in rows.found)
    trained = Trained(
        network=network,
        card=card.model_copy(update={"created": created(run, bf16=False)}),
        fitted=fitted,
        rows={part: signatures[parts == part].tolist() for part in (TRAIN, VALIDATION)},
        extra={"stopped_early": fitted.stopped_early, "shapes": shapes},
        files=split_file(rows.table, job.split.by, parts.tolist()),
    )
    write_model(folder, trained, plan, run, failed)
