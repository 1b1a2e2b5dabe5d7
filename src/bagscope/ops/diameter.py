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
# Uneven light is taken for a polynomial of this degree, fitted to the means of so many blocks a side.
LIGHT_DEGREE, LIGHT_BLOCKS = 4, 16
# So many times their noise lie the darkest counts above 0.
DARK_NOISE = 3.0
# Blobs answer more strongly than this many times what noise does, plus what chance adds where answers are few.
OVER_NOISE = 1.5
# Answers to noise differ in energy by sqrt(5) times their mean; four times that is taken for chance.
CHANCE = 9.0


def blob_diameter(images: list[np.ndarray], largest: float = 256.0) -> float:
    """Diameter, in pixels, of the blobs that dominate images of one channel.

    The energy of the positive answer of a scale-normalised Laplacian of Gaussian (Lindeberg 1998)
    to a disc of radius r is largest at sigma = 0.8 r; the sigma with the largest mean energy over
    all images, beyond what their noise has, is taken. Slow changes of the light are taken off before.
    Large scales are measured on block means.

    Parameters
    ----------
    images : (H, W) arrays, any number type.
    largest : no blob larger than this is looked for.

    Returns
    -------
    Diameter in pixels; NaN when no image has any contrast beyond noise and uneven light.
    """
    octaves = int(np.floor(np.log2(largest * PEAK / (2 * SMALLEST_SIGMA))))
    sigmas = SMALLEST_SIGMA * 2 ** (np.arange(octaves * PER_OCTAVE) / PER_OCTAVE)
    power, noise, area = np.zeros((3, len(sigmas)))
    for image in images:
        level = _roots(image)
        variance = _noise_variance(level)
        level = level - _light(level)
        for k in range(octaves):
            if min(level.shape) < 8 * SMALLEST_SIGMA:
                break
            for i in range(k * PER_OCTAVE, (k + 1) * PER_OCTAVE):
                power[i] += _answer(level, sigmas[i] / 2**k) * 4**k
                # Half of the variance that white noise keeps under this filter.
                noise[i] += level.size * 4**k * variance / (4 * np.pi * sigmas[i] ** 2)
                area[i] += level.size * 4**k
            level = _halve(level)
    independent = np.maximum(1, area / (4 * np.pi * sigmas**2))
    beyond = power - noise * (OVER_NOISE + CHANCE / np.sqrt(independent))
    mean = np.where(area > 0, beyond / np.maximum(area, 1), 0)
    # Answers that still grow at the largest scale are to something larger than any cell: what peaks before is one.
    if mean[-1] == mean.max():
        mean = np.where(np.r_[False, mean[1:-1] > np.maximum(mean[:-2], mean[2:]), False], mean, 0)
    return float(2 * sigmas[np.argmax(mean)] / PEAK) if mean.max() > 0 else float("nan")


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
    """Root of the counts above the darkest, kept off 0 by their noise: there the root would make it large."""
    values = np.asarray(image, np.float32)
    above = values - np.quantile(values, 0.01) + DARK_NOISE * np.sqrt(_noise_variance(values))
    return np.sqrt(np.maximum(above, 0))


def _answer(image: np.ndarray, sigma: float) -> float:
    answer = -(sigma**2) * ndimage.gaussian_laplace(image, sigma, mode="reflect")
    return float(np.square(np.maximum(answer, 0)).sum(dtype=np.float64))


def _noise_variance(image: np.ndarray) -> float:
    """Variance of the noise from pixel to pixel: what a mask blind to planes and edges leaves (Immerkaer 1996)."""
    if min(image.shape) < 3:
        return 0.0
    left = ndimage.convolve(image, np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32))[1:-1, 1:-1]
    # The mask's weights have a sum of squares of 36; 0.6745 is the median of |normal|.
    return float((np.median(np.abs(left)) / 0.6745) ** 2 / 36)


def _light(image: np.ndarray) -> np.ndarray:
    """Slow changes of the background, (H, W): what is brighter than them, as cells are, hardly counts."""
    th, tw = (max(1, n // LIGHT_BLOCKS) for n in image.shape)
    h, w = (n // t for n, t in zip(image.shape, (th, tw), strict=True))
    blocks = image[: h * th, : w * tw].reshape(h, th, w, tw).mean((1, 3)).ravel()
    orders = [(i, j) for i in range(LIGHT_DEGREE + 1) for j in range(LIGHT_DEGREE + 1 - i)]
    y, x = ((2 * np.arange(n) + 1) / (m * t) - 1 for n, m, t in zip(image.shape, (h, w), (th, tw), strict=True))
    y0, x0 = ((2 * np.arange(m) + 1) / m - 1 for m in (h, w))
    terms = np.stack([np.outer(y0**i, x0**j).ravel() for i, j in orders], 1)
    trust = np.ones(len(blocks))
    for _ in range(10):
        root = np.sqrt(trust)
        factors = np.linalg.lstsq(terms * root[:, None], blocks * root, rcond=None)[0]
        above = blocks - terms @ factors
        usual = 1.5 * np.median(np.abs(above)) + 1e-6
        trust = np.where(above > 0, 1 / (1 + (above / usual) ** 2), 1.0)
    down = np.array([y**i for i, _ in orders]) * factors[:, None]
    return (down.T @ np.array([x**j for _, j in orders])).astype(np.float32)


def _halve(image: np.ndarray) -> np.ndarray:
    h, w = (n // 2 * 2 for n in image.shape)
    return image[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3))
