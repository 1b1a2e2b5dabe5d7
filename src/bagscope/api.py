"""The public functions `train`, `load` and `check`: options by name in, a model or a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from bagscope.engine.events import SILENT, Events
from bagscope.engine.tasks import check_of
from bagscope.errors import SettingsError, nearest
from bagscope.settings.jobs import JOBS, ReadJob, make_job
from bagscope.tables.table import Screen

if TYPE_CHECKING:
    from bagscope.blocks.predict import BlocksModel
    from bagscope.engine.check import CheckReport
    from bagscope.images.predict import Model
    from bagscope.volumes.predict import ShapeModel

    AnyModel: TypeAlias = Model | BlocksModel | ShapeModel


@overload
def train(
    screen: Screen | Path | str,
    out: Path | str,
    *,
    task: Literal["images"] = "images",
    config: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    events: Events = SILENT,
    **choices: Any,
) -> Model: ...


@overload
def train(
    screen: Screen | Path | str,
    out: Path | str,
    *,
    task: Literal["blocks"],
    config: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    events: Events = SILENT,
    **choices: Any,
) -> BlocksModel: ...


@overload
def train(
    screen: Screen | Path | str,
    out: Path | str,
    *,
    task: Literal["volumes"],
    config: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    events: Events = SILENT,
    **choices: Any,
) -> ShapeModel: ...


@overload
def train(
    screen: Screen | Path | str,
    out: Path | str,
    *,
    task: str,
    config: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    events: Events = SILENT,
    **choices: Any,
) -> AnyModel: ...


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
) -> AnyModel:
    """Train on the labelled rows of a screen, and write a model folder.

    Equal rows, settings, seed and number of threads give equal weights on a CPU, also when training was resumed.

    Parameters
    ----------
    screen : a screen, or a table's path.
    out : folder of the model; made when it is missing.
    task : images, blocks or volumes.
    config : settings as a TOML file.
    resume : go on with unfinished work in `out`; a finished model of these rows and settings is returned as it is.
    overwrite : replace what is in `out`.
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
    # Imported here: the check of a table, below, does without torch.
    from bagscope.engine.run import Target
    from bagscope.engine.stages import train_model

    job = training_job(task, config, choices)
    return train_model(screen, Target(Path(out), resume, overwrite), task, job, events)


def load(folder: Path | str, device: str = "auto") -> AnyModel:
    """Load a model folder.

    Returns
    -------
    Model of images, BlocksModel of blocks, or ShapeModel of volumes.

    Raises
    ------
    ModelError : no model there, damaged, foreign, or of a newer version.
    SettingsError : no such device.
    """
    from bagscope.engine.stages import load_model

    return load_model(Path(folder), device)


def check(
    screen: Screen | Path | str,
    *,
    task: str = "images",
    config: Path | None = None,
    pixels: bool = False,
    **choices: Any,
) -> CheckReport:
    """List every problem of a screen for training; reads headers, and pixels only where asked.

    Parameters
    ----------
    screen : a table's path, or a screen that was read before.
    task : images, blocks or volumes.
    config : settings as a TOML file.
    pixels : decode every image and mask: finds broken data, equal and empty pictures, masks of another size.
    choices : settings by their short names (`split_by`, ...) or as "section.key".

    Raises
    ------
    SettingsError : unknown or impossible settings. Nothing on bad content: all of it is in the report.
    """
    return check_of(task).check(screen, training_job(task, config, choices), None, pixels)


def training_job(task: str, config: Path | None, choices: dict[str, Any]) -> ReadJob:
    """Make the training settings of a task.

    Raises
    ------
    SettingsError : unknown task or setting, or a value out of range.
    """
    if task not in JOBS:
        cause = f"unknown task '{task}'{nearest(task, JOBS)}"
        raise SettingsError(cause, f"Known: {', '.join(JOBS)}.", code="unknown_task")
    return make_job(JOBS[task], config, choices)
