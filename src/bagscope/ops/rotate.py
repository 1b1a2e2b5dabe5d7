"""Turning shapes: uniform random rotations, evenly spread ones, and points back into voxels."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bagscope.ops.sparse import LARGEST_LOOKUP, Sites, make_sites

# Super-Fibonacci spirals: the square root of two, and the real root of x^4 = x + 4.
_PHI, _PSI = math.sqrt(2), 1.533751168755204288118041


def from_quaternions(q: np.ndarray) -> np.ndarray:
    """Return the rotations (N, 3, 3) of quaternions (N, 4) of any length but 0: real part first."""
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def uniform_rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw rotations (N, 3, 3), all of them equally likely: four normal numbers are a random quaternion."""
    return from_quaternions(rng.standard_normal((count, 4)))


def small_rotations(rng: np.random.Generator, count: int, sd: float) -> np.ndarray:
    """Draw rotations (N, 3, 3) about random axes, by normal vectors of angles of standard deviation `sd` (radians)."""
    vector = sd * rng.standard_normal((count, 3))
    angle = np.linalg.norm(vector, axis=1, keepdims=True)
    axis = np.where(angle > 0, vector / np.where(angle > 0, angle, 1), [0.0, 0.0, 1.0])
    return from_quaternions(np.concatenate([np.cos(angle / 2), np.sin(angle / 2) * axis], 1))


def spread_rotations(count: int) -> np.ndarray:
    """Return rotations (N, 3, 3) that lie as evenly as possible, the same ones each time.

    Source: Alexa, Super-Fibonacci spirals, CVPR 2022.
    """
    s = np.arange(count) + 0.5
    t = s / count
    inner, outer = np.sqrt(t), np.sqrt(1 - t)
    alpha, beta = 2 * np.pi * s / _PHI, 2 * np.pi * s / _PSI
    # Its first part is the last here; which parts are called which turns all of them alike.
    q = np.stack([outer * np.cos(beta), inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta)], 1)
    return from_quaternions(q)


def spread_shifts(count: int) -> np.ndarray:
    """Return shifts (count, 3) in [-0.5, 0.5) that are spread evenly, the first one 0.

    Source: multiples of the inverse powers of the root of x^4 = x + 1, the R sequence of M. Roberts (2018).
    """
    root = 1.2207440846057596
    return (np.arange(count)[:, None] * root ** -np.arange(1.0, 4.0) + 0.5) % 1 - 0.5


def into_cells(points: Tensor, values: Tensor, volume: Tensor, cell: float, side: int) -> tuple[Sites, Tensor]:
    """Gather points into cells: which are occupied, by how much, and the mean of their values there.

    The middle of the grid is the origin of the points; those beyond it are left out.

    Parameters
    ----------
    points : (N, 3) z, y, x. values : (N, F). volume : (N,) number of each point's volume, rising from 0.
    cell : edge of a cell, in the unit of the points.
    side : cells each way.

    Returns
    -------
    The occupied cells, and (M, 1 + F) their features: points of a cell divided by their mean in its volume, values.

    Raises
    ------
    SparseError : a volume of which no point lies within the grid.
    """
    place = torch.floor(points / cell).long() + side // 2
    inside = ((place >= 0) & (place < side)).all(1)
    volumes = int(volume[-1]) + 1
    if not bool(inside.all()):
        place, values, volume = place[inside], values[inside], volume[inside]
    keys = ((volume * side + place[:, 0]) * side + place[:, 1]) * side + place[:, 2]
    total = volumes * side**3
    if total <= LARGEST_LOOKUP:
        # Counting on the whole grid is several times faster than sorting the points.
        every = torch.bincount(keys, minlength=total)
        found = every.nonzero()[:, 0]
        row = torch.empty(total, dtype=torch.long, device=keys.device)
        row[found] = torch.arange(len(found), device=keys.device)
        row, counts = row[keys], every[found]
    else:
        found, row, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    sites_at = torch.stack([found // side**3, found // side**2 % side, found // side % side, found % side], 1)
    sites, _ = make_sites(sites_at, (side, side, side), volumes)
    full = counts.to(values.dtype)
    means = values.new_zeros(len(found), values.shape[1]).index_add(0, row, values) / full[:, None]
    own = sites_at[:, 0]
    mean = full.new_zeros(volumes).index_add(0, own, full) / sites.lengths
    return sites, torch.cat([(full / mean[own])[:, None], means], 1)
