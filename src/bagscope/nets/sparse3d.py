"""Networks on occupied voxels alone: layers for a batch of sites, and one that judges shapes."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d

from bagscope.nets.jacobian import RectifiedReLU
from bagscope.ops import sparse
from bagscope.ops.bags import bag_max, bag_mean
from bagscope.ops.sparse import Halved, Sites

# From this share of occupied sites on, a dense convolution is faster; see benchmarks/README.md.
DENSE_FROM = 0.6


class _SparseConv3d(nn.Module):
    """Weights (places, F, G) of a kernel of so many places, started for rectifiers, and a bias (G,)."""

    def __init__(self, places: int, features: int, outputs: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(places, features, outputs))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (places * features)))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def _biased(self, found: Tensor) -> Tensor:
        return found if self.bias is None else found + self.bias


class SubmanifoldConv3d(_SparseConv3d):
    """Convolution of 3 x 3 x 3 at the occupied sites alone: (N, F) to (N, G); no new site becomes occupied."""

    def __init__(self, features: int, outputs: int, bias: bool = True):
        super().__init__(27, features, outputs, bias)

    def forward(self, features: Tensor, sites: Sites) -> Tensor:
        """Convolve; as a dense convolution where most sites are occupied, which gives the same."""
        if sites.occupancy <= DENSE_FROM:
            return self._biased(sparse.submanifold(features, self.weight, sites))
        kernel = self.weight.reshape(3, 3, 3, *self.weight.shape[1:]).permute(4, 3, 0, 1, 2)
        dense = conv3d(sparse.to_dense(features, sites), kernel, padding=1)
        return self._biased(sparse.from_dense(dense, sites))


class StridedConv3d(_SparseConv3d):
    """Convolution of 2 x 2 x 2 blocks: (N, F) at the finer sites to (M, G) at the coarser ones."""

    def __init__(self, features: int, outputs: int, bias: bool = True):
        super().__init__(8, features, outputs, bias)

    def forward(self, features: Tensor, halved: Halved) -> Tensor:
        """Convolve."""
        return self._biased(sparse.strided(features, self.weight, halved))


class Block(nn.Module):
    """Two submanifold convolutions with a way round them: f + c(relu(n(c(relu(n(f)))))), normalised first."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])
        last = SubmanifoldConv3d(width, width, bias=False)
        self.layers = nn.ModuleList([SubmanifoldConv3d(width, width, bias=False), last])
        self.rectify = RectifiedReLU()
        nn.init.zeros_(last.weight)  # a block begins as nothing but its way round

    def forward(self, features: Tensor, sites: Sites) -> Tensor:
        """Add what the block finds."""
        x = features
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = layer(self.rectify(norm(x)), sites)
        return features + x


class ShapeNet(nn.Module):
    """Logits (volumes, K) of shapes from their occupied sites: twelve sparse layers on four resolutions.

    A shape is described by the mean of every resolution's features, the largest of the last one's, and the logarithm of
    its number of sites.

    Parameters
    ----------
    features : F of each site. outputs : K.
    widths : features at each resolution, the finest first.
    dropout : share of the description that is left out while training.

    Source: A. Kalinin's slides of 2017 on sparse networks for nuclear shape; layers after Graham and van der Maaten.
    """

    def __init__(self, features: int, outputs: int, widths: tuple[int, ...] = (16, 32, 48, 64), dropout: float = 0.4):
        super().__init__()
        self.stem = SubmanifoldConv3d(features, widths[0])
        self.blocks = nn.ModuleList([Block(width) for width in widths])
        self.steps = nn.ModuleList([StridedConv3d(fine, coarse) for fine, coarse in pairwise(widths)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for width in widths])
        self.rectify = RectifiedReLU()
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(sum(widths) + widths[-1] + 1, outputs)

    def embed(self, features: Tensor, sites: Sites) -> Tensor:
        """Describe each shape, (volumes, D)."""
        found = [torch.log(sites.lengths.to(features.dtype))[:, None] - math.log(1000)]
        x = self.stem(features, sites)
        for at, (block, norm) in enumerate(zip(self.blocks, self.norms, strict=True)):
            x = block(x, sites)
            seen = self.rectify(norm(x))
            found.append(bag_mean(seen, sites.lengths))
            if at < len(self.steps):
                x, sites = self.steps[at](seen, sites.halved), sites.halved.sites
        return torch.cat([*found, bag_max(seen, sites.lengths)], 1)

    def forward(self, features: Tensor, sites: Sites) -> Tensor:
        """Judge shapes."""
        return self.last(self.dropout(self.embed(features, sites)))
