"""What the task `images` provides to the stages that all tasks share; see `engine.tasks.Stages`."""

from bagscope.images.predict import open_model
from bagscope.images.score import SCORE_FILES, predict_rows, write_scores
from bagscope.images.setup import prepare
from bagscope.images.train import MODEL_FILES, train

__all__ = ["MODEL_FILES", "SCORE_FILES", "open_model", "predict_rows", "prepare", "train", "write_scores"]
