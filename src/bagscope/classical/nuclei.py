"""Where the nuclei of a field lie, from its DNA image alone."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from bagscope.classical.foreground import log_otsu
from bagscope.classical.rings import background, nuclei_of, nucleus_and_ring

# All lengths are made for nuclei of 10 to 30 pixels (BBBC013: 13 x 18); images of others are rescaled before.
SIGMA = 1.0
# Added before the logarithm, as a share of the brightest nucleus: the stain of cytoplasm is dimmer.
SOFTENING = 1 / 64
# Round an object, so far its surround reaches.
SURROUND = 5
# An object's dark and bright level, between which the half is taken: percentiles of its surround and itself. The
# ends themselves are single pixels, and a surround is partly another cell's.
DARK, BRIGHT = 10, 90
# Two parts are one nucleus when the neck between them is wider than this share of the narrower part ...
NECK = 0.8
# ... and no dark seam runs between them: less than this share of the darker part's brightness. Of 117 pairs with
# wide necks on BBBC013 that were looked at, most of those below were two nuclei, nearly all above were one.
SEAM = 0.9
# Haze, the stain of cytoplasm, stands out from its ring by a factor of 1 to 2, nuclei by 4 to 16 with few between.
CONTRAST = 3.0
# What rises over its ring by less than this share of what nuclei of its field do: of 28 such objects looked at,
# about 25 were cytoplasm or out of focus.
DIM = 0.25
# So many times the noise of a pixel a nucleus rises over its ring: noise alone made blobs of up to 2.7, nuclei of
# BBBC013 rise by 12 and more.
OVER_NOISE = 4.0
SMALLEST = 40


def nuclei(dna: np.ndarray) -> np.ndarray:
    """Find the nuclei: global Otsu on log grey, cut at necks, a threshold of its own for each, cut again.

    A global threshold takes bright cytoplasm for nuclei; half of each object's own height leaves the nucleus, and
    shows where touching ones are to be cut. What does not stand out from its surround is left out. Multiplying
    all grey values, or adding the same to all, changes nothing.

    Parameters
    ----------
    dna : (H, W) grey values, nuclei bright.

    Returns
    -------
    (H, W) int32: 0 outside, nuclei 1 to N from top to bottom.

    Raises
    ------
    ValueError : not (H, W).
    """
    if dna.ndim != 2:
        message = f"a DNA image is (H, W), not {dna.shape}"
        raise ValueError(message)
    grey = dna.astype(np.float32)
    smooth = ndimage.gaussian_filter(grey, SIGMA)
    rough = _cut(log_otsu(smooth, SOFTENING), grey)
    noise = 1.48 * float(np.median(np.abs(grey - smooth)))  # standard deviation, were the differences normal
    return _standing_out(_cut(_half_height(rough, smooth), grey), grey, noise)


def _half_height(labels: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Mask of each object's pixels above the middle between its surround and its own bright level."""
    mask = np.zeros(labels.shape, bool)
    for label, place in nuclei_of(labels, SURROUND):
        near, level = labels[place], smooth[place]
        own = near == label
        round_it = own | ((near == 0) & (ndimage.distance_transform_edt(~own) <= SURROUND))
        dark, bright = np.percentile(level[round_it], DARK), np.percentile(level[own], BRIGHT)
        mask[place] |= own & (level > (dark + bright) / 2)
    return ndimage.binary_opening(ndimage.binary_fill_holes(mask))


def _cut(mask: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Label a mask's parts, cut where it is narrow or dark between."""
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), SIGMA)
    peaks = peak_local_max(depth, min_distance=2, labels=ndimage.label(mask)[0], exclude_border=False)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return _join(watershed(-depth, markers, mask=mask), depth, grey)


def _join(parts: np.ndarray, depth: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Undo cuts without a neck and without a seam, the widest first: a part joined counts with its partner's width."""
    one, other, neck, seam = _borders(parts, depth, grey)
    number = np.arange(parts.max() + 1)
    width = ndimage.maximum(depth, parts, number)
    bright = ndimage.median(grey, parts, number)
    part_of = list(number)

    def whole(part: int) -> int:
        while part_of[part] != part:
            part = part_of[part]
        return part

    for at in np.argsort(-neck, kind="stable"):
        if seam[at] < SEAM * min(bright[one[at]], bright[other[at]]):
            continue
        thin, thick = sorted((whole(one[at]), whole(other[at])), key=lambda part: width[part])
        if neck[at] > NECK * width[thin]:
            part_of[thin] = thick
    return np.array([whole(part) for part in number])[parts]


def _borders(parts: np.ndarray, depth: np.ndarray, grey: np.ndarray) -> tuple[np.ndarray, ...]:
    """Pairs of parts that touch, and the largest depth and the median brightness on the border between them."""
    place = np.arange(parts.size).reshape(parts.shape)
    one = np.concatenate([place[1:].ravel(), place[:, 1:].ravel()])
    other = np.concatenate([place[:-1].ravel(), place[:, :-1].ravel()])
    part, depths, level = parts.ravel(), depth.ravel(), grey.ravel()
    touch = (part[one] != part[other]) & (part[one] > 0) & (part[other] > 0)
    if not touch.any():
        return one[touch], other[touch], depths[:0], level[:0]
    one, other = one[touch], other[touch]
    pairs, which = np.unique(np.sort([part[one], part[other]], axis=0), axis=1, return_inverse=True)
    number = np.arange(pairs.shape[1])
    neck = ndimage.maximum(np.minimum(depths[one], depths[other]), which.ravel(), number)
    seam = ndimage.median((level[one] + level[other]) / 2, which.ravel(), number)
    return pairs[0], pairs[1], neck, seam


def _standing_out(labels: np.ndarray, grey: np.ndarray, noise: float) -> np.ndarray:
    """Leave out specks, noise and haze, and number the rest from top to bottom."""
    at, area, inside, ring = nucleus_and_ring(labels, grey)
    ring = np.where(np.isnan(ring), 0, ring - background(grey))  # without a ring it lies among other nuclei
    inside = inside - background(grey)
    rise = inside - ring
    stands = (area >= SMALLEST) & (rise > OVER_NOISE * noise) & (inside > CONTRAST * ring)
    stands &= rise > DIM * np.median(rise[stands]) if stands.any() else False
    kept = at[stands]
    order, first = np.unique(labels, return_index=True)
    order = order[np.argsort(first)]
    new = np.zeros(labels.max() + 1, np.int32)
    new[order[np.isin(order, kept)]] = np.arange(1, len(kept) + 1)
    return new[labels]
