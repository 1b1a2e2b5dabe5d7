"""What the network is told of a shape: where it is filled, how deep and thick it is there, how it bends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscope.errors import ImageReadError
from bagscope.ops.rotate import into_cells
from bagscope.ops.solids import depth, local_thickness, surroundings
from bagscope.ops.sparse import Sites

# Widths of the neighbourhoods whose filling the network is told, as shares of the radius of a ball of the same volume.
WIDTHS = (0.12, 0.25, 0.5)
# Numbers of a cell: how full it is, then means of depth, thickness and filled neighbourhoods of what fills it.
FEATURES = 3 + len(WIDTHS)
# A cell is met by at least so many points each way, so that a turned shape has no holes.
_POINTS_PER_CELL = 2
# Cells each way that the network's halvings gather into one. The middle is a multiple of it, so that the same cells are
# gathered whatever the grid's size, which the largest shape beside it decides.
BLOCK = 8
# A shape of more points would take gigabytes.
MOST_POINTS = 20_000_000
# Filled shares of a flat surface, so that all features are near 1.
_FILLED = 0.5


@dataclass(frozen=True)
class Shape:
    """A solid as points about its middle.

    points : (N, 3) float32, z, y, x of its voxels.
    values : (N, F) float32, depth, thickness and share of filled neighbourhoods there.
    spacing : edges of a voxel. All in um, or, brought to unit volume, in edges of the cube of the same volume.
    """

    points: np.ndarray
    values: np.ndarray
    spacing: tuple[float, float, float]

    @property
    def reach(self) -> float:
        """Distance of its farthest voxel from the middle."""
        return float(np.linalg.norm(self.points, axis=1).max() + max(self.spacing) / 2)


@dataclass(frozen=True)
class VoxelGrid:
    """The grid that shapes are laid on: edge of a cell, and what depths and thicknesses are divided by."""

    cell: float
    depth: float
    thickness: float


@dataclass(frozen=True)
class Pose:
    """How a shape is laid: matrix (3, 3) for its points, then a shift (3,) against the grid, in cells."""

    matrix: np.ndarray
    shift: np.ndarray


def make_shape(mask: np.ndarray, spacing: Sequence[float], *, unit: bool) -> Shape:
    """Describe a solid.

    Parameters
    ----------
    mask : (Z, Y, X) bool with at least one voxel; beyond it is outside. spacing : edges of a voxel.
    unit : bring it to a volume of 1.
    """
    z, y, x = map(float, spacing)
    if unit:
        factor = float(mask.sum() * z * y * x) ** (-1 / 3)
        z, y, x = factor * z, factor * y, factor * x
    inside, edges = np.argwhere(mask), (z, y, x)
    points = (inside - inside.mean(0)) * edges
    ball = float(3 * mask.sum() * z * y * x / (4 * np.pi)) ** (1 / 3)
    near = surroundings(mask, edges, [share * ball for share in WIDTHS])
    told = np.stack([depth(mask, edges)[mask], local_thickness(mask, edges)[mask], *near[:, mask]], 1)
    return Shape(points.astype(np.float32), told.astype(np.float32), edges)


def voxel_grid_of(shapes: Sequence[Shape], cells: int) -> VoxelGrid:
    """Choose a grid: a large shape (nineteen of twenty are smaller) reaches over `cells` cells.

    Over fewer, where a cell would be finer than the finest edge of a voxel: there is nothing to see within a voxel, and
    the network's time grows with the number of cells.
    """
    reach = float(np.quantile([shape.reach for shape in shapes], 0.95))
    voxel = float(np.median([min(shape.spacing) for shape in shapes]))
    values = np.mean([shape.values.mean(0) for shape in shapes], axis=0)
    return VoxelGrid(max(2 * reach / cells, voxel), float(values[0]), float(values[1]))


def refuse_huge(shape: Shape, lattice: VoxelGrid) -> None:
    """Refuse a shape far larger than those that the grid was made for, before it fills the memory.

    Raises
    ------
    ImageReadError : it would be laid on the grid as more than `MOST_POINTS` points.
    """
    if len(shape.points) * np.prod(_parts(shape, lattice.cell)) > MOST_POINTS:
        across = 2 * shape.reach / lattice.cell
        cause = f"a shape {2 * shape.reach:.4g} um across: {across:,.0f} cells of a grid that was made for far fewer"
        fix = "Check its spacing; shapes of very different sizes are compared with --set volumes.size=unit."
        raise ImageReadError(cause, fix, code="too_large")


def on_voxel_grid(shapes: Sequence[Shape], poses: Sequence[Pose], lattice: VoxelGrid) -> tuple[Sites, Tensor]:
    """Lay shapes on the grid, each in its pose: the occupied cells of all, and (N, 3) their features.

    The grid is as large as the farthest point needs; no cell of it is stored that is not occupied.
    """
    points, values, own = [], [], []
    for number, (shape, pose) in enumerate(zip(shapes, poses, strict=True)):
        found, told = _filled(shape, pose, lattice.cell)
        points.append(found)
        values.append(told)
        own.append(np.full(len(found), number))
    every = np.concatenate(points).astype(np.float32)
    reach = int(np.abs(every).max() / lattice.cell) + 2
    side = 2 * -(-reach // BLOCK) * BLOCK
    scale = np.array([lattice.depth, lattice.thickness, *[_FILLED] * len(WIDTHS)], np.float32)
    scaled = np.concatenate(values) / scale
    return into_cells(
        torch.from_numpy(every),
        torch.from_numpy(scaled),
        torch.from_numpy(np.concatenate(own)),
        lattice.cell,
        side,
    )


def _parts(shape: Shape, cell: float) -> list[int]:
    """Into how many points a voxel falls, z, y, x."""
    return [max(1, int(np.ceil(_POINTS_PER_CELL * edge / cell - 1e-6))) for edge in shape.spacing]


def _filled(shape: Shape, pose: Pose, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of a shape in its pose, coarse voxels as several of them."""
    edges = np.asarray(shape.spacing, np.float32)
    parts = _parts(shape, cell)
    # Middles of the parts that each voxel falls into.
    steps = np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5 for n in parts], indexing="ij")
    offsets = np.stack(steps, -1).reshape(-1, 3) * edges
    matrix = pose.matrix.astype(np.float32)
    points = shape.points @ matrix.T + moved(pose, cell)
    turned = (offsets @ matrix.T).astype(np.float32)
    every = (points[:, None] + turned).reshape(-1, 3)
    return every, np.repeat(shape.values, len(offsets), 0)


def moved(pose: Pose, cell: float) -> np.ndarray:
    """Shift of a pose, (3,) float32, in the unit of the points."""
    return (pose.shift * cell).astype(np.float32)
