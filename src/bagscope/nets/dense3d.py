"""The same network for shapes on whole grids: what the sparse one is held against."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

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
    """Logits (volumes, K) of shapes by dense convolutions on their whole grid; layers, description as `ShapeNet`.

    Parameters
    ----------
    features, outputs, widths, dropout : as `ShapeNet`.
    """

    def __init__(self, features: int, outputs: int, widths: tuple[int, ...] = (16, 32, 48, 64), dropout: float = 0.4):
        super().__init__()
        self.stem = nn.Conv3d(features, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList([DenseBlock(width) for width in widths])
        self.steps = nn.ModuleList([nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)])
        self.norms = nn.ModuleList([nn.BatchNorm3d(width) for width in widths])
        self.rectify = RectifiedReLU()
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(sum(widths) + widths[-1] + 1, outputs)

    def described(self, features: Tensor, sites: Sites) -> Tensor:
        """Describe each shape, (volumes, D)."""
        multiple = 2 ** len(self.steps)
        found = [torch.log(sites.lengths.to(features.dtype))[:, None] - math.log(1000)]
        x = to_dense(features, sites)
        room = [-n % multiple for n in reversed(x.shape[2:])]
        x = nn.functional.pad(x, [edge for n in room for edge in (0, n)])
        x = self.stem(x)
        for at, (block, norm) in enumerate(zip(self.blocks, self.norms, strict=True)):
            x = block(x)
            seen = self.rectify(norm(x))
            found.append(seen.mean((2, 3, 4)))
            if at < len(self.steps):
                x = self.steps[at](seen)
        return torch.cat([*found, seen.amax((2, 3, 4))], 1)

    def forward(self, features: Tensor, sites: Sites) -> Tensor:
        """Judge shapes."""
        return self.last(self.dropout(self.described(features, sites)))
