"""How right a map of pixels is: overlap near the true boundary, distance of boundaries, specks, consistency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Of components below so many pixels, the number per so many pixels is the number of specks of a map.
SPECK, PER = 10, 10_000


@dataclass(frozen=True)
class Overlap:
    """Pixels of an image near the true boundary: in both, in either, in each; sums over images stay sums."""

    both: int
    either: int
    truth: int
    found: int

    def __add__(self, other: Overlap) -> Overlap:
        """Pool images."""
        return Overlap(*(a + b for a, b in zip(self.counts(), other.counts(), strict=True)))

    def counts(self) -> tuple[int, int, int, int]:
        """Pixels in both, in either, of the truth, of what was found."""
        return self.both, self.either, self.truth, self.found

    @property
    def iou(self) -> float:
        """Intersection over union; NaN where nothing is."""
        return self.both / self.either if self.either else float("nan")

    @property
    def dice(self) -> float:
        """Twice the intersection over the sum."""
        return 2 * self.both / (self.truth + self.found) if self.truth + self.found else float("nan")


def boundary_band(truth: np.ndarray, width: float) -> np.ndarray:
    """Pixels at most `width` pixels from the boundary of a mask (H, W); all of none where there is no boundary."""
    if not truth.any() or truth.all():
        return np.zeros(truth.shape, bool)
    inside, outside = ndimage.distance_transform_edt(truth), ndimage.distance_transform_edt(~truth)
    return np.where(truth, inside, outside) <= width


def overlap(truth: np.ndarray, found: np.ndarray, width: float, known: np.ndarray | None = None) -> Overlap:
    """Overlap of two masks (H, W) within a band about the true boundary.

    Parameters
    ----------
    known : pixels whose truth is known; the others do not count.
    """
    near = boundary_band(truth, width)
    near = near if known is None else near & known
    a, b = truth & near, found & near
    return Overlap(int((a & b).sum()), int((a | b).sum()), int(a.sum()), int(b.sum()))


def boundary_distance(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean distance in pixels of each boundary's pixels to the other boundary, of both; NaN where one has none."""
    edges = [_edge(truth), _edge(found)]
    if not all(edge.any() for edge in edges):
        return float("nan")
    away = [ndimage.distance_transform_edt(~edge) for edge in edges]
    return float((away[1][edges[0]].mean() + away[0][edges[1]].mean()) / 2)


def _edge(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def specks_per_10k_px(found: np.ndarray) -> float:
    """Components of a mask and of its complement below ten pixels, per 10,000 pixels."""
    count = 0
    for side in (found, ~found):
        labels, _ = ndimage.label(side)
        sizes = np.bincount(labels.ravel())[1:]
        count += int((sizes < SPECK).sum())
    return count * PER / found.size
