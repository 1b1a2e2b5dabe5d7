"""Shapes as bags: what is fed, what is lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from bagscope.engine.checked import checked_options
from bagscope.engine.task import Part, pooling_groups
from bagscope.feed.batch import Batch
from bagscope.feed.orders import prefetch
from bagscope.nets import SHAPE_NETWORKS
from bagscope.nets.bagnet import BagNet
from bagscope.nets.pool import make_pooling
from bagscope.nets.shape_judge import MeasuresHead, ShapeJudge
from bagscope.ops import losses
from bagscope.settings.jobs import VolumesJob
from bagscope.settings.shape_sections import ShapeNetworkSection, ShapePoolingSection
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.samples import Bags, Rotations, ShapeFeed
from bagscope.volumes.shapes import FEATURES, VoxelGrid


def build_bag_network(card: ShapesCard) -> BagNet:
    """Build the untrained network that a card describes."""
    options = checked_options(ShapeNetworkSection, card.network, "network")
    pooling = make_pooling(classes=len(card.classes), **checked_options(ShapePoolingSection, card.pooling, "pooling"))
    kind = SHAPE_NETWORKS.load(options["name"])
    body = kind(FEATURES, len(card.classes), dropout=options["dropout"])
    return BagNet(body, pooling, len(card.classes), card.none_trained and not card.several_labels)


def build_network(card: ShapesCard) -> ShapeJudge:
    """Build what judges shapes, untrained, as a card describes it.

    Raises
    ------
    ModelError : the card describes none.
    """
    return ShapeJudge(build_bag_network(card), MeasuresHead(len(card.measures), len(card.outputs)), card.several_labels)


def rotations_of_card(card: ShapesCard) -> Rotations:
    """Return how the card's shapes may lie."""
    return Rotations(**card.turns.model_dump())


def voxel_grid_of_card(card: ShapesCard) -> VoxelGrid:
    """Return the card's grid."""
    return VoxelGrid(card.lattice.cell, card.lattice.depth, card.lattice.thickness)


class VolumesTask:
    """Shapes judged by the voxels that they fill (Graham 2015; Kalinin's slides of 2017)."""

    def __init__(self, job: VolumesJob, card: ShapesCard, train: Bags, validation: Bags | None, device: torch.device):
        self.job, self.card, self.device = job, card, device
        turns, lattice = rotations_of_card(card), voxel_grid_of_card(card)
        size, most = job.training.batch, job.bags.size
        self.shapes = ShapeFeed(train, lattice, turns, size, most, job.seed)
        self._watched = None if validation is None else ShapeFeed(validation, lattice, turns, size, most, job.seed)

    def feed(self, part: Part, first_step: int = 0) -> Iterable[Batch]:
        """Bags of the training shapes, step by step, or all of the validation part in fixed poses."""
        if part != "train":
            return iter(()) if self._watched is None else self._watched.fixed(self.device)
        steps = self.job.training.steps
        if self.device.type == "cpu":
            return (self.shapes.step(step, self.device) for step in range(first_step, steps))
        return prefetch(lambda step: self.shapes.step(step, self.device), first_step, steps)

    def network(self) -> BagNet:
        """Return the untrained network; its start depends on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.job.seed)
            return build_bag_network(self.card)

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Joint loss of the bags and of the last layer, with labels that are not quite sure."""
        features, sites = batch.x
        logits = net.body(features, sites)  # type: ignore[operator]
        log_odds, head = net.pool_and_classify(logits, batch.lengths.to(logits.device))  # type: ignore[operator]
        unsure = self.job.training.smoothing
        share = 0.5 if self.card.several_labels else 1 / head.shape[1]
        target = batch.target * (1 - unsure) + unsure * share
        return losses.joint_loss(log_odds, head, target, self.card.several_labels)

    def learned(self, net: nn.Module) -> ShapesCard:
        """Return the card with the learned thresholds."""
        return self.card.model_copy(update={"thresholds": cast(BagNet, net).learned_thresholds()})

    def parameter_groups(self, net: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
        """Return the weights and the pooling's thresholds with the factors of their learning rates."""
        return pooling_groups(net, float(self.job.training.threshold_rate))
