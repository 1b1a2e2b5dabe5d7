"""How right maps are in the superres experiment, and what needs no network: thresholds and blocks themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu

from bagscope.ops.map_metrics import Overlap, boundary_distance, overlap, specks_per_10k_px
from bagscope.reproduce.superres_data import BLOCK, Picture, cut

NARROW = 4
BANDS = {"": BLOCK, "_narrow": NARROW}


def overlaps(found: Sequence[np.ndarray], judged: Sequence[Picture], width: float) -> np.ndarray:
    """Pixels in both, in either, true, found, within a band about the true boundary, (N, 4), a row per picture."""
    each = [overlap(one.truth, mask, width) for one, mask in zip(judged, found, strict=True)]
    return np.array([(one.both, one.either, one.truth, one.found) for one in each], float)


def map_measures(found: Sequence[np.ndarray], judged: Sequence[Picture]) -> dict[str, float]:
    """Overlap near the boundary, pooled over pictures, distance of boundaries and specks, means over pictures."""
    values: dict[str, float] = {}
    for suffix, width in BANDS.items():
        pooled = Overlap(*overlaps(found, judged, width).sum(0).astype(int))
        values |= {f"masked_iou{suffix}": pooled.iou, f"masked_dice{suffix}": pooled.dice}
    away = [boundary_distance(one.truth, mask) for one, mask in zip(judged, found, strict=True)]
    known = [one for one in away if np.isfinite(one)]
    specks = float(np.mean([specks_per_10k_px(mask) for mask in found]))
    return values | {"boundary_distance": float(np.mean(known)) if known else float("nan"), "pepper": specks}


def everything(judged: Sequence[Picture]) -> list[np.ndarray]:
    """Call every pixel an object."""
    return [np.ones_like(one.truth) for one in judged]


def of_blocks(judged: Sequence[Picture], share: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    """Call all pixels of a block objects where its share is at least half; pixels beyond whole blocks take the nearest.

    Parameters
    ----------
    share : number of a picture -> (N,) share of each of its blocks.
    """
    maps = []
    for at, one in enumerate(judged):
        rows, columns, _ = cut(one)
        grid = share(at).reshape(len(np.unique(rows)), len(np.unique(columns))) >= 0.5
        wide = np.kron(grid, np.ones((BLOCK, BLOCK), bool))
        room = [(0, edge - have) for edge, have in zip(one.truth.shape, wide.shape, strict=True)]
        maps.append(np.pad(wide, room, mode="edge"))
    return maps


def _dark(pixels: np.ndarray) -> np.ndarray:
    return 1 - pixels.mean(0) / 255


def _haematoxylin(pixels: np.ndarray) -> np.ndarray:
    return rgb2hed(np.moveaxis(pixels, 0, 2))[..., 0] if len(pixels) == 3 else _dark(pixels)


def _light(pixels: np.ndarray) -> np.ndarray:
    return pixels.mean(0) / 255


def _coloured(pixels: np.ndarray) -> np.ndarray:
    return (pixels.max(0).astype(float) - pixels.min(0)) / 255 if len(pixels) > 1 else _light(pixels)


OTSU: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "light": _light, "dark": _dark, "haematoxylin": _haematoxylin, "coloured": _coloured,
}  # fmt: skip


def otsu(judged: Sequence[Picture]) -> dict[str, list[np.ndarray]]:
    """Otsu's threshold on what is light, dark, stained by haematoxylin, or coloured: maps by name, one per picture."""
    maps: dict[str, list[np.ndarray]] = {}
    for name, value in OTSU.items():
        planes = [value(one.pixels) for one in judged]
        maps[name] = [plane > threshold_otsu(plane) if np.ptp(plane) else plane > 1 for plane in planes]
    return maps
