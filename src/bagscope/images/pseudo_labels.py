"""What a trained network learns about single cells from its training rows: limits of its maps, and self-training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscope.engine.compute import Execution
from bagscope.engine.events import Events
from bagscope.engine.loaded import TrainedNetwork
from bagscope.engine.states import Checkpoints
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
    PseudoLabels,
    SelfTrainingTask,
    label_cells,
    label_cells_within,
    train_on_pseudo_labels,
)
from bagscope.images.task import ImagesTask
from bagscope.nets.bagnet import BagNet
from bagscope.ops.regions import otsu_log
from bagscope.ops.seed_fit import COUPLING, Sure, sure_from_blank

# Fields on which the maps of blank pixels are measured; more change no digit that matters.
FIELDS_FOR_MAPS = 16
# Fewer blank pixels than this are no sample of background.
LEAST_BLANK = 1000
# Windows with a margin take 37 kB per channel each: of two channels these are 3,072.
MOST_BYTES = 3072 * 2 * LARGE * LARGE * 4
# Fields differ in their number of confident cells: each may give so many times its part.
SPARE = 4


@dataclass(frozen=True)
class _Windows:
    """Windows of one field's cells: (N, C, 96, 96), pixels of other cells, and the network's logits (N, K)."""

    large: Tensor
    others: Tensor
    logits: np.ndarray


def learn_cells(
    task: ImagesTask, net: BagNet, execution: Execution, checkpoints: Checkpoints, events: Events
) -> CellCard:
    """Measure the maps on background, and train the network once more on cells that it classifies confidently.

    Cells are nuclei, or bright parts that stand alone, of the training rows. Their labels are the network's own
    predictions, restricted to their row's label on request. The result depends on the rows, the network, the settings
    and the seed alone.

    Parameters
    ----------
    net : trained, in evaluation mode; gets a network for `cells` when there are cells to learn from.
    checkpoints : of the training on whole images; the states of the self-training are stored below them.

    Raises
    ------
    TrainingError : the loss is not finite. Interrupted : asked to stop; the state is saved.
    """
    section = task.job.self_training
    channel = nuclear_channel(task.job.cells.nuclei, task.card.channels)
    limits, blank = _limits_of_maps(task, net)
    counts: tuple[int, ...] = ()
    for number in range(section.rounds if section.steps and (channel or section.cells == "parts") else 0):
        crops = _confident_windows(task, net, channel)
        if crops is None:
            break
        counts = (*crops.targets.sum(0).astype(int).tolist(), int((crops.targets.sum(1) == 0).sum()))
        cells = ", ".join(f"{n} {name}" for name, n in zip((*task.card.classes, "none"), counts, strict=True))
        events.say(f"self-training on confidently classified cells: {cells}")
        net.cells = train_on_pseudo_labels(
            SelfTrainingTask(net.body, crops),
            task.job.training,
            execution,
            checkpoints.below(f"cells-{number}"),
            events,
        )
    return CellCard(
        nuclei=channel,
        self_trained=net.cells is not None,
        from_parts=net.cells is not None and section.cells == "parts",
        own_labels=counts,
        background=limits.background,
        foreground=limits.foreground,
        coupling=COUPLING,
        blank_pixels=blank,
    )


def _limits_of_maps(task: ImagesTask, net: BagNet) -> tuple[Sure, int]:
    """Return the limits of background and foreground in the Jacobian maps, and the number of blank pixels behind them.

    Without blank pixels (a culture without a gap), both limits are Otsu's threshold on the logarithm of the maps.
    """
    store = task.crops.store
    fields = np.sort(rng_for(task.job.seed, 111).permutation(len(store))[:FIELDS_FOR_MAPS]).tolist()
    on_blank, everywhere = [], []
    for i in fields:
        view = _view(task, net, i)
        if view is None:
            continue
        relevance = view.relevance.sum(0)
        on_blank.append(relevance[blank_places(view.grey.cpu().numpy(), task.blank_limits)])
        everywhere.append(relevance)
    blank = np.concatenate(on_blank) if on_blank else np.empty(0)
    if len(blank) >= LEAST_BLANK:
        return sure_from_blank(blank), len(blank)
    limit = otsu_log(np.concatenate([relevance.ravel() for relevance in everywhere])[None]) if everywhere else 0.0
    return Sure(limit, limit), 0


def _confident_windows(task: ImagesTask, net: BagNet, channel: str) -> CellCrops | None:
    """Cut windows of cells of training rows, those with a pseudo-label; None when a class has no cell."""
    section, crops = task.job.self_training, task.crops
    fields = _drawn(task, section.fields)
    most = MOST_BYTES // (len(task.card.channels) * LARGE * LARGE * 4)
    most_of_field = SPARE * most // len(fields)
    large, others, targets, rows = [], [], [], []
    for i in fields:
        view = _view(task, net, i)
        if view is None:
            continue
        cut = _windows(view, parts(view) if section.cells == "parts" else nuclei(view, channel))
        labels = _labels(task, i, 1 / (1 + np.exp(-cut.logits)))
        chosen = _at_most(labels.targets, most_of_field, rng_for(task.job.seed, 113, i))
        positions = labels.positions[chosen]
        large.append(cut.large[positions])
        others.append(cut.others[positions])
        targets.append(labels.targets[chosen])
        rows.append(np.full(len(positions), crops.lines[i]))
    if not targets or not (np.concatenate(targets).sum(0) > 0).all():
        return None  # a class without a confident cell would be unlearned
    target = np.concatenate(targets)
    chosen = _at_most(target, most, rng_for(task.job.seed, 112))
    changes = task.job.augment
    return CellCrops(
        torch.cat(large)[chosen],
        torch.cat(others)[chosen],
        target[chosen],
        np.concatenate(rows)[chosen],
        Augmentation(changes.dihedral, changes.gain, changes.scale),
        section,
        task.job.seed,
    )


def _labels(task: ImagesTask, i: int, probability: np.ndarray) -> PseudoLabels:
    """Label the cells of training row i."""
    section, targets = task.job.self_training, task.crops.targets
    if not section.within_label:
        return label_cells(probability, section.sure, section.rejected)
    has_none = (targets.sum(1) == 0).any()
    return label_cells_within(probability, targets[i], section.sure, 0.0 if has_none else section.rejected)


def _drawn(task: ImagesTask, most: int) -> list[int]:
    """Draw the training rows whose cells are used: all, or as many of each class when there are too many."""
    return _at_most(task.crops.targets, most, rng_for(task.job.seed, 114)).tolist()


def _at_most(targets: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return positions of at most so many rows of targets (N, K), each kind equally often as far as possible."""
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


def _windows(view: FieldView, objects: TrainingObjects) -> _Windows:
    """Cut out objects and classify each: with the others blanked out where it stands alone, else among them."""
    large, others = objects.windows(view), objects.others(view)
    seen = large.masked_fill(others[:, None], 0) if objects.alone else large
    middle = slice((LARGE - EDGE) // 2, (LARGE + EDGE) // 2)
    inner = seen[:, :, middle, middle].contiguous(memory_format=torch.channels_last)
    return _Windows(large, others, judge_windows(view.net.cell_maps, inner, len(view.card.classes)))


def _view(task: ImagesTask, net: BagNet, i: int) -> FieldView | None:
    """Open a training row; None when it cannot be read any more."""
    store = task.crops.store
    try:
        return FieldView(TrainedNetwork(net, task.card, task.device), store.whole(i))
    except ImageReadError as error:
        task.crops.unreadable[i] = error
        return None
