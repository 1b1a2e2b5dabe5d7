"""From labelled rows to a task that can be trained: measure the images, fix the scale, fill the card."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bagscope.engine.card import CallCard, ReadingCard
from bagscope.errors import ImageReadError, SettingsError
from bagscope.feed.cache import PixelStore
from bagscope.feed.normalise import Measured, measure
from bagscope.images.card import IntensityCard, LikenessCard, ModelCard, ScaleCard
from bagscope.images.nuclear import nuclear_channel
from bagscope.images.task import ImagesTask, LabelledRows
from bagscope.nets import NETWORKS
from bagscope.nets.pool import make_pooling
from bagscope.ops import diameter, windows
from bagscope.ops.geometry import Grid
from bagscope.ops.likeness import usual_range
from bagscope.settings.jobs import ImagesJob, ReadJob
from bagscope.settings.sections import ScaleSection
from bagscope.tables.labels import Vocabulary, targets
from bagscope.tables.splits import TRAIN, VALIDATION

# Beyond these an estimate says more about odd images than about cells.
LEAST_FACTOR, MOST_FACTOR = 1 / 16, 8.0


@dataclass(frozen=True)
class Labelled:
    """Labelled rows and their pixels: (R,) labels, well ids, parts and lines of the table.

    vocabulary : classes of the labels; training rows have no others.
    pixel_um : micrometres per pixel, None if unknown.
    """

    store: PixelStore
    labels: Sequence[str]
    vocabulary: Vocabulary
    wells: Sequence[str]
    parts: Sequence[str]
    lines: Sequence[int]
    channels: tuple[str, ...]
    pixel_um: float | None


@dataclass(frozen=True)
class Setup:
    """What training starts from: images measured, scale fixed; `least_px` is the smallest side of an image.

    unreadable : rows that were left out of it, by their place.
    """

    measured: Measured
    scale: ScaleCard
    least_px: int
    unreadable: Mapping[int, ImageReadError]

    def notes(self) -> list[str]:
        """Say it for people."""
        if self.scale.cell_diameter_px is None:
            return ["images are not rescaled"]
        um = f" ({self.scale.cell_diameter_px * self.scale.pixel_um:.1f} um)" if self.scale.pixel_um else ""
        return [
            f"cell diameter {self.scale.cell_diameter_px:.1f} px{um}, {self.scale.source}: "
            f"images are rescaled by {self.scale.factor:.2f}"
        ]


def prepare(job: ReadJob, card: ModelCard | None = None) -> ReadJob:
    """Refuse an unknown network or pooling before any work; see `engine.tasks.Stages`.

    Raises
    ------
    SettingsError : unknown name, or a parameter outside its range.
    """
    if isinstance(job, ImagesJob):
        NETWORKS.load(job.network.name)
        make_pooling(classes=1, **job.pooling.model_dump())
    return job


def measured_setup(job: ImagesJob, rows: Labelled) -> Setup:
    """Measure the rows that train, and say at what scale the network will see them.

    Raises
    ------
    SettingsError : a diameter in micrometres without a pixel size, or one that cannot be estimated; no such nuclear
        channel.
    ImageReadError : no row that trains can be read.
    """
    nuclear_channel(job.cells.nuclei, rows.channels)  # refused now, not after the training
    training = np.flatnonzero(np.asarray(rows.parts) == TRAIN)
    measured = measure(rows.store.take(training), job.seed)
    scale = scale_of(job.scale, measured.blobs, rows.pixel_um)
    least = _least_side(_grid(job, len(rows.channels)).smallest, scale.factor)
    unreadable = {int(training[i]): error for i, error in measured.unreadable.items()}
    return Setup(measured, scale, least, unreadable)


def make_task(job: ImagesJob, rows: Labelled, setup: Setup, device: torch.device) -> ImagesTask:
    """Make the task of rows that are large enough, by what was measured on them."""
    labels = np.asarray(rows.labels, dtype=object)
    numbers = np.unique(np.asarray(rows.wells, dtype=object).astype(str), return_inverse=True)[1]

    def part(name: str) -> LabelledRows | None:
        at = np.flatnonzero(np.asarray(rows.parts) == name)
        if not len(at):
            return None
        wanted = targets(labels[at].tolist(), rows.vocabulary.classes)
        return LabelledRows(rows.store.take(at), wanted, numbers[at], np.asarray(rows.lines)[at])

    train = part(TRAIN)
    if train is None:
        cause = "no row is left to train on"
        raise SettingsError(cause, "Give rows of each class to 'train'.", code="no_training_row")
    card = _card(job, rows.channels, rows.vocabulary, setup)
    return ImagesTask(job, card, train, part(VALIDATION), setup.measured, device)


def least_px(card: ModelCard, factor: float | None = None) -> int:
    """Smallest side, in pixels of the image, of which a model's network makes an element.

    Parameters
    ----------
    factor : rescaled over original pixels; default: the card's.
    """
    return _least_side(int(card.grid["smallest"]), card.scale.factor if factor is None else factor)


def _least_side(smallest: int, factor: float) -> int:
    side = max(1, math.floor((smallest - 0.5) / factor))
    while windows.scaled_length(side, factor) < smallest:
        side += 1
    return side


def scale_of(section: ScaleSection, blobs: Sequence[float], pixel_um: float | None) -> ScaleCard:
    """Say how large a cell is in the images, and by which factor they are rescaled to make it `target_px` wide.

    Parameters
    ----------
    blobs : diameter in pixels of what dominates each channel, for an estimate.
    pixel_um : micrometres per pixel, None if unknown.

    Raises
    ------
    SettingsError : see `measured_setup`.
    """
    text = section.cell_diameter
    if text == "off":
        return ScaleCard(cell_diameter_px=None, source="off", factor=1.0, pixel_um=pixel_um)
    if text == "auto":
        px = diameter.cell_diameter(list(blobs))
        if not math.isfinite(px):
            cause = "the size of a cell cannot be estimated: the training images have no contrast"
            raise SettingsError(cause, "Give --cell-diameter (pixels, or 20um), or off.", code="no_diameter")
    else:
        number = float(re.match(r"[\d.]+", text)[0])  # type: ignore[index]  # the settings have checked it
        if text.endswith("m"):
            if not pixel_um:
                cause = f"--cell-diameter {text}, but the images do not say how large a pixel is"
                fix = "Give the diameter in pixels, or --set images.pixel_um=0.65."
                raise SettingsError(cause, fix, code="no_pixel_size")
            number /= pixel_um
        px = number
    factor = min(MOST_FACTOR, max(LEAST_FACTOR, section.target_px / px))
    source = "estimated" if text == "auto" else "given"
    return ScaleCard(cell_diameter_px=px, source=source, factor=factor, pixel_um=pixel_um)


def _grid(job: ImagesJob, channels: int) -> Grid:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return NETWORKS.load(job.network.name)(channels, 1).grid


def _likeness(measured: Measured) -> LikenessCard | None:
    found = usual_range(measured.appearances)
    if found is None:
        return None
    low, high = (tuple(tuple(row) for row in side.tolist()) for side in found)
    return LikenessCard(low=low, high=high)


def _card(
    job: ImagesJob,
    channels: tuple[str, ...],
    vocabulary: Vocabulary,
    setup: Setup,
) -> ModelCard:
    learned = setup.measured.intensity
    return ModelCard(
        task=job.task,
        classes=vocabulary.classes,
        several_labels=vocabulary.several,
        none_trained=vocabulary.none or job.augment.background > 0,
        channels=channels,
        network=job.network.model_dump(),
        pooling=job.pooling.model_dump(),
        grid=_grid(job, len(channels)).as_dict(),
        intensity=IntensityCard(dark=learned.dark, background=learned.background, spread=learned.spread),
        likeness=_likeness(setup.measured),
        reading=ReadingCard(**{name: getattr(job.images, name) for name in ReadingCard.model_fields}),
        scale=setup.scale,
        calls=CallCard(threshold=job.calls.threshold, confidence=job.calls.confidence),
        training={"steps": job.training.steps, "seed": job.seed},
        created={},
    )
