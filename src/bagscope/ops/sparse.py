"""Occupied sites of volumes, their neighbours, and sparse convolutions that compute at these sites alone.

A batch of volumes is a list of occupied sites with a row of features each. The tables of neighbours that operators
need are built once for each resolution and shared by all layers there.

Written here in plain PyTorch because spconv and MinkowskiEngine need CUDA and a compiler that fits the installed
PyTorch: bagscope has to install with pip, and to train and score on the CPU of a laptop.

Source: Graham, arXiv 1505.02890 (2015); Graham and van der Maaten, arXiv 1706.01307 (2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

from bagscope.errors import BagscopeError

# A look-up array of so many entries takes 134 MB; of larger grids, sites are searched for.
LARGEST_LOOKUP = 1 << 25
# Rows that are gathered and multiplied at once: more leave the processor's cache, fewer are many small matrices.
ROWS_AT_ONCE = 1024
# From so many pictures on, PyTorch hands a 1x1 convolution on one thread to oneDNN.
_PICTURES = 16
_MOST_SITES = 1 << 62


class SparseError(BagscopeError, ValueError):
    """Sites or features that describe no volume."""


@dataclass(frozen=True)
class Sites:
    """The occupied sites of a batch of volumes, each once, ordered by volume, z, y and x.

    place : (N, 4) int64: number of the volume, z, y, x. shape : (Z, Y, X) of the grid. volumes : in the batch.
    lengths : (volumes,) sites of each.
    """

    place: Tensor
    shape: tuple[int, int, int]
    volumes: int

    def __len__(self) -> int:
        return len(self.place)

    def to(self, device: torch.device) -> Sites:
        """Return the sites on a device; tables are made anew there."""
        return self if self.place.device == device else Sites(self.place.to(device), self.shape, self.volumes)

    @cached_property
    def lengths(self) -> Tensor:
        """Sites of each volume, (volumes,)."""
        return torch.bincount(self.place[:, 0], minlength=self.volumes)

    @cached_property
    def occupancy(self) -> float:
        """Share of all sites that are occupied."""
        return len(self) / max(1, self.volumes * math.prod(self.shape))

    @cached_property
    def keys(self) -> Tensor:
        """Number of each site among all sites of the batch, (N,), rising."""
        return _keys(self.place, self.shape)

    @cached_property
    def neighbours(self) -> Tensor:
        """(N, 27) int32, row of each site's neighbour at offsets -1 to 1 in z, y, x; N where it is not occupied."""
        # On a grid that is padded by one, a step leads from a key to the neighbour's and never round an edge.
        room = (self.shape[0] + 2, self.shape[1] + 2, self.shape[2] + 2)
        keys = _keys(self.place + self.place.new_tensor([0, 1, 1, 1]), room)
        find = _lookup(keys, self.volumes * math.prod(room))
        table = torch.empty(len(self), 27, dtype=torch.int32, device=keys.device)
        for column, (z, y, x) in enumerate(product((-1, 0, 1), repeat=3)):
            table[:, column] = find(keys + ((z * room[1] + y) * room[2] + x))
        return table

    @cached_property
    def halved(self) -> Halved:
        """The sites of half the resolution: occupied where any of its 2 x 2 x 2 sites is."""
        return halve(self)


@dataclass(frozen=True)
class Halved:
    """Sites of half the resolution, and how they come of the finer ones.

    children : (M, 8) row of each of the eight finer sites; N where it is not occupied. parent : (N,) row of the coarser
    site. corner : (N,) which of the eight a finer site is.
    """

    sites: Sites
    children: Tensor
    parent: Tensor
    corner: Tensor


def make_sites(place: Tensor, shape: tuple[int, int, int], volumes: int) -> tuple[Sites, Tensor]:
    """Order sites, and check them.

    Parameters
    ----------
    place : (N, 4) whole numbers: volume, z, y, x.
    shape : (Z, Y, X) of the grid.
    volumes : in the batch; none of them may be empty.

    Returns
    -------
    The sites, and (N,) the order in which the given rows stand now.

    Raises
    ------
    SparseError : a site outside the grid or twice, a volume without any, or no (N, 4) whole numbers.
    """
    if place.ndim != 2 or place.shape[1] != 4 or place.is_floating_point():
        cause = f"sites of {place.dtype} and shape {tuple(place.shape)}"
        raise SparseError(cause, "Give (N, 4) whole numbers: volume, z, y, x.", code="sites")
    place = place.long()
    if volumes < 1 or min(shape) < 1 or volumes * math.prod(shape) >= _MOST_SITES:
        cause = f"{volumes} volumes of {shape}"
        raise SparseError(cause, "Give at least one volume and one site each way.", code="grid")
    size = torch.tensor([volumes, *shape], device=place.device)
    if len(place) and not bool(((place >= 0) & (place < size)).all()):
        cause = f"a site outside the grid of {volumes} volumes of {shape}"
        raise SparseError(cause, "Count volumes and voxels from 0.", code="site_outside")
    keys, order = torch.sort(_keys(place, shape), stable=True)
    if bool((keys[1:] == keys[:-1]).any()):
        cause = "a site that is there twice"
        raise SparseError(cause, "Give each occupied voxel once.", code="site_twice")
    sites = Sites(place[order], shape, volumes)
    if bool((sites.lengths == 0).any()):
        at = int((sites.lengths == 0).nonzero()[0])
        cause = f"volume {at} of {volumes} has no occupied voxel"
        raise SparseError(cause, "Leave out empty volumes: they have no shape.", code="empty_volume")
    return sites, order


