"""Which pixels make up one thing: masks into instances, seeds into cells, and where each of them lies.

Label images are (H, W) whole numbers, 0 outside and any positive number for the pixels of one thing; numbers are kept
as they came. Neighbours share a side, as in the lattice: what touches by a corner is two things.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label as connected
from skimage.measure import regionprops_table
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import relabel_sequential, watershed

from bagscope.errors import BagscopeError

# Darkest pixels of an image that are taken for empty, in per cent.
DARK = 2.0
# Two parts are one where the neck between them is wider than this share of the narrower part: two equal discs are
# parted when their centres are 1.4 radii apart. Just below 1 / sqrt(2), by which the pixels alone make a slanting
# thing narrower: of 600 ellipses 1 to 28 pixels wide none was cut at .7, 17 at .75.
NECK = 0.7
_CROSS = ndimage.generate_binary_structure(2, 1)


class RegionError(BagscopeError, ValueError):
    """Masks, labels or points that do not fit each other or mean nothing."""


@dataclass(frozen=True)
class RegionTable:
    """Where the things of a label image lie; one row for each, by rising label.

    label : (N,) number in the label image, in its type.
    y, x : (N,) mean of the pixels' rows and columns; it may lie outside a bent thing.
    area : (N,) pixels.
    top, left, bottom, right : (N,) bounding box; the last two are the first row and column behind it.
    """

    label: np.ndarray
    y: np.ndarray
    x: np.ndarray
    area: np.ndarray
    top: np.ndarray
    left: np.ndarray
    bottom: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


def otsu_log(image: np.ndarray, softening: float = 1 / 255) -> float:
    """Grey value above which a pixel is foreground: Otsu's threshold on log grey.

    On log grey dim cells weigh as much as bright ones. Multiplying all grey values, or adding the same to all, does
    the same to the threshold. No pixel of an image of one grey value lies above it.

    Parameters
    ----------
    image : (H, W) grey values, finite.
    softening : > 0, added before the logarithm as a share of the brightest pixel over the darkest ones; what is
        dimmer counts little. Grey 0 has no logarithm; a step of 8 bits keeps the noise of the background together.

    Raises
    ------
    RegionError : an image without pixels or with values that are no finite numbers.
    """
    grey = np.asarray(image, np.float64)
    if grey.size == 0 or not np.isfinite(grey).all():
        cause = f"an image of shape {grey.shape} without pixels, or with values that are no finite numbers"
        raise RegionError(cause, "A threshold needs grey values.", code="bad_grey")
    dark = np.percentile(grey, DARK)
    above = np.maximum(grey - dark, 0)
    soft = softening * above.max()
    if soft == 0:
        return float(grey.max())
    return float(dark + np.exp(threshold_otsu(np.log(above + soft))) - soft)


def two_levels(grey: np.ndarray) -> tuple[float, float]:
    """Means of the two groups of values that Otsu's threshold tells apart; the same twice for a single value.

    The threshold itself may stand anywhere between two groups that do not touch, and stands at the lower one; the
    middle of these means lies between them.
    """
    is_high = grey > threshold_otsu(grey)
    groups = [group for group in (grey[~is_high], grey[is_high]) if len(group)]
    return float(groups[0].mean()), float(groups[-1].mean())


def instances(mask: np.ndarray, min_area: int = 1, neck: float = NECK) -> np.ndarray:
    """Part a mask into things, cut where it is narrow.

    Every pixel of the mask belongs to one thing, but for those of things below `min_area`; a hole belongs to none,
    and the edge of the image is an edge of the mask. An ellipse is not cut.

    Parameters
    ----------
    mask : (H, W) bool.
    min_area : things of fewer pixels are left out, after cutting.
    neck : two parts are one where the mask between them is wider than this share of the narrower part, in [0, 1);
        0 cuts nothing.

    Returns
    -------
    (H, W) int32: 0 outside, things 1 to N, from top to bottom by their middles.

    Raises
    ------
    RegionError : not a (H, W) mask, or `neck` outside [0, 1).
    """
    _check_mask(mask)
    if not 0 <= neck < 1:
        cause = f"neck = {neck!r} is not a share from 0 to below 1"
        raise RegionError(cause, f"Usual is {NECK}; 0 cuts nothing.", code="bad_neck")
    parts = connected(mask, connectivity=1)
    if neck > 0:
        parts = _cut(np.pad(mask, 1), neck)[1:-1, 1:-1]
    area = np.bincount(parts.ravel())
    return relabel_sequential(np.where(area[parts] >= min_area, parts, 0))[0].astype(np.int32)


def class_instances(classes: np.ndarray, min_area: int = 1, neck: float = NECK) -> tuple[np.ndarray, np.ndarray]:
    """Part the masks of several classes into things, none of which holds pixels of two classes.

    Parameters
    ----------
    classes : (H, W) whole numbers, 0 background, k + 1 where class k is.
    min_area, neck : as for `instances`.

    Returns
    -------
    labels : (H, W) int32: 0 outside, things 1 to N, class by class.
    of_class : (N,) k of each thing.

    Raises
    ------
    RegionError : not a (H, W) image of whole numbers from 0, or as `instances`.
    """
    check_labels(classes)
    labels, of_class = np.zeros(classes.shape, np.int32), [np.zeros(0, np.int64)]
    count = 0
    for value in np.unique(classes[classes > 0]):
        found = instances(classes == value, min_area, neck)
        here = int(found.max())
        labels[found > 0] = found[found > 0] + count
        of_class.append(np.full(here, int(value) - 1))
        count += here
    return labels, np.concatenate(of_class)


def seeded_regions(seeds: np.ndarray, foreground: np.ndarray, landscape: np.ndarray | None = None) -> np.ndarray:
    """Give each seed the foreground round it: a watershed in which the seeds are the springs.

    Every seed keeps its pixels and its number. Foreground that no seed reaches over foreground belongs to none.

    Parameters
    ----------
    seeds : (H, W) label image, such as nuclei.
    foreground : (H, W) bool, such as cells; a seed's own pixels count as foreground.
    landscape : (H, W) finite; two regions meet on its ridges, such as minus the grey values of what fills the cells.
        Default: the distance to the nearest seed.

    Returns
    -------
    (H, W), dtype of `seeds`.

    Raises
    ------
    RegionError : shapes that differ, or an image of another kind.
    """
    check_labels(seeds)
    _check_mask(foreground)
    if landscape is None:
        landscape = ndimage.distance_transform_edt(seeds == 0)
    if not seeds.shape == foreground.shape == landscape.shape:
        cause = f"seeds {seeds.shape}, foreground {foreground.shape} and landscape {landscape.shape} differ in shape"
        raise RegionError(cause, "Give images of one field, none of them cut or rescaled.", code="region_shapes")
    if not np.isfinite(landscape).all():
        cause = "a landscape with values that are no finite numbers"
        raise RegionError(cause, "Give every pixel a height.", code="landscape")
    values, small = _counted(seeds)
    grown = watershed(landscape, small, mask=foreground | (small > 0), connectivity=1)
    return values[grown]


def relevance_region(found: np.ndarray, bright: np.ndarray, level: float) -> np.ndarray:
    """Pixels of a class: where its relevance map is high and the image is bright, (H, W) bool.

    High is what exceeds `level` times the map's own Otsu threshold: a map multiplied by any number gives the same
    answer. A map of one value shows nothing.

    Parameters
    ----------
    found : (H, W) the map, finite and >= 0; smoothed, because it peaks on the strokes and edges of objects.
    bright : (H, W) bool; all true for the map alone.
    level : share of the threshold; below 1 the faint parts of an object are included.

    Raises
    ------
    RegionError : shapes that differ, or values that are no finite numbers.
    """
    _check_mask(bright)
    if found.shape != bright.shape or not np.isfinite(found).all():
        cause = f"a map of {found.shape} and a mask of {bright.shape}, or values that are no finite numbers"
        raise RegionError(cause, "Give images of one field.", code="region_shapes")
    if found.max() == found.min():
        return np.zeros(found.shape, bool)
    return bright & (found > level * threshold_otsu(np.asarray(found, np.float64)))


def region_table(labels: np.ndarray) -> RegionTable:
    """Measure where the things of a label image lie; pieces of one number are one thing.

    Raises
    ------
    RegionError : not a (H, W) image of whole numbers from 0.
    """
    check_labels(labels)
    values, small = _counted(labels)
    found = regionprops_table(small, properties=("centroid", "area", "bbox"))
    y, x, area, *box = (found[name] for name in ("centroid-0", "centroid-1", "area", *(f"bbox-{i}" for i in range(4))))
    return RegionTable(values[1:], y, x, area.astype(np.int64), *box)


def labels_at(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Look up the things that points from another program fall in.

    Parameters
    ----------
    labels : (H, W) label image.
    points : (N, 2) row y and column x in pixels of the image; the centre of the first pixel is 0, 0.

    Returns
    -------
    (N,) dtype of `labels`; 0 for a point on nothing.

    Raises
    ------
    RegionError : a point outside the image or without a place, or no (N, 2) points.
    """
    check_labels(labels)
    places = np.asarray(points, np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        cause = f"points have the shape (N, 2), not {places.shape}"
        raise RegionError(cause, "Give a row y and a column x for each.", code="point_shape")
    inside = ((places > -0.5) & (places < np.array(labels.shape) - 0.5)).all(1)
    if not inside.all():
        at = int(np.flatnonzero(~inside)[0])
        cause = f"point {at + 1} at y {places[at, 0]:g}, x {places[at, 1]:g} lies outside the image of "
        cause += f"{labels.shape[0]}x{labels.shape[1]}, as do {(~inside).sum() - 1} more"
        fix = "Give centres in the image's own pixels: row y and column x, the first pixel is 0."
        raise RegionError(cause, fix, code="cell_outside")
    y, x = np.floor(places + 0.5).astype(int).T
    return labels[y, x]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks, in [0, 1]; 1 for the same mask, even an empty one.

    Raises
    ------
    RegionError : no masks, or shapes that differ.
    """
    _check_mask(a)
    _check_mask(b)
    if a.shape != b.shape:
        cause = f"masks of shapes {a.shape} and {b.shape}"
        raise RegionError(cause, "Compare masks of one field, none of them cut or rescaled.", code="region_shapes")
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def check_labels(labels: np.ndarray) -> None:
    """Refuse what is no label image.

    Raises
    ------
    RegionError : not (H, W), no whole numbers, or negative ones.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "ui":
        cause = f"a label image is (H, W) of whole numbers, not {labels.dtype} of {labels.shape}"
        raise RegionError(cause, "Give each thing a number of its own; part a mask into things first.", code="labels")
    if labels.size == 0 or labels.min() < 0:
        cause = "a label image with a negative label" if labels.size else f"a label image of {labels.shape}"
        raise RegionError(cause, "Number things from 1; 0 is background.", code="labels")


def _check_mask(mask: np.ndarray) -> None:
    if mask.ndim != 2 or mask.dtype != bool or mask.size == 0:
        cause = f"a mask is (H, W) of true and false, not {mask.dtype} of {mask.shape}"
        raise RegionError(cause, "Compare grey values with a threshold first.", code="mask")


def _counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in use, 0 first, and each pixel's place among them: libraries count in int32, up to the largest."""
    values = np.append(np.zeros(1, labels.dtype), np.unique(labels[labels > 0]))
    return values, np.searchsorted(values, labels).astype(np.int32)


def _cut(mask: np.ndarray, neck: float) -> np.ndarray:
    """Label a mask that does not touch the image's edge, cut at its necks."""
    depth = ndimage.distance_transform_edt(mask)
    log = np.where(mask, np.log(np.maximum(depth, 1)), -1e6)
    # A part has a neck towards every deeper one when its logarithm has to fall by h on the way: the maxima that are
    # left when all are cut off at h.
    cut_off = reconstruction(log + np.log(neck), log, footprint=_CROSS)
    peaks = connected(local_maxima(cut_off, connectivity=1) & mask, connectivity=1)
    return watershed(-depth, peaks, mask=mask, connectivity=1)
