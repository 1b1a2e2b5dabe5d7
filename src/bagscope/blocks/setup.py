"""From blocks and their proportion table to a task that can be trained, and to self-training on pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from bagscope.blocks.card import BlocksCard, ScalingCard
from bagscope.blocks.samples import BlockCrops, BlockRows, CropPlan, Scaling, View, image_scaling
from bagscope.blocks.task import BlocksTask, Table, build_network
from bagscope.engine.card import CallCard, ReadingCard
from bagscope.errors import SettingsError, nearest
from bagscope.feed.cache import PixelStore
from bagscope.settings.jobs import BlocksJob, BlocksReadJob
from bagscope.tables.boxes import Blocks, counted, covered
from bagscope.tables.proportions import Proportions

_MEASURED = 40


def prepare(job: BlocksReadJob, card: BlocksCard | None = None) -> BlocksReadJob:
    """Refuse impossible settings, and apply the recipe of a training; see `engine.tasks.Stages`.

    Raises
    ------
    SettingsError : settings that contradict one another, or the model.
    """
    if isinstance(job, BlocksJob):
        refuse_impossible(job)
        return apply_recipe(job)
    if card is not None:
        refuse_impossible_maps(job, card)
    return job


def refuse_impossible(job: BlocksJob) -> None:
    """Refuse settings that contradict each other.

    Raises
    ------
    SettingsError : folds, of which this task has none.
    """
    if job.split.folds:
        cause = f"split.folds = {job.split.folds}: blocks have no cross-fitted scores"
        fix = "Leave it out; keep images aside with a column 'split', and score them."
        raise SettingsError(cause, fix, code="no_folds")


def refuse_impossible_maps(job: BlocksReadJob, card: BlocksCard) -> None:
    """Refuse settings of maps that a model cannot meet.

    Raises
    ------
    SettingsError : an unknown class, or a threshold that the model does not have.
    """
    background, classes = job.maps.background, card.classes
    if background and background not in classes:
        cause = f"maps.background = {background!r} is no fine class{nearest(background, classes)}"
        raise SettingsError(cause, f"The model's are {', '.join(classes)}.", code="bad_setting")
    if job.maps.threshold == "table" and card.limits is None:
        cause = "maps.threshold = 'table', and the model has no threshold from its table"
        fix = "Train it with --set maps.threshold=table (two classes), or leave it out here."
        raise SettingsError(cause, fix, code="bad_setting")


# The recipe of "Label super resolution with inter-instance loss" (2019), section 4, by our names.
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "blocks": {"grouping": "sampled"},
    "view": {"context": 0, "groups": 2},
    "training": {"optimiser": "rmsprop", "rate": 1e-3, "batch": 30},
    "second": {"steps": 0},
}


def apply_recipe(job: BlocksJob) -> BlocksJob:
    """Return the job with what its recipe means; settings that were made by hand stay."""
    if job.blocks.recipe == "own":
        return job
    sections = {}
    for name, values in PUBLISHED.items():
        section = getattr(job, name)
        free = {key: value for key, value in values.items() if key not in section.model_fields_set}
        sections[name] = section.model_copy(update=free)
    return job.model_copy(update=sections)


def make_task(
    job: BlocksJob,
    rows: BlockRows,
    table: Proportions,
    channels: tuple[str, ...],
    pixel_um: float | None,
    device: torch.device,
) -> BlocksTask:
    """Make the task of images with blocks."""
    counts = counted(rows.blocks) if any(len(blocks) for blocks in rows.blocks) else {}
    weight = np.array([counts.get(name, 0) for name in table.coarse], float)
    weight = weight / weight.sum() if weight.sum() else np.full(len(weight), 1 / len(weight))
    shares = np.clip(weight @ table.mean, 1e-3, 1)
    sizes = np.concatenate([blocks.size for blocks in rows.blocks])
    card = BlocksCard(
        task=job.task,
        classes=table.fine,
        several_labels=False,
        none_trained=False,
        network=job.network.model_dump(),
        pooling={},
        calls=CallCard(threshold=job.calls.threshold, confidence=job.calls.confidence),
        channels=channels,
        scaling=_scaling(job, rows.store),
        coarse=table.coarse,
        mean=tuple(map(tuple, table.mean.tolist())),
        sd=tuple(map(tuple, table.sd.tolist())),
        shares=tuple((shares / shares.sum()).tolist()),
        blocks=job.blocks.model_dump(),
        reading=ReadingCard(**{name: getattr(job.images, name) for name in ReadingCard.model_fields}),
        block_px=int(np.median(sizes)) if len(sizes) else 0,
        pixel_um=pixel_um,
        training={"steps": job.training.steps, "seed": job.seed},
        created={},
    )
    plan = CropPlan(
        Scaling(card.scaling.mean, card.scaling.sd, card.scaling.each, card.scaling.full),
        View(**{name: getattr(job.view, name) for name in View.__dataclass_fields__}),
        job.training.batch,
        job.seed,
        pixels_only=job.blocks.method == "pixels",
    )
    crops = BlockCrops(rows, table.coarse, plan)
    return BlocksTask(job, card, Table.of(table, job.blocks.least_sd, device), crops, device)


def _scaling(job: BlocksJob, store: PixelStore) -> ScalingCard:
    """Measure grey values of up to forty training images."""
    chosen = np.unique(np.linspace(0, len(store) - 1, min(_MEASURED, len(store))).round().astype(int))
    pixels = [store.whole(int(i)) for i in chosen]
    moments = [image_scaling(image) for image in pixels]
    mean = np.mean([m for m, _ in moments], axis=0)
    sd = np.sqrt(np.mean([s**2 + (m - mean) ** 2 for m, s in moments], axis=0))
    each = job.view.standardise == "image" or (job.view.standardise == "auto" and len(mean) == 3)
    dtype = pixels[0].dtype
    full = float(np.iinfo(dtype).max) if dtype.kind in "ui" else max(1.0, float(max(image.max() for image in pixels)))
    return ScalingCard(mean=tuple(mean.tolist()), sd=tuple(np.maximum(sd, 1e-6).tolist()), each=each, full=full)


def pseudo_label_pixels(
    maps: Sequence[np.ndarray], blocks: Sequence[Blocks], shares: Sequence[float], share: float, beyond: float
) -> list[np.ndarray]:
    """Label confident pixels by the number of their class, from 1 on; all others are 0.

    For a class with expected fraction s of the pixels inside blocks, the pixels of its highest probabilities are
    labelled: a fraction max(share * s, 1 - beyond * (1 - s)) of all pixels inside blocks. The second term matters when
    s is near 1. With more than two classes a pixel is labelled as its most probable class only. Pixels outside blocks
    have no expected fraction and are not labelled.

    Parameters
    ----------
    maps : (C, H, W) probabilities of each image.
    blocks : of each image.
    shares : (C,) expected fraction of each class.
    share : in (0, 1], part of the expected pixels of a class that is labelled at least.
    beyond : >= 1, factor by which the other classes may exceed their expected fraction.
    """
    inside = [covered(boxes, *image.shape[1:]) for boxes, image in zip(blocks, maps, strict=True)]
    pixels = np.concatenate([image[:, is_inside] for image, is_inside in zip(maps, inside, strict=True)], 1)
    if not pixels.shape[1]:
        return [np.zeros(image.shape[1:], np.uint8) for image in maps]
    taken = [max(share * expected, 1 - beyond * (1 - expected)) for expected in shares]
    limits = [float(np.quantile(pixels[c], 1 - fraction)) for c, fraction in enumerate(taken)]
    labels = []
    for image, is_inside in zip(maps, inside, strict=True):
        best = image.argmax(0) if len(image) > 2 else None
        classes = np.zeros(image.shape[1:], np.uint8)
        for c, limit in enumerate(limits):
            is_confident = is_inside & (image[c] >= limit)
            classes[is_confident if best is None else is_confident & (best == c)] = c + 1
        labels.append(classes)
    return labels


class PixelLabelTask(BlocksTask):
    """A task's self-training on pixel labels, starting from trained weights.

    Parameters
    ----------
    labels : (H, W) of each image, class numbers from 1 on, 0 unknown.
    start : the trained network.
    """

    def __init__(self, task: BlocksTask, labels: Sequence[np.ndarray], start: nn.Module):
        second, crops = task.job.second, task.crops
        training = task.job.training.model_copy(update={"steps": second.steps, "rate": second.rate})
        blocks = task.job.blocks.model_copy(update={} if second.counts else {"method": "pixels"})
        plan = replace(crops.plan, seed=crops.plan.seed + 1, pixels_only=not second.counts)
        super().__init__(
            task.job.model_copy(update={"blocks": blocks, "training": training}),
            task.card,
            task.table,
            BlockCrops(replace(crops.rows, pixels=labels), task.card.coarse, plan),
            task.device,
        )
        self.labels, self.start = labels, start

    def network(self) -> nn.Module:
        """Return a network with the weights of the first training."""
        network = build_network(self.card)
        network.load_state_dict(self.start.state_dict())
        return network
