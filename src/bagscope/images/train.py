"""How a screen becomes a model: check, read, train, and again without each fold when asked."""

from __future__ import annotations

from pathlib import Path

from bagscope.engine.card_file import CARD
from bagscope.engine.check import CheckReport, check
from bagscope.engine.compute import device_of, memory_kept, threads
from bagscope.engine.events import Events
from bagscope.engine.failures import FAILURES
from bagscope.engine.folds import CROSS_FITTED
from bagscope.engine.model_folder import WEIGHTS
from bagscope.files.folder import claimed
from bagscope.files.worker import DecodingWorker
from bagscope.images.fit import HISTORY, README, RESUME, SPLIT, Run, train_model
from bagscope.images.folds import cross_fit
from bagscope.images.predict import Model, open_images
from bagscope.images.rows import labelled_rows
from bagscope.settings.jobs import ImagesJob
from bagscope.tables.splits import fold_numbers
from bagscope.tables.table import Screen

OURS = (CARD, WEIGHTS, HISTORY, SPLIT, README, FAILURES, RESUME, CROSS_FITTED, "fold_*")


def train_images(
    screen: Screen | Path | str, out: Path, job: ImagesJob, *, resume: bool, overwrite: bool, events: Events
) -> Model:
    """Learn from the labelled images of a screen, and write a model folder; see `train`."""
    device = device_of(job.compute)
    with (
        threads(job.compute.threads),
        memory_kept(),
        # Claimed first: a folder that cannot be written to is told before any image is opened.
        claimed(out, OURS, finished=CARD, resume=resume, overwrite=overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        report = checked(screen, job, events)
        run = Run(job, device, resume, events, _warned(report))
        rows, failures = labelled_rows(report, job, worker, events)
        # Impossible folds are refused before the first training, not after it.
        split = job.split
        numbers = fold_numbers(rows.table, split.by, split.folds, job.seed) if split.folds else None
        train_model(rows, failures, out, run)
        if numbers is not None:
            cross_fit(rows, failures, numbers, out, run)
    return open_images(out, job.compute.device)


def _warned(report: CheckReport) -> tuple[str, ...]:
    """What was warned of, confounding first: what a model may have learned instead counts more than a lost row."""
    found = [problem for problem in report.problems if problem.severity == "warn"]
    return tuple(map(str, sorted(found, key=lambda problem: problem.code != "confounded")))


def checked(screen: Screen | Path | str, job: ImagesJob, events: Events) -> CheckReport:
    """Check a screen for training and say what was found.

    Raises
    ------
    TableError : with all that is refused.
    """
    report = check(
        screen,
        table=job.table,
        images=job.images,
        split_by=job.split.by,
        io_timeout=job.compute.io_timeout,
    )
    report.refuse()
    for note in report.notes:
        events.say(note)
    for problem in report.problems:
        events.warn(str(problem))
    return report
