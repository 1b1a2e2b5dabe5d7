"""What the task `volumes` provides to the stages that all tasks share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bagscope.settings.jobs import ShapesReadJob, VolumesJob
from bagscope.tables.table import Screen
from bagscope.volumes.card import ShapesCard

if TYPE_CHECKING:
    import torch

    from bagscope.engine.check import CheckReport
    from bagscope.engine.predictions import Predictions
    from bagscope.engine.run import Run
    from bagscope.engine.score_folder import Provenance, Scores
    from bagscope.volumes.predict import ShapeModel


class VolumesStages:
    """Classifying nuclei by their 3D shape; each method is described in `engine.tasks.Stages`."""

    card = ShapesCard

    @property
    def model_files(self) -> tuple[str, ...]:
        """Names of the files in a model folder."""
        from bagscope.volumes.train import MODEL_FILES

        return MODEL_FILES

    @property
    def score_files(self) -> tuple[str, ...]:
        """Names of the files in a score folder."""
        from bagscope.volumes.score import SCORE_FILES

        return SCORE_FILES

    def prepare(self, job: ShapesReadJob, card: ShapesCard | None = None) -> ShapesReadJob:
        """Refuse an unknown network or pooling, or a reading of volumes that the model was not trained with."""
        from bagscope.volumes.rows import reading_of_model
        from bagscope.volumes.setup import refuse_impossible

        if isinstance(job, VolumesJob):
            refuse_impossible(job)
        elif card is not None:
            reading_of_model(card, job)
        return job

    def check(
        self, screen: Screen | Path | str, job: ShapesReadJob, card: ShapesCard | None = None, pixels: bool = False
    ) -> CheckReport:
        """List every problem of a screen of volumes."""
        from bagscope.volumes.check import check_volumes, other_spacing
        from bagscope.volumes.rows import reading_of_model, with_shapes

        section = job.volumes if card is None else reading_of_model(card, job)
        report = check_volumes(screen, job, section)
        if card is not None:
            report = other_spacing(card, report)
        return with_shapes(report, section, job.compute.io_timeout) if pixels else report

    def fit(self, report: CheckReport, run: Run[VolumesJob]) -> None:
        """Train the network and the regression on measures and, when asked, both without each fold."""
        from bagscope.volumes.train import train

        train(report, run)

    def open(self, folder: Path, device: torch.device) -> ShapeModel:
        """Load a model folder."""
        from bagscope.volumes.predict import open_model

        return open_model(folder, device)

    def predict_rows(self, model: ShapeModel, report: CheckReport, run: Run[ShapesReadJob]) -> Predictions:
        """Score every volume."""
        from bagscope.volumes.score import predict_rows

        return predict_rows(model, report, run)

    def write_scores(
        self, model: ShapeModel, screen: Screen, predictions: Predictions, how: Provenance, run: Run[ShapesReadJob]
    ) -> Scores:
        """Write the tables of shapes, images, wells and treatments."""
        from bagscope.volumes.score import write_scores

        return write_scores(model, screen, predictions, how, run)


VOLUMES = VolumesStages()
