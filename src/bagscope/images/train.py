"""How a screen of labelled images becomes a model, and a model without each fold when asked."""

from __future__ import annotations

from bagscope.engine.check import CheckReport
from bagscope.engine.run import Run
from bagscope.files.run_names import CARD, CROSS_FITTED, FAILURES, FOLDS, HISTORY, README, RESUME, SPLIT, WEIGHTS
from bagscope.images.fit import train_one
from bagscope.images.folds import cross_fit
from bagscope.images.rows import labelled_rows
from bagscope.settings.jobs import ImagesJob
from bagscope.tables.splits import fold_numbers

MODEL_FILES = (CARD, WEIGHTS, HISTORY, SPLIT, README, FAILURES, RESUME, CROSS_FITTED, FOLDS)


def train(report: CheckReport, run: Run[ImagesJob]) -> None:
    """Train on the labelled rows of a checked screen; see `engine.tasks.Stages`."""
    rows, failures = labelled_rows(report, run.job, run.worker, run.events)
    # Impossible folds are refused before the first training, not after it.
    split = run.job.split
    folds = fold_numbers(rows.table, split.by, split.folds, run.job.seed) if split.folds else None
    train_one(rows, failures, run.target.folder, run)
    if folds is not None:
        cross_fit(rows, failures, folds, run)
