"""How a microscope and its camera turn a specimen into 16-bit pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray


def uneven_light(
    px: int, *, fall: float, centre: tuple[float, float], tilt: tuple[float, float]
) -> NDArray[np.float32]:
    """Relative brightness of the lamp over the field, at most 1.

    Parameters
    ----------
    px : side of the square field.
    fall : loss at the distance of half a side from `centre`, in [0, 1).
    centre : where the lamp is brightest, (row, column) as shares of the field; .5 is the middle.
    tilt : change from edge to edge along rows and columns, as shares.

    Returns
    -------
    (H, W) values in (0, 1].
    """
    axis = (np.arange(px, dtype=np.float32) + 0.5) / px
    y, x = (axis - centre[0])[:, None], (axis - centre[1])[None, :]
    light = (1.0 - fall * 4.0 * (y * y + x * x)) * (1.0 + tilt[0] * y + tilt[1] * x)
    light = np.maximum(light, 0.05)
    return (light / light.max()).astype(np.float32)


def defocus(photons: NDArray[np.float32], *, psf_px: float, haze: float, haze_px: float = 14.0) -> NDArray[np.float32]:
    """Blur a specimen (C, H, W) as a lens does: a sharp part, and a share of light from other planes.

    The sum is kept but for what leaves the field (edges are mirrored).
    """
    step = 4  # haze is smooth: a quarter of the resolution costs a sixteenth and shows no difference
    seen = np.empty_like(photons)
    for plane, out in zip(photons, seen, strict=True):
        ndimage.gaussian_filter(plane, psf_px, output=out, mode="reflect", truncate=3.0)
        if haze > 0:
            height, width = plane.shape
            padded = np.pad(plane, ((0, -height % step), (0, -width % step)), mode="edge")
            coarse = padded.reshape(padded.shape[0] // step, step, -1, step).mean((1, 3))
            coarse = ndimage.gaussian_filter(coarse, haze_px / step, mode="reflect", truncate=3.0)
            out *= 1.0 - haze
            out += haze * enlarge(coarse, step)[:height, :width]
    return seen


def expose(
    rng: np.random.Generator,
    photons: NDArray[np.float32],
    *,
    offset: float = 100.0,
    gain: float = 2.0,
    read_noise: float = 3.0,
) -> NDArray[np.uint16]:
    """Take the picture: Poisson photoelectrons times `gain`, plus offset and read noise.

    Parameters
    ----------
    photons : (C, H, W) expected photoelectrons per pixel, >= 0.
    offset : counts of a dark pixel.
    gain : counts per photoelectron.
    read_noise : standard deviation of the electronics, in counts.

    Returns
    -------
    (C, H, W) uint16; mean `offset + gain * photons`, variance `gain**2 * photons + read_noise**2`
    (+ 1/12 from rounding), cut at 0 and 65535.
    """
    counts = rng.poisson(photons).astype(np.float32)
    counts *= gain
    counts += offset + read_noise * rng.standard_normal(photons.shape, dtype=np.float32)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def enlarge(coarse: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Stretch a coarse grid (h, w) to (h * step, w * step) pixels, linear between the middles."""
    return _stretch(_stretch(coarse, step).T, step).T


def _stretch(grid: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    n = grid.shape[0]
    place = np.clip((np.arange(n * step, dtype=np.float32) + 0.5) / step - 0.5, 0, n - 1)
    below = np.minimum(place.astype(np.intp), max(n - 2, 0))
    above = np.minimum(below + 1, n - 1)
    share = (place - below)[:, None].astype(grid.dtype)
    return grid[below] * (1 - share) + grid[above] * share
