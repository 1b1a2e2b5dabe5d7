"""How bright each nucleus is, and the ring of cytoplasm round it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Pixels from the nucleus: nearer than 2, the microscope mixes both sides of its edge; at 5.5 a ring has as many
# pixels as its nucleus and is still cytoplasm in cells 35-45 px wide.
INNER, OUTER = 2.0, 5.5
# Darkest pixels of a field that are taken for empty, in per cent.
BACKGROUND = 2.0
# Grey values over the background: a cell with less in nucleus and ring does not express the protein.
GATE = 8.0


@dataclass(frozen=True)
class RingTable:
    """One row per nucleus, in the order of its labels.

    label : (N,) number in the label image.
    y, x : (N,) centre, in pixels.
    area : (N,) pixels of the nucleus.
    nucleus, ring : (N,) brightness over the background, median; NaN for a ring without a pixel.
    ratio : (N,) (nucleus + 1) / (ring + 1); NaN for a ring without a pixel.
    gated : (N,) whether the cell is bright enough to be called.
    """

    label: np.ndarray
    y: np.ndarray
    x: np.ndarray
    area: np.ndarray
    nucleus: np.ndarray
    ring: np.ndarray
    ratio: np.ndarray
    gated: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


def measure_rings(labels: np.ndarray, image: np.ndarray, gate: float = GATE) -> RingTable:
    """Measure how much brighter each nucleus is than the ring round it.

    The ratio does not change when the same is added to every pixel. Another nucleus bears on a ring only by the
    pixels it takes from it.

    Parameters
    ----------
    labels : (H, W) whole numbers, 0 outside nuclei.
    image : (H, W) grey values of the protein.
    gate : grey values over the background that nucleus or ring must exceed; for images of other than 8 bits it
        has to be chosen again.

    Raises
    ------
    ValueError : shapes that differ.
    """
    at, area, nucleus, ring = nucleus_and_ring(labels, image)
    low = background(image)
    nucleus, ring = nucleus - low, ring - low
    # One grey value keeps the ratio finite where the ring is as dark as the background.
    ratio = (np.maximum(nucleus, 0) + 1) / (np.maximum(ring, 0) + 1)
    gated = np.isfinite(ratio) & (np.fmax(nucleus, ring) > gate)
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, at), dtype=float).reshape(-1, 2)
    return RingTable(at, centres[:, 0], centres[:, 1], area, nucleus, ring, ratio, gated)


def background(image: np.ndarray) -> float:
    """Brightness of the emptiest part of a field: its 2nd percentile."""
    return float(np.percentile(image, BACKGROUND)) if np.size(image) else 0.0


def nucleus_and_ring(
    labels: np.ndarray, image: np.ndarray, inner: float = INNER, outer: float = OUTER
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Medians of the image in each nucleus without its outermost pixels, and in its ring without other nuclei.

    A nucleus of outermost pixels alone is measured whole. The image's edge counts as no edge of a nucleus.

    Parameters
    ----------
    labels, image : (H, W).
    inner, outer : least and largest distance of a ring's pixels from their nucleus, in pixels.

    Returns
    -------
    Labels in ascending order, areas, medians of nuclei and of rings (NaN without a pixel), each (N,).
    """
    if labels.shape != image.shape or labels.ndim != 2:
        message = f"labels {labels.shape} and image {image.shape} are two (H, W) arrays of one shape"
        raise ValueError(message)
    found = []
    for label, place in nuclei_of(labels, int(np.ceil(outer)) + 1):
        near, grey = labels[place], image[place]
        own = near == label
        core = ndimage.binary_erosion(own, border_value=1)
        away = ndimage.distance_transform_edt(~own)
        ring = grey[(away >= inner) & (away <= outer) & (near == 0)]
        nucleus = grey[core if core.any() else own]
        found.append((label, own.sum(), np.median(nucleus), np.median(ring) if len(ring) else np.nan))
    table = np.array(found, dtype=float).reshape(-1, 4)
    return table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2], table[:, 3]


def nuclei_of(labels: np.ndarray, margin: int) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Each label with the window round it that has `margin` pixels more on each side, as far as the image goes."""
    for label, place in enumerate(ndimage.find_objects(labels), start=1):
        if place is not None:
            rows, columns = (slice(max(0, side.start - margin), side.stop + margin) for side in place)
            yield label, (rows, columns)
