"""How a stack becomes nuclei: found where nobody has found them, cut out one by one, the unfit ones left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.segmentation import watershed

# Of the smallest edge of a voxel: smoothing of grey values, and of the depth by which touching nuclei are parted.
GREY_SIGMA, DEPTH_SIGMA = 1.0, 2.0
# Of the deepest place of a nucleus: seeds stand where depth is above this share of what is near.
_SEED_REACH = 3


@dataclass(frozen=True)
class Cut:
    """One nucleus of a stack.

    number : its label there. box : slices z, y, x of the stack. mask : (z, y, x) bool within the box.
    at_border : it touches the stack's outside. touching : share of its surface that touches other nuclei.
    """

    number: int
    box: tuple[slice, slice, slice]
    mask: np.ndarray
    at_border: bool
    touching: float

    @property
    def middle(self) -> tuple[float, float, float]:
        """Centre of mass in voxels of the stack."""
        inside = np.argwhere(self.mask).mean(0)
        z, y, x = (float(at) + part.start for at, part in zip(inside, self.box, strict=True))
        return z, y, x


def cut_out(labels: np.ndarray, *, alone: bool = False) -> Iterator[Cut]:
    """Cut out every nucleus of a label stack, in the order of their numbers.

    Parameters
    ----------
    labels : (Z, Y, X) whole numbers, 0 = background.
    alone : everything that is not 0 is one solid, which touches nothing; its number is the largest one.
    """
    if alone:
        numbers, dense = np.array([labels.max() if labels.size else 0]), (labels != 0).astype(np.uint8)
    else:
        # Numbers may be as large as their type allows; what is searched for objects counts from 1.
        every, inverse = np.unique(labels, return_inverse=True)
        numbers = every[every != 0]
        rank = np.zeros(len(every), np.int32)
        rank[every != 0] = np.arange(1, len(numbers) + 1)
        dense = rank[inverse].reshape(labels.shape)
    for at, box in enumerate(ndimage.find_objects(dense), start=1):
        if box is None:
            continue
        ends = zip(box, dense.shape, strict=True)
        at_border = any(part.start == 0 or part.stop == size for part, size in ends)
        touching = 0.0 if alone else _touching(dense, box, at)
        yield Cut(int(numbers[at - 1]), box, dense[box] == at, at_border, touching)


def _touching(labels: np.ndarray, box: tuple[slice, ...], number: int) -> float:
    """Share of the faces of a nucleus' surface behind which another nucleus lies."""
    wide = tuple(slice(max(0, p.start - 1), p.stop + 1) for p in box)
    near = np.pad(labels[wide], 1)
    own, faces, others = near == number, 0, 0
    for axis in range(3):
        for step in (1, -1):
            beyond = np.roll(near, step, axis)
            edge = own & (beyond != number)
            faces += int(edge.sum())
            others += int((edge & (beyond != 0)).sum())
    return others / max(1, faces)


def find_nuclei(grey: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, float]:
    """Find nuclei in a stack of grey values: Otsu's threshold on smoothed values, touching ones parted by their depth.

    Parameters
    ----------
    grey : (Z, Y, X). spacing : edges of a voxel.

    Returns
    -------
    (Z, Y, X) int32 labels, 0 = background, and the threshold.

    Source: Otsu 1979; watershed on the distance transform as in Kalinin's pipeline (slides of 2017).
    """
    edges = np.asarray(spacing, float)
    sigma = GREY_SIGMA * edges.min() / edges
    smooth = gaussian(grey.astype(np.float32), sigma, preserve_range=True)
    if smooth.max() <= smooth.min():
        return np.zeros(grey.shape, np.int32), float(smooth.max())
    threshold = float(threshold_otsu(smooth))
    mask = ndimage.binary_fill_holes(smooth > threshold)
    deep = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=edges)[1:-1, 1:-1, 1:-1]
    deep = gaussian(deep, DEPTH_SIGMA * edges.min() / edges, preserve_range=True)
    size = [2 * int(np.ceil(_SEED_REACH * edges.min() / edge)) + 1 for edge in edges]
    peaks = (ndimage.maximum_filter(deep, size=size) == deep) & mask
    seeds = label(peaks, connectivity=3)
    return watershed(-deep, seeds, mask=mask).astype(np.int32), threshold
