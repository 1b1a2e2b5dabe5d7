"""Who makes the crops of a training: the loop itself, or a thread ahead of it?"""

import threading
from pathlib import Path

import numpy as np
import torch

from bagscope.engine.card import CallCard
from bagscope.feed.cache import PixelStore
from bagscope.feed.normalise import Measured
from bagscope.files.field import FieldFiles
from bagscope.images.card import IntensityCard, ModelCard, ScaleCard
from bagscope.images.task import ImagesTask, LabelledRows
from bagscope.ops.intensity import Intensity
from bagscope.settings.jobs import ImagesJob
from bagscope.settings.sections import AugmentSection, TrainingSection

LEARNED = Intensity((90.0,), (2.0,), (6.0,))
CARD = ModelCard(
    task="images",
    classes=("x",),
    several_labels=False,
    none_trained=True,
    channels=("dna",),
    network={"name": "kraus", "batch_norm": True, "dropout_pool": 0.0, "dropout_last": 0.2, "bias": 0.0},
    pooling={"name": "noisy_and", "a": 10.0, "b": 0.1, "r": 1.0},
    grid={"jump": 32, "offset": 31, "field": 135, "smallest": 63},
    intensity=IntensityCard(dark=LEARNED.dark, background=LEARNED.background, spread=LEARNED.spread),
    scale=ScaleCard(cell_diameter_px=40, source="given", factor=1.4),
    calls=CallCard(threshold=0.5, confidence=0.6),
    calibration={},
    training={},
    created={},
)


def task(*, held, background=0.2):
    """A task of two fields, and the list of threads that read their pixels."""
    asked = []

    def read(field, window):
        asked.append(threading.current_thread())
        pixels = np.random.default_rng(int(field.paths[0].stem)).poisson(150, (1, 90, 90)).astype(np.uint16)
        return pixels if window is None else pixels[:, window[0] : window[1], window[2] : window[3]]

    store = PixelStore([FieldFiles((Path(f"{row}.tif"),), ()) for row in range(2)], [(1, 90, 90)] * 2, read, held)
    rows = LabelledRows(store, np.array([[0.0], [1.0]], np.float32), np.arange(2), np.arange(2))
    blank = np.empty((0, 1, 24, 24), np.uint16)
    measured = Measured(LEARNED, blank, (0.5,), (40.0,), ((90.0, 300.0),), unreadable={})
    augment = AugmentSection(background=background)
    job = ImagesJob(training=TrainingSection(batch=4, crop=70, steps=5), augment=augment)
    return ImagesTask(job, CARD, rows, None, measured, torch.device("cpu")), asked


def test_crops_from_memory_are_made_by_the_loop_itself_and_from_files_by_a_thread_ahead_of_it():
    here = threading.current_thread()
    for held in (True, False):
        made, asked = task(held=held)
        assert len(list(made.feed("train"))) == 5
        assert {thread is here for thread in asked} == {held}


def test_crops_are_the_same_from_memory_and_from_files_and_from_any_step_on():
    from_memory, from_files = (list(task(held=held)[0].feed("train")) for held in (True, False))
    for one, other in zip(from_memory, from_files, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.target, other.target)
    assert not torch.equal(from_memory[0].x, from_memory[1].x)
    for held in (True, False):
        later = list(task(held=held)[0].feed("train", 3))
        assert [torch.equal(one.x, other.x) for one, other in zip(later, from_memory[3:], strict=True)] == [True, True]


def test_a_crop_is_a_bag_of_one_with_the_label_of_its_row_and_background_has_neither():
    for batch in task(held=True, background=0.5)[0].feed("train"):
        assert batch.lengths.sum() == len(batch.x) == len(batch.rows)
        # Row 1 of the table is positive, row 0 is `none`, and so is background, which has no row.
        assert batch.target.tolist() == [[float(row == 1)] for row in batch.rows.tolist()]
        assert set(batch.rows.tolist()) <= {-1, 0, 1}
