"""What a network that learned from whole images finds out about single cells, on the rows that it was trained on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from skimage.segmentation import expand_labels
from torch import Tensor

from bagscope.errors import ImageReadError
from bagscope.feed.augment import Augmentation
from bagscope.feed.normalise import blank_places
from bagscope.feed.orders import chance
from bagscope.nets.bagnet import BagNet
from bagscope.ops.regions import otsu_log
from bagscope.ops.seed_fit import COUPLING, Sure, sure_from_blank
from bagscope.settings.sections import SelfTrainingSection
from bagscope.tasks.card import CellCard
from bagscope.tasks.images.cell_windows import EDGE, cut_windows, judge_windows
from bagscope.tasks.images.cells import FieldView
from bagscope.tasks.images.nuclear import find_nuclei, nuclear_channel
from bagscope.tasks.images.scoring import score_field
from bagscope.tasks.images.self_training import LARGE, CellCrops, own_labels, train_on_own_labels
from bagscope.tasks.images.task import ImagesTask

# Fields on which it is measured what a map shows where no cell is; more change no digit that matters.
FIELDS_FOR_MAPS = 16
# Fewer blank pixels than this are no sample of background.
LEAST_BLANK = 1000
# Windows with room round them take 74 kB per channel each.
MOST_WINDOWS = 3072
# A few fields say what there is to say, and each takes half a second.
MOST_FIELDS = 64
# Fields differ in how many cells a network is sure of: each may give so many times its part.
SPARE = 4
# A cell reaches so far from its nucleus, as a share of a cell's diameter: what lies further is another one's.
REACH = 0.3
TILE = 64


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

    Cells are nuclei of the training rows, without any label but the network's own. The result depends on the rows,
    the network, the settings and the seed alone.

    Parameters
    ----------
    net : trained, in evaluation mode; gets a network for `cells` when there is something to learn from.
    listener : hears what is done, and each step of the second training.
    """
    section = task.job.self_training
    channel = nuclear_channel(task.job.cells.nuclei, task.card.channels)
    sure, blank = _what_maps_show(task, net)
    counts: tuple[int, ...] = ()
    if channel and section.steps:
        crops = _own_windows(task, net, channel, section)
        if crops is not None:
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
    chosen = np.sort(chance(task.job.seed, 111).permutation(len(store))[:FIELDS_FOR_MAPS]).tolist()
    on_blank, everywhere = [], []
    for i in chosen:
        view = _view(task, net, i)
        if view is None:
            continue
        speaking = view.speaking.sum(0)
        on_blank.append(speaking[blank_places(view.grey.cpu().numpy(), task.blank_limits)])
        everywhere.append(speaking)
    blank = np.concatenate(on_blank) if on_blank else np.empty(0)
    if len(blank) >= LEAST_BLANK:
        return sure_from_blank(blank), len(blank)
    limit = otsu_log(np.concatenate([one.ravel() for one in everywhere])[None]) if everywhere else 0.0
    return Sure(limit, limit), 0


def _own_windows(task: ImagesTask, net: BagNet, channel: str, section: SelfTrainingSection) -> CellCrops | None:
    """Cut windows round the nuclei of training rows, and keep those that the network is sure of."""
    rows = _drawn(task)
    share = SPARE * MOST_WINDOWS // len(rows)
    large, others, targets = [], [], []
    for i in rows:
        view = _view(task, net, i)
        if view is None:
            continue
        found = _windows(view, channel)
        labels = own_labels(1 / (1 + np.exp(-found.logits)), section.sure, section.rejected)
        kept = _at_most(labels.targets, share, chance(task.job.seed, 113, i))
        at = labels.positions[kept]
        large.append(found.large[at])
        others.append(found.others[at])
        targets.append(labels.targets[kept])
    if not targets or not (np.concatenate(targets).sum(0) > 0).all():
        return None  # a class of which it is sure nowhere would be unlearned
    every = np.concatenate(targets)
    kept = _at_most(every, MOST_WINDOWS, chance(task.job.seed, 112))
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


def _drawn(task: ImagesTask) -> list[int]:
    """Draw the training rows whose cells are looked at: all, or as many of each class when they are too many."""
    return _at_most(task.crops.targets, MOST_FIELDS, chance(task.job.seed, 114)).tolist()


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


def _windows(view: FieldView, channel: str) -> _Windows:
    nuclei = find_nuclei(view.pixels[view.card.channels.index(channel)], view.cell_px)
    numbers = np.arange(1, nuclei.max() + 1)
    centres = np.array(ndimage.center_of_mass(nuclei > 0, nuclei, numbers), float).reshape(-1, 2)
    large = cut_windows(view.prepared, centres, view.scale, LARGE)
    middle = slice((LARGE - EDGE) // 2, (LARGE + EDGE) // 2)
    inner = large[:, :, middle, middle].contiguous(memory_format=torch.channels_last)
    logits = judge_windows(view.net.maps, inner, len(view.card.classes))
    return _Windows(large, _other_cells(view, nuclei, numbers, centres), logits)


def _other_cells(view: FieldView, nuclei: np.ndarray, numbers: np.ndarray, centres: np.ndarray) -> Tensor:
    """Where in each large window another cell than its own lies, (N, 96, 96)."""
    reach = REACH * (view.cell_px or EDGE)
    whose = torch.from_numpy(expand_labels(nuclei, reach).astype(np.float32))[None]
    rows, columns = (
        torch.from_numpy(np.clip(np.floor((np.arange(m) + 0.5) / view.scale), 0, n - 1).astype(np.int64))
        for n, m in zip(view.shape, view.prepared.shape[1:], strict=True)
    )
    near = cut_windows(whose[:, rows][:, :, columns], centres, view.scale, LARGE)[:, 0]
    own = torch.from_numpy(numbers.astype(np.float32))[:, None, None]
    return ((near > 0) & (near != own)).to(view.device)


def _view(task: ImagesTask, net: BagNet, i: int) -> FieldView | None:
    """Open a training row; None when it cannot be read any more."""
    store = task.crops.store
    try:
        pixels = store.whole(i)
    except ImageReadError as error:
        task.crops.unreadable[i] = error
        return None

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return pixels[:, y0:y1, x0:x1]

    result = score_field(net, task.card, read, pixels.shape[1:], TILE, task.device)
    return FieldView(net, task.card, pixels, result.log_odds, task.device)
