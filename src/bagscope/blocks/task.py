"""Pixels judged by what is known of their blocks: what is fed, what is lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bagscope.blocks.card import BlocksCard
from bagscope.blocks.samples import BlockCrops, BlockRows, Scaling, View
from bagscope.engine.checked import checked_options
from bagscope.engine.task import Part
from bagscope.feed.batch import Batch
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
    """The expert's table on a device: (L, C) mean and sd, sd at least the settings' least."""

    mean: Tensor
    sd: Tensor

    @classmethod
    def of(cls, table: Proportions, least: float, device: torch.device) -> Table:
        """Put a table on a device."""
        mean, sd = (torch.from_numpy(np.ascontiguousarray(one)).float().to(device) for one in (table.mean, table.sd))
        return cls(mean, sd.clamp(min=least))


class BlocksTask:
    """Label super-resolution (Malkin et al. 2019; "Label super resolution with inter-instance loss" 2019)."""

    def __init__(self, job: BlocksJob, card: BlocksCard, table: Proportions, train: BlockRows, device: torch.device):
        self.job, self.card, self.device = job, card, device
        self.table = Table.of(table, job.blocks.least_sd, device)
        view = View(**{name: getattr(job.view, name) for name in View.__dataclass_fields__})
        scaling = Scaling(card.scaling.mean, card.scaling.sd, card.scaling.each, card.scaling.full)
        only = job.blocks.method == "pixels"
        self.crops = BlockCrops(train, table.coarse, scaling, view, job.training.batch, job.seed, pixels_only=only)

    def feed(self, part: Part, first_step: int = 0) -> Iterable[Batch]:
        """Crops of the training rows, step by step; nothing watches."""
        if part != "train":
            return iter(())
        steps = self.job.training.steps
        if self.crops.rows.store.held and self.device.type == "cpu":
            return (self.crops.step(step, self.device) for step in range(first_step, steps))
        return prefetch(lambda step: self.crops.step(step, self.device), first_step, steps)

    def network(self) -> UNet:
        """Return the untrained network; its start depends on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.job.seed)
            return build_network(self.card)

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The method's loss of blocks, and of pixel labels where there are any."""
        images, index, labels = batch.x
        logits = net(images).float()
        terms = {}
        section = self.job.blocks
        known = labels > 0
        if section.method == "pixels" or bool(known.any()):
            weight = 1.0 if section.method == "pixels" else section.pixel_weight
            target = torch.where(known, labels - 1, -100)
            terms["pixels"] = weight * cross_entropy(logits, target, ignore_index=-100)
            if not bool(known.any()):
                terms["pixels"] = 0 * logits.sum()
        if section.method != "pixels" and len(batch.target):
            terms["blocks"] = self._of_blocks(logits, index, batch.target)
        return terms or {"blocks": 0 * logits.sum()}

    def _of_blocks(self, logits: Tensor, index: Tensor, coarse: Tensor) -> Tensor:
        section, found = self.job.blocks, counts.block_means(logits, index, len(coarse))
        eta = self.table.mean[coarse]
        if section.method == "llp":
            return counts.llp(found.p, eta)
        if section.method == "qr":
            return counts.implicit_posterior(found.p, eta)
        if section.method == "soft":
            return counts.pixel_target(found.log_p, eta)
        if section.method == "hard":
            return counts.pixel_target(found.log_p, nn.functional.one_hot(eta.argmax(1), eta.shape[1]).float())
        order = coarse.argsort(stable=True)
        groups, lengths = coarse[order].unique_consecutive(return_counts=True)
        if section.grouping != "intra" and bool((lengths > 1).any()):
            # A single block tells nothing of how blocks of its class differ.
            several = lengths > 1
            order = order[several.repeat_interleave(lengths)]
            groups, lengths = groups[several], lengths[several]
        found = found.take(order)
        return counts.moments_loss(
            found.p,
            found.spread / section.effective,
            lengths,
            self.table.mean[groups],
            self.table.sd[groups],
            grouping=section.grouping,
            distance=section.distance,
        )

    def learned(self, net: nn.Module) -> BlocksCard:
        """Return the card; training finds out nothing that is not in the weights."""
        return self.card

    def parameter_groups(self, net: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
        """All weights learn alike."""
        return [(list(net.parameters()), 1.0)]
