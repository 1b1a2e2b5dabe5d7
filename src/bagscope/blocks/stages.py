"""What the task `blocks` provides to the stages that all tasks share; see `engine.tasks.Stages`."""

from bagscope.blocks.predict import open_model
from bagscope.blocks.score import SCORE_FILES, predict_rows, write_scores
from bagscope.blocks.setup import prepare
from bagscope.blocks.train import MODEL_FILES, train

__all__ = ["MODEL_FILES", "SCORE_FILES", "open_model", "predict_rows", "prepare", "train", "write_scores"]