def halve(sites: Sites) -> Halved:
    """Join the sites of every 2 x 2 x 2 block; see `Sites.halved`, which keeps the answer."""
    shape = tuple(-(-n // 2) for n in sites.shape)
    coarse = torch.cat([sites.place[:, :1], sites.place[:, 1:] // 2], 1)
    _, parent = torch.unique(_keys(coarse, shape), return_inverse=True)  # type: ignore[arg-type]
    count = int(parent.max()) + 1 if len(parent) else 0
    place = coarse.new_empty(count, 4)
    place[parent] = coarse
    z, y, x = (sites.place[:, 1:] % 2).T
    corner = 4 * z + 2 * y + x
    children = parent.new_full((count, 8), len(sites))
    children[parent, corner] = torch.arange(len(sites), device=parent.device)
    return Halved(Sites(place, shape, sites.volumes), children, parent, corner)  # type: ignore[arg-type]


def submanifold(features: Tensor, weight: Tensor, sites: Sites) -> Tensor:
    """Convolve at the occupied sites alone: out_i = sum_d W_d f_(i+d) over the occupied neighbours i + d.

    Equal to a dense 3 x 3 x 3 convolution with zeros at empty sites and beyond the grid, read at the occupied ones.

    Parameters
    ----------
    features : (N, F). weight : (27, F, G), offsets in the order of z, y, x.

    Returns
    -------
    (N, G)
    """
    return _Submanifold.apply(features, weight, sites.neighbours)


def strided(features: Tensor, weight: Tensor, halved: Halved) -> Tensor:
    """Convolve blocks of 2 x 2 x 2: out_o = sum_c W_c f_child(o, c) over the occupied children.

    Equal to a dense convolution of kernel 2 and stride 2, read where any of the eight sites is occupied.

    Parameters
    ----------
    features : (N, F) of the finer sites. weight : (8, F, G), corners in the order of z, y, x.

    Returns
    -------
    (M, G)
    """
    return _Strided.apply(features, weight, halved.children, halved.parent, halved.corner)


def to_dense(features: Tensor, sites: Sites) -> Tensor:
    """Return (volumes, F, Z, Y, X), 0 where no site is occupied."""
    total = sites.volumes * math.prod(sites.shape)
    flat = features if len(sites) == total else _Spread.apply(features, sites.keys, total)
    return flat.reshape(sites.volumes, *sites.shape, -1).permute(0, 4, 1, 2, 3)


def from_dense(dense: Tensor, sites: Sites) -> Tensor:
    """Read a dense batch (volumes, F, Z, Y, X) at the occupied sites, (N, F)."""
    flat = dense.permute(0, 2, 3, 4, 1).reshape(-1, dense.shape[1])
    return flat if len(sites) == len(flat) else _Taken.apply(flat, sites.keys)


class _Spread(torch.autograd.Function):
    """Rows at their places among zeros. Each place is taken once, so that the way back is to take, not to add up."""

    @staticmethod
    def forward(ctx, rows: Tensor, places: Tensor, total: int) -> Tensor:
        ctx.save_for_backward(places)
        return rows.new_zeros(total, rows.shape[1]).index_copy_(0, places, rows)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient.index_select(0, *ctx.saved_tensors), None, None


class _Taken(torch.autograd.Function):
    """Rows of some places; see `_Spread`."""

    @staticmethod
    def forward(ctx, flat: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.total = len(flat)
        return flat.index_select(0, places)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (places,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.total, gradient.shape[1]).index_copy_(0, places, gradient), None


class _Submanifold(torch.autograd.Function):
    """Gather each row's neighbours and multiply once; backwards by the same table, with the offsets reversed."""

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(features, weight, table)
        return _gathered_product(features, weight, table)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        features, weight, table = ctx.saved_tensors
        if not ctx.needs_input_grad[0]:
            return None, _weight_gradient(features, gradient, table, weight), None
        return *_both_gradients(features, gradient, weight, table), None


class _Strided(torch.autograd.Function):
    """As for the submanifold convolution; backwards, every finer site has one parent and one corner."""

    @staticmethod
    def forward(ctx, features, weight, children, parent, corner) -> Tensor:
        ctx.save_for_backward(features, weight, children, parent, corner)
        return _gathered_product(features, weight, children)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        features, weight, children, parent, corner = ctx.saved_tensors
        of_features = of_weight = None
        if ctx.needs_input_grad[0]:
            of_features = torch.empty_like(features)
            for number, one in enumerate(weight):
                rows = (corner == number).nonzero()[:, 0]
                of_features[rows] = gradient[parent[rows]] @ one.T
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(features, gradient, children, weight)
        return of_features, of_weight, None, None, None


def _gathered_product(features: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    """Return sum_d features[table[:, d]] @ weight[d], (rows, G); a row number beyond the last stands for zeros."""
    flat = weight.reshape(-1, weight.shape[2])
    out = features.new_empty(len(table), weight.shape[2])
    for rows, near in _neighbourhoods(features, table):
        out[rows] = _product(near, flat)
    return out


def _both_gradients(features: Tensor, gradient: Tensor, weight: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a submanifold convolution for features and weights, from one gathering of neighbours' gradients.

    i + d is a neighbour of i as i is one of i + d at the opposite offset, and opposite offsets stand reversed: site j
    gets sum_d W_-d g_(j+d), and weight -d gets sum_j f_j g_(j+d).
    """
    places, inputs, outputs = weight.shape
    flat = weight.flip(0).transpose(1, 2).reshape(places * outputs, inputs)
    of_features, of_weight = torch.empty_like(features), weight.new_zeros(inputs, places * outputs)
    for rows, near in _neighbourhoods(gradient, table):
        of_features[rows] = _product(near, flat)
        of_weight += _outer_product(features[rows], near)
    return of_features, of_weight.reshape(inputs, places, outputs).permute(1, 0, 2).flip(0)


def _weight_gradient(features: Tensor, gradient: Tensor, table: Tensor, weight: Tensor) -> Tensor:
    total = weight.new_zeros(weight.shape[0] * weight.shape[1], weight.shape[2])
    for rows, near in _neighbourhoods(features, table):
        total += _outer_product(gradient[rows], near).T
    return total.reshape(weight.shape)


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    """Return rows (R, K) times weight (K, N), by a 1x1 convolution where that is faster.

    For narrow matrices of float32, oneDNN's convolutions take half the time of BLAS on a CPU (benchmarks/README.md).
    """
    if not _as_pictures(rows):
        return rows @ weight
    kernel = weight.T.reshape(weight.shape[1], weight.shape[0], 1, 1)
    return conv2d(_pictures(rows), kernel).permute(0, 2, 3, 1).reshape(len(rows), -1)


def _outer_product(left: Tensor, right: Tensor) -> Tensor:
    """Return left (R, M) transposed times right (R, K), by the gradient of a 1x1 convolution where that is faster."""
    if not _as_pictures(left):
        return left.T @ right
    shape = (left.shape[1], right.shape[1], 1, 1)
    return conv2d_weight(_pictures(right), shape, _pictures(left)).reshape(shape[:2])


def _as_pictures(rows: Tensor) -> bool:
    return rows.device.type == "cpu" and rows.dtype == torch.float32 and len(rows) % _PICTURES == 0


def _pictures(rows: Tensor) -> Tensor:
    """View rows (R, K) as 16 pictures of R / 16 pixels and K channels, channels last in memory."""
    return rows.view(_PICTURES, -1, 1, rows.shape[1]).permute(0, 3, 1, 2)


def _neighbourhoods(features: Tensor, table: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield some rows of a table after the other, and what stands at all their places, (rows, places * F).

    All of them share one piece of memory: a new one each time would be cleared page by page, which takes longer than
    all products (benchmarks/README.md, sparse_speedup).
    """
    width = features.shape[1]
    padded = torch.cat([features, features.new_zeros(1, width)])
    held = features.new_empty(min(ROWS_AT_ONCE, len(table)) * table.shape[1], width)
    for first in range(0, len(table), ROWS_AT_ONCE):
        asked = table[first : first + ROWS_AT_ONCE].reshape(-1)
        near = torch.index_select(padded, 0, asked, out=held[: len(asked)])
        yield slice(first, first + ROWS_AT_ONCE), near.view(-1, table.shape[1] * width)


def _keys(place: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """One number per site (..., 4), in the order of volume, z, y, x."""
    volume, z, y, x = place.unbind(-1)
    return ((volume * shape[0] + z) * shape[1] + y) * shape[2] + x


def _lookup(keys: Tensor, total: int) -> Callable[[Tensor], Tensor]:
    """Return what finds the row of each key among sorted ones, int32; their number for one that is not there.

    Parameters
    ----------
    total : keys lie below it.
    """
    count = len(keys)
    if total <= LARGEST_LOOKUP:
        places = torch.full((total,), count, dtype=torch.int32, device=keys.device)
        places[keys] = torch.arange(count, dtype=torch.int32, device=keys.device)
        return lambda asked: places[asked]

    def search(asked: Tensor) -> Tensor:
        found = torch.searchsorted(keys, asked).clamp(max=max(0, count - 1))
        return torch.where(keys[found] == asked, found, count).int()

    return search
