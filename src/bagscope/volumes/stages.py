"""What the task `volumes` provides to the stages that all tasks share; see `engine.tasks.Stages`."""

from bagscope.volumes.predict import open_model
from bagscope.volumes.score import SCORE_FILES, predict_rows, write_scores
from bagscope.volumes.setup import prepare
from bagscope.volumes.train import MODEL_FILES, train

__all__ = ["MODEL_FILES", "SCORE_FILES", "open_model", "predict_rows", "prepare", "train", "write_scores"]
