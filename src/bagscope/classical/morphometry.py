"""Hand-crafted measures of a shape: six of the usual pipeline, and a richer set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.special import sph_harm_y
from skimage.measure import euler_number, label

from bagscope.classical.mesh import Mesh, surface
from bagscope.ops.solids import depth, local_thickness, surroundings

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Of the ball of the same volume: radii at which the share of volume in thicker places is taken.
GRAIN = np.linspace(0.1, 0.95, 12)
# In the unit of the spacing: radii of the same, which know the absolute size.
GRAIN_ABSOLUTE = np.linspace(1.0, 8.0, 15)
# Widths of neighbourhoods, as shares of the radius of the ball of the same volume.
SCALES = (0.12, 0.25, 0.5)
NEAR_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
DEGREES = 8
DIRECTIONS = 400
_BOXES = (1, 2, 4, 8)


def rich_measures(mask: np.ndarray, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> dict[str, float]:
    """Return the six usual measures, topology, axes, hull, thickness, depth, curvatures, local occupancy and harmonics.

    Parameters
    ----------
    mask : (Z, Y, X) bool with at least one voxel. spacing : edges of a voxel in um.
    """
    mesh = surface(mask, spacing)
    found = _six(mask, spacing, mesh)
    found |= {"genus": float(mesh.genus), "components": float(label(mask, connectivity=3).max())}
    found["euler"] = float(euler_number(mask, connectivity=3))
    found |= _axes_and_hull(mask, spacing, mesh) | _thickness(mask, spacing, found["volume"]) | _bends(mesh, found)
    return found | _surroundings(mask, spacing, found["volume"]) | _harmonics(mask, spacing)


def _six(mask: np.ndarray, spacing: Sequence[float], mesh: Mesh) -> dict[str, float]:
    """Volume, surface area, mean curvature, shape index, curvedness, and fractal dimension of a solid.

    Curvatures are means over the smoothed surface, by area; the shape index is 1 for a cap, 0 for a saddle, -1 for a
    cup (Koenderink and van Doorn 1992). The dimension is that of the boxes that the surface's voxels fill.
    """
    large, small, share = mesh.curvatures
    gap = large - small
    index = np.where(gap > 0, 2 / np.pi * np.arctan2(large + small, np.where(gap > 0, gap, 1)), np.sign(large))
    return {
        "volume": mesh.volume,
        "area": mesh.area,
        "mean_curvature": float((share * (large + small) / 2).sum()),
        "shape_index": float((share * index).sum()),
        "curvedness": float((share * np.sqrt((large**2 + small**2) / 2)).sum()),
        "fractal_dimension": _fractal(mask, spacing),
    }


def _fractal(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """Slope of the number of boxes that the surface's voxels touch against the boxes' edge, on logarithms.

    Boxes are cubes in um, the smallest as wide as the longest edge of a voxel.
    """
    room = np.pad(mask, 1)
    inner = np.ones_like(room)
    for axis in range(3):
        for step in (1, -1):
            inner &= np.roll(room, step, axis)
    edges = np.asarray(spacing, float) / max(spacing)
    places = (np.argwhere(room & ~inner) + 0.5) * edges
    counts = [len(np.unique(places // box, axis=0)) for box in _BOXES]
    return float(-np.polyfit(np.log(_BOXES), np.log(counts), 1)[0])


def _axes_and_hull(mask: np.ndarray, spacing: Sequence[float], mesh: Mesh) -> dict[str, float]:
    points = np.argwhere(mask) * np.asarray(spacing)
    spread = np.cov(points.T) if len(points) > 1 else np.zeros((3, 3))
    half = np.sqrt(5 * np.maximum(np.linalg.eigvalsh(spread)[::-1], 1e-12))  # of the ellipsoid of the same spread
    try:
        hull = ConvexHull(mesh.points)
        solidity, roughness = mesh.volume / hull.volume, mesh.area / hull.area
    except QhullError:
        solidity = roughness = 1.0
    extents = np.sort(np.ptp(points, axis=0))[::-1]
    return {
        "axis_1": float(half[0]),
        "axis_2": float(half[1]),
        "axis_3": float(half[2]),
        "elongation": float(half[1] / half[0]),
        "flatness": float(half[2] / half[1]),
        "sphericity": float(np.pi ** (1 / 3) * (6 * mesh.volume) ** (2 / 3) / mesh.area),
        "solidity": float(solidity),
        "hull_roughness": float(roughness),
        "log_volume": float(np.log(mesh.volume)),
        "log_area": float(np.log(mesh.area)),
        **{f"extent_{k + 1}": float(one) for k, one in enumerate(extents)},
    }


def _thickness(mask: np.ndarray, spacing: Sequence[float], volume: float) -> dict[str, float]:
    ball = (3 * volume / (4 * np.pi)) ** (1 / 3)
    inside, thick = depth(mask, spacing)[mask], local_thickness(mask, spacing)[mask]
    found = {"thickness_mean": float(thick.mean()), "thickness_sd": float(thick.std()), "depth_mean": inside.mean()}
    for name, values in (("thickness", thick), ("depth", inside)):
        for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True):
            found[f"{name}_{q:g}"] = float(value)
            found[f"{name}_{q:g}_of_ball"] = float(value / ball)
    found |= {f"grain_{r:.2f}": float((thick >= r * ball).mean()) for r in GRAIN}
    return found | {f"grain_{r:.1f}_um": float((thick >= r).mean()) for r in GRAIN_ABSOLUTE}


def _surroundings(mask: np.ndarray, spacing: Sequence[float], volume: float) -> dict[str, float]:
    """How full the neighbourhood of the surface is, on three scales: roughness and dents, without a mesh."""
    ball = (3 * volume / (4 * np.pi)) ** (1 / 3)
    room = np.pad(mask, 1)
    edge = (room & ~ndimage.binary_erosion(room))[1:-1, 1:-1, 1:-1]
    found = {}
    for share, near in zip(SCALES, surroundings(mask, spacing, [share * ball for share in SCALES]), strict=True):
        values = near[edge]
        for q, value in zip(NEAR_QUANTILES, np.quantile(values, NEAR_QUANTILES), strict=True):
            found[f"near_{share:g}_{q:g}"] = float(value)
        found[f"near_{share:g}_sd"] = float(values.std())
    return found


def _bends(mesh: Mesh, found: dict[str, float]) -> dict[str, float]:
    ball = (3 * found["volume"] / (4 * np.pi)) ** (1 / 3)
    large, small, share = mesh.curvatures
    told = {}
    for name, values in (("large", large), ("small", small), ("mean", (large + small) / 2)):
        order = np.argsort(values, kind="stable")
        below = np.cumsum(share[order])
        at = np.minimum(np.searchsorted(below, QUANTILES), len(order) - 1)
        for q, value in zip(QUANTILES, values[order][at], strict=True):
            told[f"curvature_{name}_{q:g}"] = float(value * ball)
    return told | {"concave_share": float(share[(large + small) < 0].sum())}


def _harmonics(mask: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """Energy of each degree of the outline seen from the middle, as a share of the mean radius."""
    points = np.argwhere(mask) * np.asarray(spacing)
    offsets = points - points.mean(0)
    away = np.linalg.norm(offsets, axis=1)
    at = np.arange(DIRECTIONS) + 0.5
    height, turn = 1 - 2 * at / DIRECTIONS, np.pi * (1 + np.sqrt(5)) * at
    flat = np.sqrt(1 - height**2)
    directions = np.stack([height, flat * np.sin(turn), flat * np.cos(turn)], 1)
    # The farthest voxel within a cone about each direction.
    unit = offsets / np.maximum(away, 1e-9)[:, None]
    outer = away >= np.quantile(away, 0.4)
    near = directions @ unit[outer].T > np.cos(0.16)
    radius = np.where(near, away[outer], 0).max(1)
    radius = np.where(radius > 0, radius, away.mean())
    polar, azimuth = np.arccos(height), np.arctan2(directions[:, 1], directions[:, 2])
    columns, degree_of = [], []
    for degree in range(DEGREES + 1):
        for order in range(degree + 1):
            harmonic = sph_harm_y(degree, order, polar, azimuth)
            columns += [harmonic.real] if order == 0 else [harmonic.real, harmonic.imag]
            degree_of += [degree] * (1 if order == 0 else 2)
    fitted = np.linalg.lstsq(np.stack(columns, 1), radius, rcond=None)[0]
    energy = np.bincount(degree_of, fitted**2)
    whole = energy[0] if energy[0] > 0 else 1.0
    return {f"harmonic_{k}": float(np.sqrt(energy[k] / whole)) for k in range(1, DEGREES + 1)}
