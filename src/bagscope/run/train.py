"""How a screen becomes a model: check, read, train, and again without each fold when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bagscope.errors import SettingsError, nearest
from bagscope.files.folder import claimed
from bagscope.files.worker import DecodingWorker
from bagscope.registry import Registry
from bagscope.run.check import CheckReport, check
from bagscope.run.compute import device_of, memory_kept, threads
from bagscope.run.events import SILENT, Events
from bagscope.run.failures import FAILURES
from bagscope.run.folds import CROSS_FITTED, cross_fit
from bagscope.run.model_card import CARD
from bagscope.run.model_folder import WEIGHTS
from bagscope.run.one_model import HISTORY, README, RESUME, SPLIT, Run, train_model
from bagscope.run.predict import Model, open_images
from bagscope.run.rows import labelled_rows
from bagscope.settings.jobs import JOBS, ImagesJob, make_job
from bagscope.tables.splits import fold_numbers
from bagscope.tables.table import Screen
from bagscope.tasks import TASKS

OURS = (CARD, WEIGHTS, HISTORY, SPLIT, README, FAILURES, RESUME, CROSS_FITTED, "fold_*")
# Each entry: a function (screen, out, job, resume, overwrite, events) -> model.
TRAINERS = Registry(
    "task",
    {
        "images": "bagscope.run.train:train_images",
        "blocks": "bagscope.run.train_blocks:train_blocks",
        "volumes": "bagscope.run.train_volumes:train_volumes",
    },
)


def train(
    screen: Screen | Path | str,
    out: Path | str,
    *,
    task: str = "images",
    config: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    events: Events = SILENT,
    **choices: Any,
) -> Any:
    """Learn from the labelled rows of a screen, and write a model folder.

    Equal rows, settings and seed give equal weights on a CPU, also when training was interrupted and resumed.

    Parameters
    ----------
    screen : a screen, or a table's path.
    out : folder of the model; made when it is missing.
    config : settings as a TOML file.
    resume : go on with unfinished work in `out`; a finished model of these rows and settings is returned as it is.
    overwrite : replace what is in `out`.
    task : images, blocks or volumes.
    choices : settings by their short names (`pooling`, `steps`, `seed`, ...) or as "section.key".

    Returns
    -------
    Model of images, BlocksModel of blocks, or ShapeModel of volumes.

    Raises
    ------
    TableError : the screen cannot be trained on; holds all problems, and nothing was written.
    SettingsError : unknown or impossible settings.
    FolderError : `out` is in use or cannot be written.
    ModelError : a training is resumed, or a model there, that has other rows, files or settings.
    Interrupted : asked to stop; the state was saved.
    """
    job = training_job(task, config, choices)
    return TRAINERS.load(task)(screen, Path(out), job, resume=resume, overwrite=overwrite, events=events)


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


def training_job(task: str, config: Path | None, choices: dict[str, Any]) -> Any:
    """Make the job of a task.

    Raises
    ------
    SettingsError : unknown task or setting, or a value out of range.
    """
    if task not in JOBS:
        cause = f"unknown task '{task}'{nearest(task, JOBS)}"
        raise SettingsError(cause, f"Known: {', '.join(JOBS)}.", code="unknown_task")
    job = make_job(JOBS[task], config, choices)
    TASKS.load(task).refuse_impossible(job)
    return job


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
