"""What the task `images` provides to the stages that all tasks share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bagscope.images.card import ModelCard
from bagscope.settings.jobs import ImagesJob, ReadJob
from bagscope.tables.table import Screen

if TYPE_CHECKING:
    import torch

    from bagscope.engine.check import CheckReport
    from bagscope.engine.predictions import Predictions
    from bagscope.engine.run import Run
    from bagscope.engine.score_folder import Provenance, Scores
    from bagscope.images.predict import Model


class ImagesStages:
    """Learning from whole images; each method is described in `engine.tasks.Stages`."""

    card = ModelCard

    @property
    def model_files(self) -> tuple[str, ...]:
        """Names of the files in a model folder."""
        from bagscope.images.train import MODEL_FILES

        return MODEL_FILES

    @property
    def score_files(self) -> tuple[str, ...]:
        """Names of the files in a score folder."""
        from bagscope.images.score import SCORE_FILES

        return SCORE_FILES

    def prepare(self, job: ReadJob, card: ModelCard | None = None) -> ReadJob:
        """Refuse an unknown network or pooling before any work."""
        from bagscope.images.setup import refuse_impossible

        if isinstance(job, ImagesJob):
            refuse_impossible(job)
        return job

    def check(
        self, screen: Screen | Path | str, job: ReadJob, card: ModelCard | None = None, pixels: bool = False
    ) -> CheckReport:
        """List every problem of a screen of images."""
        from bagscope.images.check import check_for_model, check_for_training

        if isinstance(job, ImagesJob):
            return check_for_training(screen, job, pixels)
        return check_for_model(screen, job, card, pixels)

    def fit(self, report: CheckReport, run: Run[ImagesJob]) -> None:
        """Train a model and, when asked, a model without each fold."""
        from bagscope.images.train import train

        train(report, run)

    def open(self, folder: Path, device: torch.device) -> Model:
        """Load a model folder."""
        from bagscope.images.predict import open_model

        return open_model(folder, device)

    def predict_rows(self, model: Model, report: CheckReport, run: Run[ReadJob]) -> Predictions:
        """Score every field."""
        from bagscope.images.score import predict_rows

        return predict_rows(model, report, run)

    def write_scores(
        self, model: Model, screen: Screen, predictions: Predictions, how: Provenance, run: Run[ReadJob]
    ) -> Scores:
        """Write the tables of images, wells, treatments and cells."""
        from bagscope.engine.score_folder import write_scores

        return write_scores(screen, model.card, predictions, how, run)


IMAGES = ImagesStages()
