"""What can be done with every task: train a model, open one. The task is chosen here, once, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bagscope.engine.card_file import load_card
from bagscope.engine.events import SILENT, Events
from bagscope.engine.tasks import TASKS
from bagscope.errors import SettingsError, nearest
from bagscope.registry import Registry
from bagscope.settings.jobs import JOBS, make_job
from bagscope.tables.table import Screen

# Each entry: a function (screen, out, job, resume, overwrite, events) -> model.
TRAINERS = Registry(
    "task",
    {
        "images": "bagscope.images.train:train_images",
        "blocks": "bagscope.blocks.train:train_blocks",
        "volumes": "bagscope.volumes.train:train_volumes",
    },
)
# Each entry: a function (folder, device) -> model.
OPENERS = Registry(
    "task",
    {
        "images": "bagscope.images.predict:open_images",
        "blocks": "bagscope.blocks.predict:open_blocks",
        "volumes": "bagscope.volumes.predict:open_volumes",
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


def load(folder: Path | str, device: str = "auto") -> Any:
    """Open a model folder.

    Returns
    -------
    Model of images, BlocksModel of blocks, or ShapeModel of volumes.

    Raises
    ------
    ModelError : no model there, damaged, foreign, or of a newer version.
    SettingsError : no such device.
    """
    return OPENERS.load(load_card(Path(folder)).task)(Path(folder), device)
