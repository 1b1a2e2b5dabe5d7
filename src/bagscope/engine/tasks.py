"""Which tasks there are, and what each provides to the stages that all tasks share."""

from __future__ import annotations

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


class Stages(Protocol):
    """A task, as the stages see it: six functions, the class of its card, and the files that it writes.

    The modules that need torch are imported inside the functions, so that checking a table and reading a card stay
    quick.
    """

    card: type[Card]
    model_files: tuple[str, ...]
    score_files: tuple[str, ...]

    def prepare(self, job: Any, card: Any = None) -> Any:
        """Return the job with its recipe applied; with a card, the job is for scoring by that model.

        Raises
        ------
        SettingsError : settings that contradict one another, or the model.
        """
        ...

    def check(self, screen: Screen | Path | str, job: Any, card: Any = None, pixels: bool = False) -> CheckReport:
        """List every problem of a screen for training or, with a card, for scoring by that model."""
        ...

    def fit(self, report: CheckReport, run: Run[Any]) -> None:
        """Train on the usable rows of a checked screen, and write the model folder."""
        ...

    def open(self, folder: Path, device: torch.device) -> LoadedModel[Any]:
        """Load a model folder."""
        ...

    def predict_rows(self, model: Any, report: CheckReport, run: Run[Any]) -> Predictions:
        """Score every usable row of a checked screen; rows that fail are listed and the others go on."""
        ...

    def write_scores(self, model: Any, screen: Screen, predictions: Any, how: Provenance, run: Run[Any]) -> Scores:
        """Aggregate the predictions and write the tables of the score folder."""
        ...


TASKS = Registry(
    "task",
    {
        "images": "bagscope.images.stages:IMAGES",
        "blocks": "bagscope.blocks.stages:BLOCKS",
        "volumes": "bagscope.volumes.stages:VOLUMES",
    },
)


def stages_of(task: str) -> Stages:
    """Return the functions of a task.

    Raises
    ------
    SettingsError : no such task.
    """
    stages: Stages = TASKS.load(task)
    return stages
