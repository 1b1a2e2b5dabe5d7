"""Which voxels of a shape speak for a class: the rectified way back through the sparse network."""

from __future__ import annotations

import numpy as np
import torch

from bagscope.nets.jacobian import rectified_gradients
from bagscope.nets.shape_judge import ShapeJudge
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.shapes import Pose, moved, on_voxel_grid
from bagscope.volumes.solids import Solid
from bagscope.volumes.task import rotations_of_card, voxel_grid_of_card

# Views that are averaged: few, since a voxel's share is smooth and people look at it.
VIEWS = 6


def importance_of(judge: ShapeJudge, card: ShapesCard, solid: Solid, k: int, device: torch.device) -> np.ndarray:
    """How much each voxel speaks for class k: (z, y, x) float32 of the solid's box, >= 0, largest 1.

    The gradient of the class's logit, rectified at every activation and at the input (Kraus et al. 2016, equation 4, on
    occupied voxels), summed over the features of a cell; each voxel has the value of the cell it falls into, the mean
    over a few poses.
    """
    turns, lattice = rotations_of_card(card), voxel_grid_of_card(card)
    inside = np.argwhere(solid.cut.mask)
    total = np.zeros(len(inside))
    for pose in turns.evaluation(min(VIEWS, turns.views)):
        sites, features = on_voxel_grid([solid.shape], [pose], lattice)
        sites, x = sites.to(device), features.to(device).requires_grad_()
        with torch.enable_grad(), rectified_gradients(judge.net.body):
            logit = judge.shapes(x, sites)[0, k]
            (back,) = torch.autograd.grad(logit, x)
        cells = back.clamp_(min=0).sum(1).cpu().numpy()
        total += _at_points(solid, pose, sites.place.cpu().numpy(), sites.shape[0], lattice.cell, cells)
    found = np.zeros(solid.cut.mask.shape, np.float32)
    found[tuple(inside.T)] = total / max(total.max(), 1e-12)
    return found


def _at_points(solid: Solid, pose: Pose, place: np.ndarray, side: int, cell: float, values: np.ndarray) -> np.ndarray:
    """Value of the cell that each voxel's middle falls into; 0 where that cell is not occupied."""
    # The voxels of the mask itself: the shape's may be smoothed.
    inside = np.argwhere(solid.cut.mask)
    points = (inside - inside.mean(0)) * solid.shape.spacing @ pose.matrix.T + moved(pose, cell)
    at = np.clip(np.floor(points / cell).astype(np.int64) + side // 2, 0, side - 1)
    # Occupied cells are in rising order of their numbers; a grid of all cells may be larger than the memory.
    steps = np.array([side * side, side, 1])
    occupied, asked = place[:, 1:] @ steps, at @ steps
    found = np.minimum(np.searchsorted(occupied, asked), len(occupied) - 1)
    return np.where(occupied[found] == asked, values[found], 0.0)
