"""How right maps are where pixel labels are known: measures of each image, and of all of them with an interval."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.blocks.map_parts import MapAccuracy, MapPart
from bagscope.blocks.rows import pixel_labels
from bagscope.blocks.tiles import decided
from bagscope.errors import ImageReadError
from bagscope.files.reader import Header
from bagscope.files.tile_store import TileStore
from bagscope.files.worker import DecodingWorker
from bagscope.ops.intervals import bootstrap
from bagscope.ops.map_metrics import boundary_distance, overlap, specks_per_10k_px

# Pixels on either side of the true boundary; the wide band has the width of a block.
NARROW = 4
POOLED, UNSEEN = "all", "unseen"
COLUMNS = ("row", "image", "class", "measure", "value", "low", "high", "images")


def truth_of(path: Path, header: Header, classes: Sequence[str], worker: DecodingWorker) -> np.ndarray:
    """Read the true class of each pixel, (H, W): k for the k-th fine class, 0 where it is not known.

    Raises
    ------
    ImageReadError : another size, numbers beyond the classes, or a mask of 0 and 1, whose 0 would not count.
    """
    truth = pixel_labels(path, header, len(classes), worker)
    if truth.max(initial=0) == 1 and not truth.all():
        cause = f"nothing but 0 and 1: 0 is unknown and 1 is '{classes[0]}', so that there is nothing to compare"
        fix = f"Save a mask with 1 for '{classes[0]}' and 2 for '{classes[1]}': add 1 to it."
        raise ImageReadError(cause, fix, code="mask_as_truth", file=path)
    return truth


def map_accuracy(
    store: TileStore, truth: np.ndarray, names: Sequence[str], classes: Sequence[str], limits: tuple[float, ...] | None,
    width: float,
) -> tuple[MapAccuracy, ...]:  # fmt: skip
    """Compare a map with the truth, class by class. The whole image is in memory meanwhile.

    Parameters
    ----------
    truth : (H, W) as `truth_of` gives it. names : classes that are compared. width : of the wide band.
    """
    found, known = decided(store.whole(), limits), truth > 0
    rows = []
    for name in names:
        k = list(classes).index(name)
        true, ours = truth == k + 1, found == k
        # Where the unknown begins, neither has a boundary that could be compared.
        distance = boundary_distance(true, ours) if known.all() else float("nan")
        rows.append(
            MapAccuracy(
                name,
                overlap(true, ours, width, known).counts(),
                overlap(true, ours, NARROW, known).counts(),
                None if math.isnan(distance) else distance,
                specks_per_10k_px(ours),
            )
        )
    return tuple(rows)


def evaluation_table(
    parts: Mapping[int, MapPart],
    rows: pd.DataFrame,
    image: str,
    names: Sequence[str],
    trained: Collection[int],
    seed: int,
) -> pd.DataFrame:
    """Measures of each image, then of all (`row` is 0, `image` is "all") with a 95 % interval over groups of images.

    Where the model has been trained on blocks of some of them, the others stand there once more, as "unseen".

    `masked_iou`, `masked_dice`: within a block's width of the true boundary, pooled over pixels; `_narrow`: within
    4 px. `boundary_distance` (px) and `pepper` (components below 10 px per 10,000 px): mean over images. `unsure`:
    share of pixels. A group is what the column `group` says, else each image by itself.

    Parameters
    ----------
    image : column that names an image. trained : positions of the rows that the model has learned from.
    """
    judged = {at: part for at, part in parts.items() if part.right}
    own = rows["group"].astype(str) if "group" in rows else pd.Series("", rows.index)
    group = {at: str(own.iloc[at]) or f"row {at}" for at in judged}
    found: list[tuple[object, ...]] = []
    for name in names:
        fractions = {at: dict(_fractions(part, name)) for at, part in judged.items()}
        for at, measures in fractions.items():
            line, file = int(rows["row"].iloc[at]), str(rows[image].iloc[at])
            found += [(line, file, name, *one, math.nan, math.nan, 1) for one in _values(measures)]
        unseen = {at: one for at, one in fractions.items() if at not in trained}
        found += _pooled(POOLED, name, fractions, group, seed)
        if 0 < len(unseen) < len(fractions):
            found += _pooled(UNSEEN, name, unseen, group, seed)
    return pd.DataFrame(found, columns=list(COLUMNS))


def _pooled(
    label: str, name: str, fractions: Mapping[int, Mapping[str, np.ndarray]], group: Mapping[int, str], seed: int
) -> list[tuple[object, ...]]:
    """Return a row per measure over images, with an interval over their groups."""
    rows: list[tuple[object, ...]] = []
    for measure in next(iter(fractions.values()), {}):
        sums: dict[str, np.ndarray] = {}
        for at, measures in fractions.items():
            sums[group[at]] = sums.get(group[at], np.zeros(2)) + measures[measure]
        interval = bootstrap(np.array(list(sums.values())), _ratio, seed=seed)
        ends = (float(interval.low), float(interval.high)) if len(sums) > 1 else (math.nan, math.nan)
        rows.append((0, label, name, measure, float(interval.estimate), *ends, len(fractions)))
    return rows


def _fractions(part: MapPart, name: str) -> Iterable[tuple[str, np.ndarray]]:
    """Measures of an image as numerator and denominator, which may be added over images."""
    one = next(one for one in part.right if one.name == name)
    for suffix, (both, either, truth, found) in (("", one.wide), ("_narrow", one.narrow)):
        yield f"masked_iou{suffix}", np.array([both, either], float)
        yield f"masked_dice{suffix}", np.array([2 * both, truth + found], float)
    yield "boundary_distance", _counted(one.distance)
    yield "pepper", _counted(one.pepper)
    area = part.height * part.width
    yield "unsure", np.array([part.unsure * area, area])


def _counted(value: float | None) -> np.ndarray:
    return np.zeros(2) if value is None else np.array([value, 1.0])


def _values(measures: Mapping[str, np.ndarray]) -> Iterable[tuple[str, float]]:
    return ((measure, float(_ratio(both[None], 0))) for measure, both in measures.items())


def _ratio(pairs: np.ndarray, axis: int) -> np.ndarray:
    above, below = np.moveaxis(pairs.sum(axis), -1, 0)
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
