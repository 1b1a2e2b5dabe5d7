"""Solids out of voxels: without their stairs, and how deep and how thick they are at each voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def smoothed(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Take the stairs of voxels off a solid's surface, keeping its volume.

    The voxels where a Gauss filter finds most, as many of them as the solid has; where several find the same, all of
    them. Structures thinner than about `sigma` are lost.

    Parameters
    ----------
    mask : (Z, Y, X) bool with at least one voxel; beyond it is outside.
    sigma : standard deviation of the filter, in voxels of each axis; 0 = as it is.

    Returns
    -------
    (Z + 2 n, Y + 2 n, X + 2 n) bool, n = ceil(3 sigma): the mask with room on every side.
    """
    if not sigma:
        return mask
    room = int(np.ceil(3 * sigma))
    soft = ndimage.gaussian_filter(np.pad(mask, room).astype(np.float32), sigma, truncate=3.0)
    filled = int(mask.sum())
    return soft >= np.partition(soft, soft.size - filled, axis=None)[soft.size - filled]


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


def surroundings(mask: np.ndarray, spacing: Sequence[float], sigmas: Sequence[float]) -> np.ndarray:
    """Share of what is filled near each voxel, weighted by a Gauss of each width, (len(sigmas), Z, Y, X).

    About one half on a flat surface, less where it bulges, more in a dent: it tells of curvature on the scale of the
    width, without a mesh. Beyond the grid is outside.

    Parameters
    ----------
    mask : (Z, Y, X) bool. spacing : edges of a voxel. sigmas : widths, in the unit of the spacing.

    Source: integral invariants, Manay et al., ECCV 2004; Pottmann et al. 2009.
    """
    edges = np.asarray(spacing, float)
    room = [int(np.ceil(2 * max(sigmas) / edge)) for edge in edges]
    wide = np.pad(mask, [(n, n) for n in room]).astype(np.float32)
    inner = tuple(slice(n, n + size) for n, size in zip(room, mask.shape, strict=True))
    return np.stack([ndimage.gaussian_filter(wide, s / edges, mode="constant", truncate=3.0)[inner] for s in sigmas])
