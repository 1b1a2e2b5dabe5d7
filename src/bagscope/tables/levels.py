"""How fields become images, wells and treatments: the tables of a score folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bagscope.tables.calls import CallRule, make_calls
from bagscope.tables.probabilities import Probabilities, log_softmax, probabilities
from bagscope.tables.treatments import is_summed, medians, number_keys, treatments_of
from bagscope.tables.wells import NO_WELL, well_keys

LOG_ODDS = "log_odds:"
LOGIT = "logit:"
_FIRST = ("plate", "well", "site", "row")
_OF_A_FIELD = (
    "row",
    "site",
    "page",
    "z",
    "t",
    "mask",
    "mask_file",
    "map_file",
    "regions_file",
    "unlike",
    "well_written",
)


@dataclass(frozen=True)
class Levels:
    """Tables of a score folder: one row per field, per well, and per treatment at one concentration."""

    images: pd.DataFrame
    wells: pd.DataFrame
    treatments: pd.DataFrame


def aggregate(
    fields: pd.DataFrame,
    classes: Sequence[str],
    *,
    several: bool = False,
    none_trained: bool = False,
    rule: CallRule | None = None,
    seed: int = 0,
    draws: int = 1000,
    bags: tuple[np.ndarray, np.ndarray] | None = None,
) -> Levels:
    """Sum up the scores of fields.

    A well is the mean of its fields' log-odds, or a bag of its own where that was judged; its `probability` is
    the softmax of the mean log-probabilities (one label) or the sigmoid of the mean log-odds of the last layer
    (several).
    A treatment (key: treatment, concentration, unit) is the median over its wells' probabilities
    (Kraus et al. 2016), with a 95 % percentile bootstrap interval over wells, empty with fewer than
    three. A field with a score that is not finite counts as not scored: it, its well and its
    treatment keep their rows, and `n_fields` says how many fields were scored.

    Parameters
    ----------
    fields : rows of a screen (keys, `label`, `treatment`, …, `split`) plus, per class,
        `log_odds:<class>` (pooling) and `logit:<class>` (last layer; with one label and `none` trained
        also `logit:none`); NaN where scoring failed. `n_cells`, where given, is summed up.
    classes : their order is the order of the columns.
    rule : limits of the calls.
    seed, draws : of the bootstrap; wells in another order give the same interval.
    bags : both scores of the bag of all that is in a well, (R, K) and (R, O), where that was judged: the same in all
        scored rows of the well.

    Returns
    -------
    Tables with keys first, then `n_fields` (`n_wells`, `n_cells`), per class `mil_probability:<class>` and
    `probability:<class>`, `probability:none` where it was trained, `call`, `confidence`, `split`.
    A row without a well (`-`) is a well of its own, told by `site`.
    """
    rule = rule or CallRule()
    heads = [*classes, "none"] if none_trained and not several else list(classes)
    names = [LOG_ODDS + name for name in classes], [LOGIT + name for name in heads]
    log_odds, logits = (fields[own].to_numpy(np.float64) for own in names)
    scored = np.isfinite(log_odds).all(1) & np.isfinite(logits).all(1)
    log_odds, logits = (np.where(scored[:, None], values, np.nan) for values in (log_odds, logits))
    ours = {name for own in names for name in own}
    keys = fields[[name for name in fields.columns if name not in ours]].copy()
    keys["n_fields"] = scored.astype(np.int64)

    def judged(odds: np.ndarray, head: np.ndarray) -> Probabilities:
        return probabilities(odds, head, several, none_trained)

    def finished(
        frame: pd.DataFrame, scores: Probabilities, low_high: tuple[Probabilities, Probabilities] | None = None
    ) -> pd.DataFrame:
        return _finish(frame, scores, classes, several, rule, low_high)

    images = finished(image_keys(keys), judged(log_odds, logits))
    well_of, wells = wells_of(keys)
    odds, heads_of = bags or (log_odds, logits)
    # A constant per field drops out of the softmax of the mean, so log_softmax changes nothing but the last digits; it
    # stays because without it the scores of older versions would not be reproduced exactly.
    summed = odds, heads_of if several else log_softmax(heads_of)
    means = [_mean(values, well_of, scored, len(wells)) for values in summed]
    of_wells = judged(*means)
    treatment_of, treatments = treatments_of(wells)
    middle, low, high = medians(of_wells, treatment_of, len(treatments), wells, seed, draws)
    return Levels(images, finished(wells, of_wells), finished(treatments, middle, (low, high)))


def _mean(values: np.ndarray, group: np.ndarray, scored: np.ndarray, count: int) -> np.ndarray:
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, group[scored], values[scored])
    numbers = np.bincount(group[scored], minlength=count)
    return np.where(numbers[:, None] > 0, sums / np.maximum(numbers, 1)[:, None], np.nan)


def image_keys(keys: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a screen with the keys in front."""
    first = [name for name in _FIRST if name in keys]
    return keys[first + [name for name in keys.columns if name not in first]].reset_index(drop=True)


