"""Self-training: a network that learned from whole images learns from cells that carry its own confident labels."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bagscope.engine import loop
from bagscope.engine.compute import Execution
from bagscope.engine.events import Events
from bagscope.engine.states import Checkpoints
from bagscope.engine.task import Part
from bagscope.feed.augment import Augmentation, draw
from bagscope.feed.batch import Batch
from bagscope.feed.orders import rng_for
from bagscope.images.cell_windows import EDGE
from bagscope.ops import windows
from bagscope.settings.sections import LoopSection, SelfTrainingSection

# Pixels on each side of a window for shifts and changes of scale.
MARGIN = 16
LARGE = EDGE + 2 * MARGIN
# Random stream of dropout, apart from that of the training on whole images.
DROPOUT_STREAM = 8


@dataclass(frozen=True)
class PseudoLabels:
    """The cells that get a label: (N,) positions, and (N, K) targets, all 0 for `none`."""

    positions: np.ndarray
    targets: np.ndarray


def label_cells(probability: np.ndarray, sure: float, rejected: float) -> PseudoLabels:
    """Label the cells whose class the network predicts confidently.

    A cell gets class k if p_k > `sure` and all other probabilities are < `rejected`, and `none` if all are
    < `rejected`. Other cells get no label.

    Parameters
    ----------
    probability : (N, K).
    """
    low, high = probability < rejected, probability > sure
    return _labels_of(high, (high.sum(1) == 1) & (low | high).all(1), np.all(low, axis=1))


def label_cells_within(probability: np.ndarray, target: np.ndarray, sure: float, rejected: float) -> PseudoLabels:
    """Label the cells of an image with classes of the image's own label, or with `none`.

    A cell gets class k if k is the only class of the image's label with p_k > `sure`, and `none` if all classes of the
    label have probabilities < `rejected`. Every cell of an image labelled `none` gets `none`. Other cells get no label.

    Parameters
    ----------
    probability : (N, K). target : (K,) 0 or 1, the image's label.

    Source: a bag without a class holds no instance of it (Dietterich et al., Artificial Intelligence 89 (1997) 31).
    """
    allowed = np.where(target > 0, probability, 0.0)
    high = allowed > sure
    none = np.all(allowed < rejected, axis=1) if target.any() else np.ones(len(probability), bool)
    return _labels_of(high, high.sum(1) == 1, none)


def _labels_of(high: np.ndarray, has_class: np.ndarray, is_none: np.ndarray) -> PseudoLabels:
    positions = np.flatnonzero(has_class | is_none)
    return PseudoLabels(positions, (high[positions] & has_class[positions, None]).astype(np.float32))


@dataclass(frozen=True)
class CellCrops:
    """Windows of cells with a margin, and their pseudo-labels.

    large : (N, C, 96, 96) rescaled and normalised. others : (N, 96, 96) bool, pixels of other cells.
    targets : (N, K). Classes, and none, are drawn equally often.
    rows : (N,) row of the table of each cell.
    section : its `alone` is the fraction of windows in which all other cells are blanked out, its `mix` the fraction of
        windows that are mixtures of two cells in any proportion, as are their targets. Cells between two classes are in
        no control, and without mixtures each network puts its boundary somewhere else.
        Source: Zhang et al., mixup, ICLR 2018.
    """

    large: Tensor
    others: Tensor
    targets: np.ndarray
    rows: np.ndarray
    ranges: Augmentation
    section: SelfTrainingSection
    seed: int

    def pools(self) -> list[np.ndarray]:
        """Positions of the cells of each class and of none; empty ones are left out."""
        members = [np.flatnonzero(self.targets[:, k] > 0) for k in range(self.targets.shape[1])]
        members.append(np.flatnonzero(self.targets.sum(1) == 0))
        return [positions for positions in members if len(positions)]

    def step(self, step: int) -> Batch:
        """Return the windows (S, C, 64, 64) of one step, each its own bag, the same whenever it is asked."""
        pools, rng, size = self.pools(), rng_for(self.seed, 7, step), self.section.windows
        cut, cells = [], []
        for item in range(size):
            pool = pools[item % len(pools)]
            cell = int(pool[rng.integers(len(pool))])
            change = draw(rng, self.ranges, self.large.shape[1])
            shift = rng.normal(0, self.section.jitter, 2)
            large = self.large[cell]
            if rng.random() < self.section.alone:
                large = large.masked_fill(self.others[cell], 0)
            x = _window(large, change.scale, shift)
            gains = torch.tensor(change.gains, dtype=x.dtype, device=x.device)
            cut.append(windows.dihedral(x * gains[:, None, None], change.code))
            cells.append(cell)
        x, target = torch.stack(cut), torch.from_numpy(self.targets[cells]).to(cut[0].device)
        if self.section.mix:
            weights = np.where(rng.random(size) < self.section.mix, rng.random(size), 1.0).astype(np.float32)
            weight, partner = torch.from_numpy(weights).to(x.device), torch.from_numpy(rng.permutation(size))
            x = torch.lerp(x[partner], x, weight[:, None, None, None])
            target = torch.lerp(target[partner], target, weight[:, None])
        x = x.contiguous(memory_format=torch.channels_last)
        return Batch(x, torch.ones(size, dtype=torch.long), target, self.rows[cells])


def _window(large: Tensor, scale: float, shift: np.ndarray) -> Tensor:
    """Cut 64 pixels out of the middle of a larger window that is rescaled and shifted a little."""
    side = windows.scaled_length(LARGE, scale)
    corners = [round((side - EDGE) / 2 + float(s)) for s in shift]
    corners = [min(max(0, c), max(0, side - EDGE)) for c in corners]
    rows, y0, y1 = windows.taps(LARGE, scale, corners[0], corners[0] + EDGE)
    columns, x0, x1 = windows.taps(LARGE, scale, corners[1], corners[1] + EDGE)
    return windows.interpolate(large[:, y0:y1, x0:x1], rows, columns)


class SelfTrainingTask:
    """Windows of single cells, each a bag of one instance: sum over classes of BCE(z, target).

    Parameters
    ----------
    body : maps (S, C, 64, 64) to logits (S, K, 1, 1); training starts from a copy of its weights.
    """

    def __init__(self, body: nn.Module, crops: CellCrops):
        self.body, self.crops = body, crops

    def feed(self, part: Part, first_step: int = 0) -> Iterable[Batch]:
        """Windows step by step; no cell has a label of its own to validate on."""
        if part != "train":
            return iter(())
        return (self.crops.step(step) for step in range(first_step, self.crops.section.steps))

    def network(self) -> nn.Module:
        """Return a copy of the body."""
        return copy.deepcopy(self.body).requires_grad_(True)

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the windows."""
        logits = net(batch.x)[:, :, 0, 0].float()
        return {"cells": binary_cross_entropy_with_logits(logits, batch.target, reduction="none").sum(1).mean()}

    def parameter_groups(self, net: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
        """Return all weights, with one learning rate."""
        return [(list(net.parameters()), 1.0)]


def train_on_pseudo_labels(
    task: SelfTrainingTask, training: LoopSection, execution: Execution, checkpoints: Checkpoints, events: Events
) -> nn.Module:
    """Train a copy of the task's network on cells, and return it in evaluation mode.

    Parameters
    ----------
    training : of the training on whole images. Clipping and the saving of states are the same; the optimiser is always
        Adam without weight decay, whose learning rate is that of the self-training.

    Raises
    ------
    TrainingError : the loss is not finite. Interrupted : asked to stop; the state is saved.
    """
    section = task.crops.section
    run = LoopSection(
        steps=section.steps,
        batch=section.windows,
        rate=section.rate,
        clip=training.clip,
        save_every=training.save_every,
    )
    return loop.fit(task, run, replace(execution, stream=DROPOUT_STREAM), checkpoints, events).network
