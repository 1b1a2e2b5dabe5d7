"""The surface of a solid as a smooth mesh: its area, its holes, and how it bends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

# Of the mask, in voxels; a mesh of the bare voxels has steps everywhere.
SMOOTHING = 1.0
# So many rings of neighbours curvatures are averaged with.
AVERAGED = 3


@dataclass(frozen=True)
class Mesh:
    """A closed surface: points (V, 3), in the unit of the spacing, and triangles (T, 3) of their numbers."""

    points: np.ndarray
    triangles: np.ndarray

    @cached_property
    def _crosses(self) -> np.ndarray:
        a, b, c = (self.points[self.triangles[:, k]] for k in range(3))
        return np.cross(b - a, c - a)

    @cached_property
    def area(self) -> float:
        """Area of the surface."""
        return float(np.linalg.norm(self._crosses, axis=1).sum() / 2)

    @cached_property
    def volume(self) -> float:
        """Volume that it encloses, by the divergence theorem."""
        return float(abs((self.points[self.triangles[:, 0]] * self._crosses).sum() / 6))

    @cached_property
    def components(self) -> int:
        """Closed surfaces that it consists of; a hollow has one of its own."""
        return int(connected_components(self._edges, directed=False)[0])

    @cached_property
    def _edges(self) -> csr_matrix:
        one, other = self.triangles[:, [0, 1, 2]].ravel(), self.triangles[:, [1, 2, 0]].ravel()
        edges = coo_matrix((np.ones(len(one)), (one, other)), (len(self.points),) * 2).tocsr()
        return edges.maximum(edges.T)

    @cached_property
    def genus(self) -> int:
        """Holes through it, of all its components: components - (points - edges + triangles) / 2."""
        euler = len(self.points) - self._edges.nnz // 2 + len(self.triangles)
        return self.components - euler // 2

    @cached_property
    def curvatures(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Larger and smaller principal curvature of every point, positive where it bulges, and its share of the area.

        Mean curvature by the cotangent Laplacian, Gauss curvature by the deficit of angles (Meyer et al. 2003), both
        averaged with their neighbours', by area: a mesh out of voxels is rough.
        """
        points, triangles = self.points, self.triangles
        normal, share = np.zeros_like(points), np.zeros(len(points))
        laplacian, deficit = np.zeros_like(points), np.full(len(points), 2 * np.pi)
        areas = np.linalg.norm(self._crosses, axis=1) / 2
        for k in range(3):
            here, left, right = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
            u, v = points[left] - points[here], points[right] - points[here]
            cross = np.linalg.norm(np.cross(u, v), axis=1)
            dot = (u * v).sum(1)
            cotangent = dot / np.maximum(cross, 1e-12)
            np.subtract.at(deficit, here, np.arctan2(cross, dot))
            # The edge opposite to this corner pulls its two ends together by the cotangent of the corner.
            pull = cotangent[:, None] * (points[right] - points[left])
            np.add.at(laplacian, left, pull)
            np.subtract.at(laplacian, right, pull)
            np.add.at(share, here, areas / 3)
            np.add.at(normal, here, self._crosses)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        outward = 1.0 if (points[triangles[:, 0]] * self._crosses).sum() > 0 else -1.0
        mean, gauss = -outward * (laplacian * normal).sum(1) / 4, deficit
        near = self._edges + csr_matrix((np.ones(len(points)), (range(len(points)),) * 2))
        weight = share
        for _ in range(AVERAGED):
            mean, gauss, weight = near @ mean, near @ gauss, near @ weight
        mean, gauss = mean / weight, gauss / weight
        root = np.sqrt(np.maximum(mean**2 - gauss, 0))
        return mean + root, mean - root, share / share.sum()


def surface(mask: np.ndarray, spacing: Sequence[float] = (1.0, 1.0, 1.0), smoothing: float = SMOOTHING) -> Mesh:
    """Mesh the surface of a solid.

    Parameters
    ----------
    mask : (Z, Y, X) bool with at least one voxel.
    spacing : edges of a voxel.
    smoothing : standard deviation of a Gauss filter on the mask, in edges of a voxel along its finest axis. A solid
        that it wipes out is meshed as it is.
    """
    room = np.pad(mask, 4).astype(np.float32)
    sigma = smoothing * min(spacing) / np.asarray(spacing, float)
    smooth = ndimage.gaussian_filter(room, sigma) if smoothing else room
    if smooth.max() <= 0.5:
        smooth = room
    points, triangles, _, _ = marching_cubes(smooth, 0.5, spacing=tuple(spacing))
    return Mesh(points.astype(np.float64), triangles)
