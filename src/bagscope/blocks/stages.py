"""What the task `blocks` provides to the stages that all tasks share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bagscope.blocks.card import BlocksCard
from bagscope.settings.jobs import BlocksJob, BlocksReadJob
from bagscope.tables.table import Screen

if TYPE_CHECKING:
    import torch

    from bagscope.blocks.predict import BlocksModel
    from bagscope.blocks.score import MapPredictions
    from bagscope.engine.check import CheckReport
    from bagscope.engine.run import Run
    from bagscope.engine.score_folder import Provenance, Scores


class BlocksStages:
    """Learning pixel maps from labels of blocks; each method is described in `engine.tasks.Stages`."""

    card = BlocksCard

    @property
    def model_files(self) -> tuple[str, ...]:
        """Names of the files in a model folder."""
        from bagscope.blocks.train import MODEL_FILES

        return MODEL_FILES

    @property
    def score_files(self) -> tuple[str, ...]:
        """Names of the files in a score folder."""
        from bagscope.blocks.score import SCORE_FILES

        return SCORE_FILES

    def prepare(self, job: BlocksReadJob, card: BlocksCard | None = None) -> BlocksReadJob:
        """Refuse impossible settings, and apply the recipe of a training."""
        from bagscope.blocks.setup import apply_recipe, refuse_impossible, refuse_impossible_maps

        if isinstance(job, BlocksJob):
            refuse_impossible(job)
            return apply_recipe(job)
        if card is not None:
            refuse_impossible_maps(job, card)
        return job

    def check(
        self,
        screen: Screen | Path | str,
        job: BlocksReadJob,
        card: BlocksCard | None = None,
        pixels: bool = False,
    ) -> CheckReport:
        """List every problem of images, their coarse labels and the proportion table."""
        from bagscope.blocks.check import check_blocks, check_scoring

        if isinstance(job, BlocksJob):
            return check_blocks(screen, job, pixels)
        return check_scoring(screen, job, card, pixels)

    def fit(self, report: CheckReport, run: Run[BlocksJob]) -> None:
        """Train a model, and once more on its pseudo-labels."""
        from bagscope.blocks.train import train

        train(report, run)

    def open(self, folder: Path, device: torch.device) -> BlocksModel:
        """Load a model folder."""
        from bagscope.blocks.predict import open_model

        return open_model(folder, device)

    def predict_rows(self, model: BlocksModel, report: CheckReport, run: Run[BlocksReadJob]) -> MapPredictions:
        """Map every image."""
        from bagscope.blocks.score import predict_rows

        return predict_rows(model, report, run)

    def write_scores(
        self,
        model: BlocksModel,
        screen: Screen,
        predictions: MapPredictions,
        how: Provenance,
        run: Run[BlocksReadJob],
    ) -> Scores:
        """Write areas of images, wells and treatments, and outlines."""
        from bagscope.blocks.score import write_scores

        return write_scores(model, screen, predictions, how, run)


BLOCKS = BlocksStages()
