"""Classification of pixels from proportions of their blocks: batches, network and losses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bagscope.blocks.card import BlocksCard
from bagscope.blocks.samples import BlockBatch, BlockCrops
from bagscope.engine.checked import checked_options
from bagscope.engine.task import Part
from bagscope.feed.orders import prefetch
from bagscope.nets.unet import UNet
from bagscope.ops import counts
from bagscope.settings.block_sections import BlockNetworkSection
from bagscope.settings.jobs import BlocksJob
from bagscope.tables.proportions import Proportions


def build_network(card: BlocksCard) -> UNet:
    """Build the untrained network that a card describes.

    Raises
    ------
    ModelError : the card describes none.
    """
    options = checked_options(BlockNetworkSection, card.network, "network")
    return UNet(len(card.channels), len(card.classes), tuple(options["widths"]), card.shares)


@dataclass(frozen=True)
class Table:
    """The proportion table on a device: (L, C) mean and sd, sd at least the settings' least."""

    mean: Tensor
    sd: Tensor

    @classmethod
    def of(cls, table: Proportions, least: float, device: torch.device) -> Table:
        """Put a table on a device."""
        mean, sd = (
            torch.from_numpy(np.ascontiguousarray(column)).float().to(device) for column in (table.mean, table.sd)
        )
        return cls(mean, sd.clamp(min=least))


class BlocksTask:
    """Label super-resolution (Malkin et al. 2019; "Label super resolution with inter-instance loss" 2019)."""

    def __init__(self, job: BlocksJob, card: BlocksCard, table: Table, crops: BlockCrops, device: torch.device):
        self.job, self.card, self.table, self.crops, self.device = job, card, table, crops, device

    def feed(self, part: Part, first_step: int = 0) -> Iterable[BlockBatch]:
        """Crops of the training rows, step by step; there is no validation part."""
        if part != "train":
            return iter(())
        steps = self.job.training.steps
        if self.crops.rows.store.held and self.device.type == "cpu":
            return (self.crops.step(step, self.device) for step in range(first_step, steps))
        return prefetch(lambda step: self.crops.step(step, self.device), first_step, steps)

    def network(self) -> nn.Module:
        """Return the untrained network; its start depends on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.job.seed)
            return build_network(self.card)

    def losses(self, net: nn.Module, batch: BlockBatch) -> dict[str, Tensor]:
        """Return the method's loss of blocks, and that of pixel labels where there are any."""
        logits = net(batch.images).float()
        terms = {}
        section = self.job.blocks
        is_labelled = batch.labels > 0
        if section.method == "pixels" or bool(is_labelled.any()):
            weight = 1.0 if section.method == "pixels" else section.pixel_weight
            target = torch.where(is_labelled, batch.labels - 1, -100)
            terms["pixels"] = weight * cross_entropy(logits, target, ignore_index=-100)
            if not bool(is_labelled.any()):
                terms["pixels"] = 0 * logits.sum()
        if section.method != "pixels" and len(batch.coarse):
            terms["blocks"] = self._block_loss(logits, batch.index, batch.coarse)
        return terms or {"blocks": 0 * logits.sum()}

    def _block_loss(self, logits: Tensor, index: Tensor, coarse: Tensor) -> Tensor:
        section, means = self.job.blocks, counts.block_means(logits, index, len(coarse))
        eta = self.table.mean[coarse]
        if section.method == "llp":
            return counts.llp(means.p, eta)
        if section.method == "qr":
            return counts.implicit_posterior(means.p, eta)
        if section.method == "soft":
            return counts.pixel_target(means.log_p, eta)
        if section.method == "hard":
            return counts.pixel_target(means.log_p, nn.functional.one_hot(eta.argmax(1), eta.shape[1]).float())
        order = coarse.argsort(stable=True)
        groups, lengths = coarse[order].unique_consecutive(return_counts=True)
        if section.grouping != "intra" and bool((lengths > 1).any()):
            # A single block holds no information on how blocks of its class differ.
            several = lengths > 1
            order = order[several.repeat_interleave(lengths)]
            groups, lengths = groups[several], lengths[several]
        means = means.take(order)
        return counts.moments_loss(
            means.p,
            means.spread / section.effective,
            lengths,
            self.table.mean[groups],
            self.table.sd[groups],
            grouping=section.grouping,
            distance=section.distance,
        )

    def parameter_groups(self, net: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
        """Return all weights, with one learning rate."""
        return [(list(net.parameters()), 1.0)]
