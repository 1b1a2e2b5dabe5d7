"""What a network that learned from whole images finds out about single cells, on the rows that it was trained on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bagscope.errors import ImageReadError
from bagscope.feed.augment import Augmentation
from bagscope.feed.normalise import blank_places
from bagscope.feed.orders import rng_for
from bagscope.images.card import CellCard
from bagscope.images.cell_windows import EDGE, judge_windows
from bagscope.images.cells import FieldView
from bagscope.images.nuclear import nuclear_channel
from bagscope.images.objects import TrainingObjects, nuclei, parts
from bagscope.images.self_training import (
    LARGE,
    CellCrops,
    labels_within,
    own_labels,
    train_on_own_labels,
)
from bagscope.images.task import ImagesTask
from bagscope.nets.bagnet import BagNet
from bagscope.ops.regions import otsu_log
from bagscope.ops.seed_fit import COUPLING, Sure, sure_from_blank
from bagscope.settings.sections import SelfTrainingSection

# Fields on which it is measured what a map shows where no cell is; more change no digit that matters.
FIELDS_FOR_MAPS = 16
# Fewer blank pixels than this are no sample of background.
LEAST_BLANK = 1000
# Windows with room round them take 37 kB per channel each: of two channels these are 3,072.
MOST_BYTES = 3072 * 2 * LARGE * LARGE * 4
# Fields differ in how many cells a network is sure of: each may give so many times its part.
SPARE = 4


class Listener(Protocol):
    """Who is told what is going on."""

    def say(self, text: str) -> None:
        """Hear a sentence."""

    def progress(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Hear how far a long work has come."""


@dataclass(frozen=True)
class _Windows:
    """Windows of one field's cells: (N, C, 96, 96), where other cells lie, and what the network says (N, K)."""

    large: Tensor
    others: Tensor
    logits: np.ndarray


def learn_cells(task: ImagesTask, net: BagNet, bf16: bool, listener: Listener) -> CellCard:
    """Measure what the maps show on background, and let the network learn once more from cells that it is sure of.

    Cells are nuclei, or bright parts that stand alone, of the training rows, without any label but the network's own
    and, when that is wished, their row's. The result depends on the rows, the network, the settings and the seed alone.

    Parameters
    ----------
    net : trained, in evaluation mode; gets a network for `cells` when there is something to learn from.
    listener : hears what is done, and each step of the second training.
    """
    section = task.job.self_training
    channel = nuclear_channel(task.job.cells.nuclei, task.card.channels)
    sure, blank = _what_maps_show(task, net)
    counts: tuple[int, ...] = ()
    for _ in range(section.rounds if section.steps and (channel or section.cells == "parts") else 0):
        crops = _own_windows(task, net, channel, section)
        if crops is None:
            break
        counts = (*crops.targets.sum(0).astype(int).tolist(), int((crops.targets.sum(1) == 0).sum()))
        names = ", ".join(f"{n} {name}" for name, n in zip((*task.card.classes, "none"), counts, strict=True))
        listener.say(f"learning once more, from single cells that the network is sure of: {names}")
        own = copy.deepcopy(net.body)
        for parameter in own.parameters():
            parameter.requires_grad_(True)
        with torch.random.fork_rng([task.device] if task.device.type == "cuda" else []):
            train_on_own_labels(
                own,
                crops,
                steps=section.steps,
                size=section.windows,
                rate=section.rate,
                bf16=bf16,
                progress=lambda done, of, loss: listener.progress("cells", done, of, f"loss {loss:.3f}"),
            )
        net.cells = own
    return CellCard(
        nuclei=channel,
        self_trained=net.cells is not None,
        from_parts=net.cells is not None and section.cells == "parts",
        own_labels=counts,
        background=sure.background,
        foreground=sure.foreground,
        coupling=COUPLING,
        blank_pixels=blank,
    )


