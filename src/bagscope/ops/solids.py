"""How deep and how thick a solid is at each of its voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def depth(mask: np.ndarray, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Distance of each voxel of a solid to the nearest voxel outside, (Z, Y, X), in the unit of `spacing`.

    Beyond the grid is outside.
    """
    room = np.pad(mask, 1)
    return ndimage.distance_transform_edt(room, sampling=spacing)[1:-1, 1:-1, 1:-1]


def local_thickness(mask: np.ndarray, spacing: Sequence[float] = (1.0, 1.0, 1.0), steps: int = 12) -> np.ndarray:
    """Radius of the largest ball within the solid that holds a voxel, (Z, Y, X); 0 outside.

    Among `steps` radii up to the largest one, evenly spread; a voxel that no ball of the smallest of them holds has its
    own depth.

    Parameters
    ----------
    mask : (Z, Y, X) bool.
    spacing : edges of a voxel.

    Source: Hildebrand and Ruegsegger, Journal of Microscopy 185 (1997) 67.
    """
    inside = depth(mask, spacing)
    found = np.minimum(inside, inside.max() / steps)
    for radius in np.linspace(0, inside.max(), steps + 1)[1:]:
        centres = inside >= radius
        held = ndimage.distance_transform_edt(~centres, sampling=spacing) < radius
        found[held & mask] = radius
    return np.where(mask, found, 0.0)
