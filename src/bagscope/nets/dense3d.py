"""The same network for shapes on whole grids: what the sparse one is held against."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from bagscope.nets.jacobian import RectifiedReLU
from bagscope.ops.sparse import Sites, to_dense


class DenseBlock(nn.Module):
    """As `sparse3d.Block`, on a dense grid."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm3d(width), nn.BatchNorm3d(width)])
        self.layers = nn.ModuleList([nn.Conv3d(width, width, 3, padding=1, bias=False) for _ in range(2)])
        self.rectify = RectifiedReLU()
        nn.init.zeros_(self.layers[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block finds."""
        found = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            found = layer(self.rectify(norm(found)))
        return x + found


class DenseShapeNet(nn.Module):
    """Logits (volumes, K) of shapes by dense convolutions on their whole grid; blocks and description as `ShapeNet`.

    The first layer halves the grid, as is usual for dense networks in 3D: without, they take eight times as long. A
    shape is described by the mean and the largest of features where it is, as in the sparse network; empty cells would
    outnumber it.

    Parameters
    ----------
    features, outputs, widths, dropout : as `ShapeNet`.
    """

    def __init__(self, features: int, outputs: int, widths: tuple[int, ...] = (16, 32, 48, 64), dropout: float = 0.4):
        super().__init__()
        self.stem = nn.Conv3d(features, widths[0], 4, stride=2, padding=1)
        self.blocks = nn.ModuleList([DenseBlock(width) for width in widths])
        self.steps = nn.ModuleList([nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)])
        self.norms = nn.ModuleList([nn.BatchNorm3d(width) for width in widths])
        self.rectify = RectifiedReLU()
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(sum(widths) + widths[-1] + 1, outputs)

    def embed(self, features: Tensor, sites: Sites) -> Tensor:
        """Describe each shape, (volumes, D)."""
        found = [torch.log(sites.lengths.to(features.dtype))[:, None] - math.log(1000)]
        x = _even(to_dense(features, sites).contiguous(memory_format=torch.channels_last_3d))
        filled = max_pool3d(_even(to_dense(features.new_ones(len(features), 1), sites)), 2)
        x = self.stem(x)
        for at, (block, norm) in enumerate(zip(self.blocks, self.norms, strict=True)):
            x = block(x)
            seen = self.rectify(norm(x))
            found.append((seen * filled).sum((2, 3, 4)) / filled.sum((2, 3, 4)))
            if at < len(self.steps):
                x, filled = self.steps[at](_even(seen)), max_pool3d(_even(filled), 2)
        return torch.cat([*found, (seen * filled).amax((2, 3, 4))], 1)

    def forward(self, features: Tensor, sites: Sites) -> Tensor:
        """Judge shapes."""
        return self.last(self.dropout(self.embed(features, sites)))


def _even(x: Tensor) -> Tensor:
    """Add an empty plane where a side is odd, so that the whole grid is halved."""
    return nn.functional.pad(x, [edge for n in reversed(x.shape[2:]) for edge in (0, n % 2)])