def wells_of(keys: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the number of each field's well, and the wells; a column is kept where all fields of the well agree."""
    alone = (keys["well"] == NO_WELL).to_numpy()
    group, first = number_keys(well_keys(keys))
    summed = [name for name in keys.columns if is_summed(name)]
    left = {"plate", "well", *_OF_A_FIELD, *summed}
    kept = [name for name in keys.columns if name not in left and not _is_image(name)]
    wells = keys.iloc[first][["plate", "well"]].reset_index(drop=True)
    if alone.any():
        wells["site"] = np.where(alone, keys["site"].to_numpy(dtype=object), "")[first]
    for name in kept:
        wells[name] = _common(keys[name], group, first)
    for name in summed:
        wells[name] = np.bincount(group, weights=keys[name].to_numpy(np.float64), minlength=len(first)).astype(np.int64)
    return group, wells


def _is_image(name: str) -> bool:
    return name == "image" or name.startswith("image_")


def _common(column: pd.Series, group: np.ndarray, first: list[int]) -> np.ndarray:
    values = column.to_numpy()
    number = pd.api.types.is_numeric_dtype(column.dtype)
    values = values.astype(np.float64) if number else values.astype(object)
    same = (values == values[first][group]) | (pd.isna(values) & pd.isna(values[first][group]))
    agree = np.bincount(group[~same], minlength=len(first)) == 0
    return np.where(agree, values[first], np.nan if number else "")


def _finish(
    frame: pd.DataFrame,
    scores: Probabilities,
    classes: Sequence[str],
    several: bool,
    rule: CallRule,
    interval: tuple[Probabilities, Probabilities] | None,
) -> pd.DataFrame:
    """Put the columns in order: keys, counts, classes, call, confidence, split."""
    counts = [name for name in frame.columns if name.startswith("n_called:")]
    last = [name for name in ("n_wells", "n_fields", "n_cells", *counts, "split", "unlike") if name in frame]
    columns: dict[str, object] = {name: frame[name].to_numpy() for name in frame.columns if name not in last}
    columns |= {name: frame[name].to_numpy() for name in last if name not in ("split", "unlike")}
    ends = interval or ()
    for k, name in enumerate(classes):
        for kind, part in (("mil_probability", "mil"), ("probability", "head")):
            columns[f"{kind}:{name}"] = getattr(scores, part)[:, k]
            for word, end in zip(("low", "high"), ends, strict=False):
                columns[f"{kind}_{word}:{name}"] = getattr(end, part)[:, k]
    if scores.none is not None:
        columns["probability:none"] = scores.none
        for word, end in zip(("low", "high"), ends, strict=False):
            columns[f"probability_{word}:none"] = end.none
    calls, confidence = make_calls(
        scores.mil, scores.head, classes, none_probability=scores.none, several=several, rule=rule
    )
    columns |= {"call": calls, "confidence": confidence}
    columns["split"] = frame["split"].to_numpy() if "split" in frame else np.full(len(frame), "", dtype=object)
    if "unlike" in frame:
        columns["unlike"] = frame["unlike"].to_numpy()
    return pd.DataFrame(columns)
