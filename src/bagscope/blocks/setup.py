"""From blocks and the expert's table to a task that can be trained, and to a second one on sure pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from bagscope.blocks.card import BlocksCard, ScalingCard
from bagscope.blocks.samples import BlockCrops, BlockRows, Scaling, own_scaling
from bagscope.blocks.task import BlocksTask, build_network
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
    counts = counted(rows.blocks) if any(len(own) for own in rows.blocks) else {}
    weight = np.array([counts.get(name, 0) for name in table.coarse], float)
    weight = weight / weight.sum() if weight.sum() else np.full(len(weight), 1 / len(weight))
    shares = np.clip(weight @ table.mean, 1e-3, 1)
    sizes = np.concatenate([own.size for own in rows.blocks])
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
    return BlocksTask(job, card, table, rows, device)


def _scaling(job: BlocksJob, store: PixelStore) -> ScalingCard:
    """Measure grey values of up to forty training images."""
    chosen = np.unique(np.linspace(0, len(store) - 1, min(_MEASURED, len(store))).round().astype(int))
    pixels = [store.whole(int(i)) for i in chosen]
    moments = [own_scaling(one) for one in pixels]
    mean = np.mean([m for m, _ in moments], axis=0)
    sd = np.sqrt(np.mean([s**2 + (m - mean) ** 2 for m, s in moments], axis=0))
    each = job.view.standardise == "image" or (job.view.standardise == "auto" and len(mean) == 3)
    dtype = pixels[0].dtype
    full = float(np.iinfo(dtype).max) if dtype.kind in "ui" else max(1.0, float(max(one.max() for one in pixels)))
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
    inside = [covered(own, *one.shape[1:]) for own, one in zip(blocks, maps, strict=True)]
    every = np.concatenate([one[:, known] for one, known in zip(maps, inside, strict=True)], 1)
    if not every.shape[1]:
        return [np.zeros(one.shape[1:], np.uint8) for one in maps]
    taken = [max(share * expected, 1 - beyond * (1 - expected)) for expected in shares]
    limits = [float(np.quantile(every[c], 1 - part)) for c, part in enumerate(taken)]
    labels = []
    for one, known in zip(maps, inside, strict=True):
        best = one.argmax(0) if len(one) > 2 else None
        found = np.zeros(one.shape[1:], np.uint8)
        for c, limit in enumerate(limits):
            confident = known & (one[c] >= limit)
            found[confident if best is None else confident & (best == c)] = c + 1
        labels.append(found)
    return labels


class PixelLabelTask(BlocksTask):
    """The same task on pixel labels, from weights that have learned before."""

    start: nn.Module

    def network(self) -> Any:
        """Return a network with the weights of the first training."""
        network = build_network(self.card)
        network.load_state_dict(self.start.state_dict())
        return network


def with_pixels(task: BlocksTask, labels: list[np.ndarray], start: nn.Module) -> BlocksTask:
    """Return the task of learning these pixel labels alone, starting at a network's weights."""
    again = PixelLabelTask.__new__(PixelLabelTask)
    again.__dict__.update(task.__dict__)
    again.job = task.job.model_copy(
        update={
            "blocks": task.job.blocks.model_copy(update={} if task.job.second.counts else {"method": "pixels"}),
            "training": task.job.training.model_copy(update={"steps": task.job.second.steps}),
        }
    )
    crops = task.crops
    rows = replace(crops.rows, pixels=labels)
    scaling: Scaling = crops.scaling
    again.crops = BlockCrops(
        rows, task.card.coarse, scaling, crops.view, crops.size, crops.seed + 1, pixels_only=not task.job.second.counts
    )
    again.start = start
    return again
