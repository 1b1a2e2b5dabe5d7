"""How large a cell is, measured from images that nobody has segmented."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SMALLEST_SIGMA = 1.5
PER_OCTAVE = 6
# Where the energy of a disc's answer peaks, in radii; found numerically, the same for every radius.
PEAK = 0.8
# A cell's diameter over its nucleus's: U2OS cells of BBBC013 measure 35-45 px, their nuclei 13 x 18 px.
CELL_OVER_NUCLEUS = 2.4
CELL_OVER_ONLY_CHANNEL = 1.5


def blob_diameter(images: list[np.ndarray], largest: float = 256.0) -> float:
    """Diameter, in pixels, of the blobs that dominate images of one channel.

    The energy of the positive answer of a scale-normalised Laplacian of Gaussian (Lindeberg 1998)
    to a disc of radius r is largest at sigma = 0.8 r; the sigma with the largest mean energy over
    all images is taken. Large scales are measured on block means.

    Parameters
    ----------
    images : (H, W) arrays, any number type.
    largest : no blob larger than this is looked for.

    Returns
    -------
    Diameter in pixels; NaN when no image has any contrast.
    """
    octaves = int(np.floor(np.log2(largest * PEAK / (2 * SMALLEST_SIGMA))))
    sigmas = SMALLEST_SIGMA * 2 ** (np.arange(octaves * PER_OCTAVE) / PER_OCTAVE)
    power = np.zeros(len(sigmas))
    weight = np.zeros(len(sigmas))
    for image in images:
        level = _roots(image)
        for k in range(octaves):
            if min(level.shape) < 8 * SMALLEST_SIGMA:
                break
            for i in range(k * PER_OCTAVE, (k + 1) * PER_OCTAVE):
                sigma = sigmas[i] / 2**k
                answer = -(sigma**2) * ndimage.gaussian_laplace(level, sigma, mode="reflect")
                power[i] += np.square(np.maximum(answer, 0)).sum()
                weight[i] += answer.size
            level = _halve(level)
    seen = weight > 0
    if not seen.any() or power[seen].max() <= 0:
        return float("nan")
    mean = np.where(seen, power / np.maximum(weight, 1), 0)
    return float(2 * sigmas[np.argmax(mean)] / PEAK)


def cell_diameter(blobs: list[float]) -> float:
    """Diameter of a cell from the blob diameters of its channels, in the same unit.

    With several channels the smallest blobs are taken for nuclei and a cell for 2.4 times as wide, or for
    as wide as the largest channel's blobs if that is more. One channel alone may show nuclei or cells:
    1.5 times its blobs lies between. NaN when no channel has contrast.
    """
    known = [b for b in blobs if np.isfinite(b)]
    if not known:
        return float("nan")
    if len(known) == 1:
        return CELL_OVER_ONLY_CHANNEL * known[0]
    return max(CELL_OVER_NUCLEUS * min(known), max(known))


def _roots(image: np.ndarray) -> np.ndarray:
    values = np.asarray(image, np.float32)
    return np.sqrt(np.maximum(values - np.quantile(values, 0.01), 0))


def _halve(image: np.ndarray) -> np.ndarray:
    h, w = (n // 2 * 2 for n in image.shape)
    return image[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3))
