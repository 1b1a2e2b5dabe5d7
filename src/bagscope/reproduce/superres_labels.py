"""What is known of blocks in the superres experiment: coarse classes, exact or by a classifier, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, cross_val_predict

from bagscope.reproduce.superres_data import BLOCK, Picture, cut
from bagscope.tables.boxes import binned
from bagscope.tables.proportions import LEAST_SD, Proportions

FINE = ("background", "object")
PER_CLASS = 12
# A class of which fewer blocks exist has no spread that could be told.
LEAST_BLOCKS = 3
# Share of the variance of blocks that a table explains, by how weak the classifier is made.
WEAKENED = {"middle": 0.6, "strong": 0.4}
_NOISE, _TABLE = 51, 52
# Noise on the classifier's features, in their standard deviations.
_LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Coarse:
    """Coarse classes of the blocks of each picture, the expert's table, how much it explains, noise on features."""

    classes: Sequence[np.ndarray]
    table: Proportions
    explained: float
    level: float


def coarse_labels(found: Sequence[Picture], part_a: Sequence[int], regime: str, seed: int) -> Coarse:
    """Label all blocks, and let an expert look at some of part A.

    Parameters
    ----------
    regime : "none" (a block's true share, binned), "real" (a classifier learned on A), or a name of `WEAKENED`.
    seed : decides which blocks the expert looks at.
    """
    shares = [cut(one)[2] for one in found]
    if regime == "none":
        return _tabled(shares, [binned(one) for one in shares], part_a, seed, 0.0)
    features = [block_features(one) for one in found]
    if regime == "real":
        return _tabled(shares, _classified(features, shares, found, part_a, 0.0), part_a, seed, 0.0)
    tried = [_tabled(shares, _classified(features, shares, found, part_a, level), part_a, seed, level)
             for level in _LEVELS]  # fmt: skip
    return min(tried, key=lambda one: abs(one.explained - WEAKENED[regime]))


def _classified(
    features: Sequence[np.ndarray], shares: Sequence[np.ndarray], found: Sequence[Picture], part_a: Sequence[int],
    level: float,
) -> list[np.ndarray]:  # fmt: skip
    """Coarse classes by gradient boosting learned on A, whose own blocks are judged by folds over groups."""
    known = np.concatenate([features[at] for at in part_a])
    mean, sd = known.mean(0), known.std(0) + 1e-9
    rng = np.random.default_rng(_NOISE)
    noisy = [(one - mean) / sd + level * rng.standard_normal(one.shape) for one in features]
    x, y = (np.concatenate([of[at] for at in part_a]) for of in (noisy, shares))
    groups = np.concatenate([np.full(len(shares[at]), found[at].group) for at in part_a])
    judge = HistGradientBoostingRegressor(max_iter=60, learning_rate=0.1, random_state=0)
    folds = GroupKFold(min(5, len(np.unique(groups))))
    own = np.split(cross_val_predict(judge, x, y, groups=groups, cv=folds), _ends([shares[at] for at in part_a]))
    judge.fit(x, y)
    told = dict(zip(part_a, own, strict=True))
    return [binned(np.clip(told[at] if at in told else judge.predict(noisy[at]), 0, 1)) for at in range(len(found))]


def _ends(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum([len(one) for one in pieces])[:-1]


def _tabled(
    shares: Sequence[np.ndarray], classes: list[np.ndarray], part_a: Sequence[int], seed: int, level: float
) -> Coarse:
    share, name = np.concatenate([shares[at] for at in part_a]), np.concatenate([classes[at] for at in part_a])
    rng = np.random.default_rng([_TABLE, seed])
    names, mean, sd, n = [], [], [], []
    for one in sorted(set(name), key=lambda text: int(text.partition("-")[0])):
        members = np.flatnonzero(name == one)
        if len(members) < LEAST_BLOCKS:
            continue
        looked = share[rng.choice(members, min(PER_CLASS, len(members)), replace=False)]
        names.append(one)
        mean.append([1 - looked.mean(), looked.mean()])
        sd.append([max(LEAST_SD, looked.std(ddof=1))] * 2)
        n.append([len(looked)] * 2)
    table = Proportions(tuple(names), FINE, np.array(mean), np.array(sd), np.array(n))
    counts = {one: int((name == one).sum()) for one in names}
    return Coarse(classes, table, float(table.explained(counts)[1]), level)


def block_features(picture: Picture) -> np.ndarray:
    """Return (N, F) grey values, contrasts and textures of blocks and of the blocks around them."""
    planes = picture.pixels.astype(np.float32) / 255
    if len(planes) == 3:
        planes = np.concatenate([planes, np.moveaxis(rgb2hed(np.moveaxis(planes, 0, 2)), 2, 0).astype(np.float32)])
    h, w = (edge // BLOCK for edge in picture.truth.shape)
    told = []
    for raw in planes:
        # Pictures differ in exposure and stain: each is its own measure.
        plane = (raw - np.median(raw)) / (raw.std() + 1e-6)
        fine = plane - ndimage.gaussian_filter(plane, 2)
        edge = ndimage.gaussian_gradient_magnitude(plane, 1)
        bright = (plane > threshold_otsu(plane) if np.ptp(plane) else np.zeros_like(plane)).astype(np.float32)
        for values in (plane, np.abs(fine), edge, bright):
            tiles = values[: h * BLOCK, : w * BLOCK].reshape(h, BLOCK, w, BLOCK).transpose(0, 2, 1, 3)
            flat = tiles.reshape(h, w, -1)
            told += [flat.mean(2), flat.std(2)]
            if values is plane:
                told += list(np.quantile(flat, [0.1, 0.5, 0.9], axis=2))
    own = np.stack(told, 2)
    around = ndimage.uniform_filter(own, (3, 3, 1), mode="nearest")
    return np.concatenate([own, around], 2).reshape(h * w, -1)