def _what_maps_show(task: ImagesTask, net: BagNet) -> tuple[Sure, int]:
    """Say what the Jacobian maps show on blank pixels of training rows; and on how many pixels that rests.

    Without blank pixels (a culture without a gap) Otsu's threshold on the logarithm of the maps stands in for both
    limits.
    """
    store = task.crops.store
    chosen = np.sort(rng_for(task.job.seed, 111).permutation(len(store))[:FIELDS_FOR_MAPS]).tolist()
    on_blank, everywhere = [], []
    for i in chosen:
        view = _view(task, net, i)
        if view is None:
            continue
        relevance = view.relevance.sum(0)
        on_blank.append(relevance[blank_places(view.grey.cpu().numpy(), task.blank_limits)])
        everywhere.append(relevance)
    blank = np.concatenate(on_blank) if on_blank else np.empty(0)
    if len(blank) >= LEAST_BLANK:
        return sure_from_blank(blank), len(blank)
    limit = otsu_log(np.concatenate([one.ravel() for one in everywhere])[None]) if everywhere else 0.0
    return Sure(limit, limit), 0


def _own_windows(task: ImagesTask, net: BagNet, channel: str, section: SelfTrainingSection) -> CellCrops | None:
    """Cut windows round cells of training rows, and keep those that the network is sure of."""
    rows = _drawn(task, section.fields)
    most = MOST_BYTES // (len(task.card.channels) * LARGE * LARGE * 4)
    share = SPARE * most // len(rows)
    labelled_none = (task.crops.targets.sum(1) == 0).any()
    large, others, targets = [], [], []
    for i in rows:
        view = _view(task, net, i)
        if view is None:
            continue
        found = _windows(view, parts(view) if section.cells == "parts" else nuclei(view, channel))
        probability = 1 / (1 + np.exp(-found.logits))
        if section.within_label:
            rejected = 0.0 if labelled_none else section.rejected
            labels = labels_within(probability, task.crops.targets[i], section.sure, rejected)
        else:
            labels = own_labels(probability, section.sure, section.rejected)
        kept = _at_most(labels.targets, share, rng_for(task.job.seed, 113, i))
        at = labels.positions[kept]
        large.append(found.large[at])
        others.append(found.others[at])
        targets.append(labels.targets[kept])
    if not targets or not (np.concatenate(targets).sum(0) > 0).all():
        return None  # a class of which it is sure nowhere would be unlearned
    every = np.concatenate(targets)
    kept = _at_most(every, most, rng_for(task.job.seed, 112))
    changes = task.job.augment
    return CellCrops(
        torch.cat(large)[kept],
        torch.cat(others)[kept],
        every[kept],
        Augmentation(changes.dihedral, changes.gain, changes.scale),
        section.jitter,
        section.alone,
        task.job.seed,
        section.mix,
    )


def _drawn(task: ImagesTask, most: int) -> list[int]:
    """Draw the training rows whose cells are looked at: all, or as many of each class when they are too many."""
    return _at_most(task.crops.targets, most, rng_for(task.job.seed, 114)).tolist()


def _at_most(targets: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of at most so many rows of targets (N, K), each kind equally often as far as it goes."""
    if len(targets) <= most:
        return np.arange(len(targets))
    kind = np.where(targets.any(1), targets.argmax(1), -1)
    order = rng.permutation(len(targets))
    # The first of every kind, then the second of every kind, and so on.
    rank = np.empty(len(targets), int)
    for value in np.unique(kind):
        members = order[kind[order] == value]
        rank[members] = np.arange(len(members))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:most])


def _windows(view: FieldView, things: TrainingObjects) -> _Windows:
    """Cut out things and judge each: alone where it stands alone, else as it lies among the others."""
    large, others = things.windows(view), things.others(view)
    seen = large.masked_fill(others[:, None], 0) if things.alone else large
    middle = slice((LARGE - EDGE) // 2, (LARGE + EDGE) // 2)
    inner = seen[:, :, middle, middle].contiguous(memory_format=torch.channels_last)
    return _Windows(large, others, judge_windows(view.net.cell_maps, inner, len(view.card.classes)))


def _view(task: ImagesTask, net: BagNet, i: int) -> FieldView | None:
    """Open a training row; None when it cannot be read any more."""
    store = task.crops.store
    try:
        return FieldView(net, task.card, store.whole(i), None, task.device)
    except ImageReadError as error:
        task.crops.unreadable[i] = error
        return None
