"""What is trained on and scored: a plate in memory or on disk, and a model of it that was not trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from bagscope.engine.card import CallCard
from bagscope.feed.cache import PixelStore
from bagscope.feed.normalise import Measured
from bagscope.files.field import FieldFiles
from bagscope.images.card import IntensityCard, ModelCard, ScaleCard
from bagscope.images.task import ImagesTask, LabelledRows
from bagscope.importers import import_screen, write_screen
from bagscope.nets.kraus import KrausNet
from bagscope.ops.intensity import Intensity
from bagscope.settings.jobs import ImagesJob
from bagscope.settings.sections import TrainingSection
from bagscope.synth.plate import simulate_plate
from benchmarks.sizes import Size

CHANNELS = ("dna", "gfp")
PATTERN = "{plate}_{well}_s{site}.ome.tif"
# Cells of the simulated plate, and of BBBC013, are 40 pixels wide; the network likes 56.
FACTOR = 1.4
# A camera's offset, and about what background and cells of the simulated plate make after the root.
LEARNED = Intensity((100.0, 100.0), (4.0, 4.0), (6.0, 6.0))


def screen_on_disk(folder: Path, size: Size) -> Path:
    """Simulate a plate of 16-bit OME-TIFFs and return its table."""
    simulate_plate(folder / "plate", rows=size.rows, columns=size.columns, field_px=size.field_px, odd={})
    screen = import_screen("pattern", folder / "plate/images", folder / "plate/platemap.csv", pattern=PATTERN)
    write_screen(screen, folder / "screen.csv")
    return folder / "screen.csv"


def card_of(job: ImagesJob, factor: float = FACTOR) -> ModelCard:
    """Return the card of a model for two channels and one class, with the default settings."""
    chosen = job.network
    grid = KrausNet(len(CHANNELS), 1).grid
    return ModelCard(
        task=job.task,
        classes=("positive",),
        several_labels=False,
        none_trained=True,
        channels=CHANNELS,
        network={
            "name": chosen.name,
            "batch_norm": chosen.batch_norm,
            "dropout_pool": chosen.dropout_pool,
            "dropout_last": chosen.dropout_last,
            "bias": chosen.bias,
        },
        pooling={"name": job.pooling.name, "a": job.pooling.a, "b": job.pooling.b, "r": job.pooling.r},
        grid={"jump": grid.jump, "offset": grid.offset, "field": grid.field, "smallest": grid.smallest},
        intensity=IntensityCard(dark=LEARNED.dark, background=LEARNED.background, spread=LEARNED.spread),
        scale=ScaleCard(cell_diameter_px=56 / factor, source="given", factor=factor),
        calls=CallCard(threshold=job.calls.threshold, confidence=job.calls.confidence),
        calibration={"method": "none"},
        training={},
        created={},
    )


def job_of(size: Size) -> ImagesJob:
    """Return the default job at a size; nothing is saved but at the end."""
    return ImagesJob(training=TrainingSection(batch=size.batch, crop=size.crop, steps=size.steps))


def task_of(
    job: ImagesJob, store: PixelStore, labels: Sequence[str], device: torch.device, factor: float = FACTOR
) -> ImagesTask:
    """Return the task of learning from some fields, all of them to train on."""
    targets = np.array([[label == "positive"] for label in labels], np.float32)
    rows = LabelledRows(store, targets, np.arange(len(labels)), np.arange(len(labels)))
    rng = np.random.default_rng(0)
    blank = rng.poisson(116, (64, len(CHANNELS), 24, 24)).astype(np.uint16)
    measured = Measured(LEARNED, blank, (0.5, 0.5), (40.0, 40.0), (), unreadable={})
    return ImagesTask(job, card_of(job, factor), rows, None, measured, device)


def task_in_memory(size: Size, device: torch.device) -> ImagesTask:
    """Return a task whose fields are noise: arithmetic takes as long whatever the picture."""
    edge = size.crop * 2
    pixels = np.random.default_rng(0).poisson(150, (len(CHANNELS), edge, edge)).astype(np.uint16)
    fields = [FieldFiles((Path(f"{name}.tif"),), CHANNELS) for name in ("negative", "positive")]
    store = PixelStore(fields, [pixels.shape] * 2, _giving(pixels), held=True)
    return task_of(job_of(size), store, ["none", "positive"], device)


def _giving(pixels: np.ndarray) -> Callable[[FieldFiles, object], np.ndarray]:
    return lambda field, window: pixels
