"""Which tasks there are, and what each provides to the stages that all tasks share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bagscope.registry import Registry

if TYPE_CHECKING:
    import torch

    from bagscope.engine.card import Card
    from bagscope.engine.check import CheckReport
    from bagscope.engine.loaded import LoadedModel
    from bagscope.engine.predictions import Predictions
    from bagscope.engine.run import Run
    from bagscope.engine.score_folder import Provenance, Scores
    from bagscope.tables.table import Screen


class Check(Protocol):
    """The module `check` of a task, which is imported without torch."""

    # The class of its model cards.
    CARD: type[Card]

    def check(self, screen: Screen | Path | str, job: Any, card: Any = None, pixels: bool = False) -> CheckReport:
        """List every problem of a screen for training or, when the job is not one of training, for scoring.

        Parameters
        ----------
        card : of the model that scores; None: no model is known yet.
        pixels : decode the images, too.
        """
        ...


class Stages(Protocol):
    """The module `stages` of a task."""

    # The files that a stage writes into a folder; others are somebody else's.
    MODEL_FILES: tuple[str, ...]
    SCORE_FILES: tuple[str, ...]

    def prepare(self, job: Any, card: Any = None) -> Any:
        """Return the job with its recipe applied; with a card, the job is for scoring by that model.

        Raises
        ------
        SettingsError : settings that contradict one another, or the model.
        """
        ...

    def train(self, report: CheckReport, run: Run[Any]) -> None:
        """Train on the usable rows of a checked screen, and write the model folder."""
        ...

    def open_model(self, folder: Path, device: torch.device) -> LoadedModel[Any]:
        """Load a model folder."""
        ...

    def predict_rows(self, model: Any, report: CheckReport, run: Run[Any]) -> Predictions:
        """Score every usable row of a checked screen; rows that fail are listed and the others go on."""
        ...

    def write_scores(self, model: Any, screen: Screen, predictions: Any, how: Provenance, run: Run[Any]) -> Scores:
        """Aggregate the predictions and write the tables of the score folder."""
        ...


@dataclass(frozen=True)
class Places:
    """The two modules of a task, see `Check` and `Stages`."""

    check: str
    stages: str


TASKS = {
    "images": Places("bagscope.images.check", "bagscope.images.stages"),
    "blocks": Places("bagscope.blocks.check", "bagscope.blocks.stages"),
    "volumes": Places("bagscope.volumes.check", "bagscope.volumes.stages"),
}
_CHECKS = Registry("task", {task: places.check for task, places in TASKS.items()})
_STAGES = Registry("task", {task: places.stages for task, places in TASKS.items()})


def check_of(task: str) -> Check:
    """Return the module `check` of a task.

    Raises
    ------
    SettingsError : no such task.
    """
    module: Check = _CHECKS.load(task)
    return module


def stages_of(task: str) -> Stages:
    """Return the module `stages` of a task.

    Raises
    ------
    SettingsError : no such task.
    """
    module: Stages = _STAGES.load(task)
    return module
