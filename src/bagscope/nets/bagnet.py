"""A whole model for images: class maps, a pooling that makes bags of them, and a last layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEAD_START = 8.0


class BagNet(nn.Module):
    """Images to class maps, maps to bag log-odds, log-odds to the last layer's logits.

    Parameters
    ----------
    body : maps (S, C, H, W) to logits (S, K, h, w); has a `grid`, and `instances` with a score behind the logits.
    pooling : maps instances, (N, K) logits or (N, K + 1) with scores, and lengths (B,) to log-odds (B, K).
    classes : K.
    none_output : whether the last layer has an output of its own for `none`.
    cells : a network like `body` that has learned once more, from single cells; None: `body` judges them too.

    Source: Kraus, Ba and Frey 2016, figure 1.
    """

    def __init__(
        self, body: nn.Module, pooling: nn.Module, classes: int, none_output: bool, cells: nn.Module | None = None
    ):
        super().__init__()
        self.body = body
        self.cells = cells
        self.pooling = pooling
        self.head = nn.Linear(classes, classes + none_output)
        # A scaled identity: with a random start the last layer lags far behind the bags it reads. A class starts
        # level with `none`, or with its absence, where its probability is one half.
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[:classes].copy_(HEAD_START * torch.eye(classes))
            self.head.bias.zero_()
            self.head.bias[:classes].fill_(-HEAD_START / 2)

    def maps(self, images: Tensor) -> Tensor:
        """Map images (S, C, H, W) to logits (S, K, h, w)."""
        return self.body(images)

    def instances(self, images: Tensor) -> Tensor:
        """Map images (S, C, H, W) to what the pooling takes: logits (S, K, h, w), and scores if it wants them."""
        wanted = self.body.instances if self.pooling.wants_scores else self.body
        return wanted(images)  # type: ignore[operator]

    def cell_maps(self, images: Tensor) -> Tensor:
        """Map windows of single cells (S, C, H, W) to logits (S, K, h, w)."""
        return self.body(images) if self.cells is None else self.cells(images)

    def pool_and_classify(self, logits: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map instances, bag after bag, to log-odds (B, K) and the last layer's logits (B, K or K + 1).

        Both in the type of the last layer's weights, also where the maps were made in half precision.
        """
        with torch.autocast(logits.device.type, enabled=False):
            log_odds = self.pooling(logits.to(self.head.weight.dtype), lengths)
            return log_odds, self.head(torch.sigmoid(log_odds))

    def learned_thresholds(self) -> tuple[float, ...] | None:
        """Return the pooling's threshold of each class; None for a pooling without thresholds."""
        thresholds = self.pooling.thresholds()  # type: ignore[operator]
        return None if thresholds is None else tuple(thresholds.detach().cpu().tolist())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judge images, each a bag of its own class map's elements."""
        maps = self.instances(images)
        size, each, h, w = maps.shape
        instances = maps.permute(0, 2, 3, 1).reshape(-1, each)
        return self.pool_and_classify(instances, torch.full((size,), h * w, device=maps.device))
