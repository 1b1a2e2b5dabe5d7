"""Which shapes a training step sees and how they lie: class-balanced bags, each shape in a pose of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bagscope.feed.batch import Batch
from bagscope.feed.orders import balanced, rng_for
from bagscope.ops.rotate import small_rotations, spread_rotations, spread_shifts, uniform_rotations
from bagscope.volumes.shapes import BLOCK, Pose, Shape, VoxelGrid, on_voxel_grid

_VIEWS = 20171
# How far apart poses are shifted against the grid, in cells: by a whole block of what the network gathers, so that
# every part of a shape comes to lie everywhere in it. Where the given frame has a meaning, a place in it has one, too:
# there by a few cells, so that it matters less where cells, and the first pairs of them, cut a shape.
_SHIFTED = {"full": float(BLOCK), "small": 3.0, "none": 3.0}
# Small rotations are judged over a wider range than they are trained in: the mean changes less when a shape is turned.
_WIDER = 1.5
_WATCHED_VIEWS = 2


@dataclass(frozen=True)
class Rotations:
    """How shapes may lie, see the settings of `turns`."""

    range: str
    sd: float
    mirror: bool
    scale: float
    shear: float
    views: int

    def sample(self, rng: np.random.Generator) -> Pose:
        """Draw a pose for training."""
        matrix = self._rotation(rng)
        if self.mirror and rng.random() < 0.5:
            matrix = matrix * np.array([1.0, 1.0, -1.0])
        bent = np.eye(3) + self.shear * rng.standard_normal((3, 3))
        return Pose(
            matrix @ bent * np.exp(rng.uniform(-self.scale, self.scale)),
            _SHIFTED[self.range] * rng.uniform(-0.5, 0.5, 3),
        )

    def _rotation(self, rng: np.random.Generator) -> np.ndarray:
        if self.range == "full":
            return uniform_rotations(rng, 1)[0]
        return small_rotations(rng, 1, self.sd)[0] if self.range == "small" else np.eye(3)

    def evaluation(self, count: int | None = None) -> list[Pose]:
        """Return the poses whose logits are averaged, the same ones each time, shifted; every other is mirrored.

        Small rotations come with their opposites, so that the given pose is their middle.
        """
        count = count or self.views
        if self.range == "full":
            matrices = list(spread_rotations(count))
        elif self.range == "small":
            half = small_rotations(np.random.default_rng(_VIEWS), -(-count // 2), _WIDER * self.sd)
            matrices = [one for pair in zip(half, half.transpose(0, 2, 1), strict=True) for one in pair][:count]
        else:
            matrices = [np.eye(3)] * min(count, 1 + self.mirror)
        # Pairs of opposite rotations are mirrored together; without rotations, the second of two poses.
        each = 2 if self.range == "small" else 1
        mirrored = [self.mirror and bool(at // each % 2) for at in range(len(matrices))]
        axes = [np.array([1.0, 1.0, -1.0 if one else 1.0]) for one in mirrored]
        shifts = _SHIFTED[self.range] * spread_shifts(len(matrices))
        return [Pose(matrix * axis, shift) for matrix, axis, shift in zip(matrices, axes, shifts, strict=True)]


@dataclass(frozen=True)
class Bags:
    """Bags of one part: shapes of each, (B, K) targets (all 0: no class), and (B,) ids for messages."""

    shapes: Sequence[Sequence[Shape]]
    targets: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.shapes)


class ShapeFeed:
    """Class-balanced bags: step in, batch out, the same whenever it is asked.

    Parameters
    ----------
    size : bags per step. most : shapes of a bag that a step looks at.
    """

    def __init__(self, bags: Bags, lattice: VoxelGrid, turns: Rotations, size: int, most: int, seed: int):
        self.bags, self.lattice, self.turns, self.size, self.most, self.seed = bags, lattice, turns, size, most, seed
        of_class = [np.flatnonzero(bags.targets[:, k] > 0) for k in range(bags.targets.shape[1])]
        of_class.append(np.flatnonzero(bags.targets.sum(1) == 0))
        self._pools = [rows for rows in of_class if len(rows)]

    def step(self, step: int, device: torch.device) -> Batch:
        """Return the bags of one step."""
        rng = rng_for(self.seed, 1, step)
        pools = balanced(rng, len(self._pools), self.size)
        # Without replacement as long as a class has enough bags.
        order = {pool: rng.permutation(self._pools[pool]) for pool in range(len(self._pools))}
        taken = dict.fromkeys(order, 0)
        chosen = []
        for pool in pools.tolist():
            chosen.append(int(order[pool][taken[pool] % len(order[pool])]))
            taken[pool] += 1
        shapes, lengths = [], []
        for bag in chosen:
            own = self.bags.shapes[bag]
            picked = rng.choice(len(own), min(len(own), self.most), replace=False)
            shapes += [own[at] for at in picked]
            lengths.append(len(picked))
        poses = [self.turns.sample(rng_for(self.seed, 2, step, item)) for item in range(len(shapes))]
        return self._batch(shapes, poses, lengths, chosen, device)

    def fixed(self, device: torch.device) -> Iterator[Batch]:
        """Every bag in a few fixed poses, for watching."""
        for pose in self.turns.evaluation(_WATCHED_VIEWS):
            for first in range(0, len(self.bags), self.size):
                chosen = list(range(first, min(first + self.size, len(self.bags))))
                own = [self.bags.shapes[bag][: self.most] for bag in chosen]
                shapes = [shape for bag in own for shape in bag]
                yield self._batch(shapes, [pose] * len(shapes), [len(bag) for bag in own], chosen, device)

    def _batch(
        self, shapes: list[Shape], poses: list[Pose], lengths: list[int], chosen: list[int], device: torch.device
    ) -> Batch:
        sites, features = on_voxel_grid(shapes, poses, self.lattice)
        target = torch.from_numpy(self.bags.targets[chosen].astype(np.float32)).to(device)
        return Batch(
            (features.to(device), sites.to(device)), torch.tensor(lengths), target, self.bags.ids[np.array(chosen)]
        )
