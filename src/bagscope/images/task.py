"""Images as bags of class-map elements: what is fed, what is lost, what is scored."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bagscope.engine.checked import checked_options
from bagscope.engine.task import Part, pooling_groups
from bagscope.errors import ImageReadError, ModelError
from bagscope.feed.augment import Augmentation
from bagscope.feed.batch import Batch
from bagscope.feed.cache import PixelStore
from bagscope.feed.normalise import Measured
from bagscope.feed.orders import prefetch
from bagscope.images.card import ModelCard
from bagscope.images.samples import CropPlan, Crops
from bagscope.nets import NETWORKS
from bagscope.nets.bagnet import BagNet
from bagscope.nets.pool import make_pooling
from bagscope.ops import intensity, losses, windows
from bagscope.settings.jobs import ImagesJob
from bagscope.settings.sections import NetworkSection, PoolingSection

VALIDATION_CROPS = 64


@dataclass(frozen=True)
class LabelledRows:
    """Rows of one part: their pixels, (R, K) targets, (R,) well ids and lines of the table."""

    store: PixelStore
    targets: np.ndarray
    wells: np.ndarray
    lines: np.ndarray


def build_network(card: ModelCard) -> BagNet:
    """Build the untrained network that a card describes.

    Raises
    ------
    ModelError : the card describes none, or another grid than the network has.
    """
    options = checked_options(NetworkSection, card.network, "network")
    pooling = make_pooling(classes=len(card.classes), **checked_options(PoolingSection, card.pooling, "pooling"))
    kind = NETWORKS.load(options.pop("name"))
    body = kind(len(card.channels), len(card.classes), scores=pooling.wants_scores, **options)
    if card.grid != body.grid.as_dict():
        cause = f"grid {card.grid}, the network has {body.grid.as_dict()}"
        raise ModelError(cause, "The card was changed; train again.", code="bad_card")
    cells = copy.deepcopy(body) if card.cells and card.cells.self_trained else None
    return BagNet(body, pooling, len(card.classes), card.none_trained and not card.several_labels, cells)


class ImagesTask:
    """Deep multiple-instance learning on whole images (Kraus, Ba and Frey 2016)."""

    def __init__(
        self,
        job: ImagesJob,
        card: ModelCard,
        train: LabelledRows,
        validation: LabelledRows | None,
        measured: Measured,
        device: torch.device,
    ):
        self.job, self.card, self.device = job, card, device
        self._validation = validation
        self.blank_limits = measured.limits
        ranges = Augmentation(job.augment.dihedral, job.augment.gain, job.augment.scale)
        self._plan = CropPlan(
            crop=crop_edge(job.training.crop, card, train.store, validation),
            scale=card.scale.factor,
            background=job.augment.background,
            blank=measured.blank,
            intensity=intensity_of(card),
            ranges=ranges,
            seed=job.seed,
        )
        self._watched: Crops | None = None
        self.crops = Crops(train.store, train.targets, train.wells, train.lines, self._plan, job.training.batch)

    def feed(self, part: Part, first_step: int = 0) -> Iterable[Batch]:
        """Crops of the training rows, step by step, or fixed crops of the validation rows."""
        if part != "train":
            return self._validation_batches()
        steps = self.job.training.steps
        if self.crops.store.held and self.device.type == "cpu":
            # Nothing to wait for: made in a thread, crops would take turns with the network at Python's lock, and
            # a step that takes a tenth longer would take a third longer.
            return (self.crops.step(step, self.device) for step in range(first_step, steps))
        return prefetch(lambda step: self.crops.step(step, self.device), first_step, steps)

    def _validation_batches(self) -> Iterator[Batch]:
        rows = self._validation
        if rows is None:
            return
        per_row = max(1, VALIDATION_CROPS // max(1, len(rows.store)))
        self._watched = Crops(rows.store, rows.targets, rows.wells, rows.lines, self._plan, self.job.training.batch)
        yield from self._watched.fixed(per_row, self.device)

    def network(self) -> BagNet:
        """Return the untrained network; its start depends on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.job.seed)
            return build_network(self.card)

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Joint loss of the bags and of the last layer."""
        log_odds, head = net(batch.x)
        return losses.joint_loss(log_odds, head, batch.target, self.card.several_labels)

    def unreadable(self) -> dict[int, ImageReadError]:
        """Return what could not be read while training, by line of the table."""
        every = [crops for crops in (self.crops, self._watched) if crops is not None]
        return {int(crops.lines[row]): error for crops in every for row, error in crops.unreadable.items()}

    def learned(self, net: nn.Module) -> ModelCard:
        """Return the card with the learned thresholds."""
        return self.card.model_copy(update={"thresholds": cast(BagNet, net).learned_thresholds()})

    def parameter_groups(self, net: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
        """Return the weights and the pooling's thresholds with the factors of their learning rates."""
        return pooling_groups(net, float(self.job.training.threshold_rate))


def intensity_of(card: ModelCard) -> intensity.Intensity:
    """Return the card's normalisation."""
    return intensity.Intensity(card.intensity.dark, card.intensity.background, card.intensity.spread)


def crop_edge(wanted: int, card: ModelCard, store: PixelStore, validation: LabelledRows | None) -> int:
    """Edge of a crop in rescaled pixels: as wanted, or the shortest side of any image when that is less."""
    shapes = [*store.shapes, *(validation.store.shapes if validation else [])]
    shortest = min(windows.scaled_length(n, card.scale.factor) for _, h, w in shapes for n in (h, w))
    return max(int(card.grid["smallest"]), min(wanted, shortest))
