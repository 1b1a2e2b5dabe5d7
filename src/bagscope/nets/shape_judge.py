"""What judges shapes: a network on their voxels, a logistic regression on their measures, and both together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from bagscope.nets.bagnet import BagNet
from bagscope.ops.sparse import Sites

# Log-odds of what a regression is sure of stay where the mean with the network's is still moved by the network.
_SUREST = 12.0
# How much of the network's and of the measures' log-odds are the log-odds of both. Chosen by cross-validation on the
# glands and the embryos' nuclei of `bagscope reproduce shapes`: the network is the better judge of the two, and both
# are surer than they are right: their mean at these shares, scaled to 1, fits labels best times .75 to .85.
_SHARES = 0.5, 0.25


class MeasuresHead(nn.Module):
    """Measures (N, M) to logits (N, O): clipped to the range that was learned from, standardised, one linear layer.

    Its numbers come from a fit elsewhere and do not learn with the network.
    """

    def __init__(self, measures: int, outputs: int):
        super().__init__()
        for name, start in (("low", -torch.inf), ("high", torch.inf), ("mean", 0.0), ("scale", 1.0)):
            # Infinite limits would be refused when a model is read.
            value = max(min(start, 3e38), -3e38)
            self.register_buffer(name, torch.full((measures,), value, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(outputs, measures, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.float64))

    def forward(self, measures: Tensor) -> Tensor:
        """Judge by measures."""
        known = torch.maximum(torch.minimum(measures.double(), self.high), self.low)  # type: ignore[arg-type]
        return ((known - self.mean) / self.scale) @ self.weight.T + self.bias  # type: ignore[operator]


class ShapeJudge(nn.Module):
    """A network and the regression beside it.

    Parameters
    ----------
    net : judges bags of shapes by their voxels; its body takes features and sites.
    measures : judges them by the mean of their measures.
    several_labels : whether classes are judged one by one.
    """

    def __init__(self, net: BagNet, measures: MeasuresHead, several_labels: bool):
        super().__init__()
        self.net, self.measures, self.several_labels = net, measures, several_labels

    def shapes(self, features: Tensor, sites: Sites) -> Tensor:
        """Logits of shapes (N, K)."""
        return self.net.body(features, sites)

    def by_network(self, logits: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (B, K) and log-probabilities (B, O) of bags of shapes; with several labels, logits."""
        log_odds, head = self.net.pool_and_classify(logits, lengths)
        return log_odds, head if self.several_labels else log_softmax(head, 1)

    def by_measures(self, measures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same by measures (B, M)."""
        logits = self.measures(measures).clamp(-_SUREST, _SUREST)
        classes = self.net.head.in_features
        if self.several_labels:
            return logits, logits
        told = log_softmax(logits, 1)
        # log p - log(1 - p), with 1 - p as the sum of all others.
        rest = [torch.logsumexp(torch.cat([told[:, :k], told[:, k + 1 :]], 1), 1) for k in range(classes)]
        return told[:, :classes] - torch.stack(rest, 1), told


def blend(network: tuple[Tensor, Tensor], measures: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return a half of the network's log-odds and log-probabilities plus a quarter of the measures'."""
    log_odds, head = (_SHARES[0] * a + _SHARES[1] * b for a, b in zip(network, measures, strict=True))
    return log_odds, head
