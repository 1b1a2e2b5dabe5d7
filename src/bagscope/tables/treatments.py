"""How the wells of a treatment become one row: the median, with an interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bagscope.tables.probabilities import Probabilities

# An interval of two wells would be their range: it says nothing of the spread, so it is left empty.
LEAST_WELLS = 3
INTERVAL = (2.5, 97.5)
_KEY = ["treatment", "concentration", "unit"]


def is_summed(name: str) -> bool:
    """Tell whether a column counts something, so that a well has the sum of its fields, a treatment of its wells."""
    return name in ("n_fields", "n_cells") or name.startswith("n_called:")


def treatments_of(wells: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the number of each well's treatment (-1: none is named) and their keys, sorted by name, unit and value."""
    named = (wells["treatment"] != "").to_numpy() if "treatment" in wells else np.zeros(len(wells), bool)
    if not named.any():
        empty = {"treatment": object, "concentration": np.float64, "unit": object, "n_wells": np.int64}
        frame = pd.DataFrame({name: np.array([], dtype=kind) for name, kind in empty.items()})
        summed = {name: np.array([], np.int64) for name in wells.columns if is_summed(name)}
        return np.full(len(wells), -1), frame.assign(**summed, split=np.array([], dtype=object))
    keys = wells.loc[named, _KEY].reset_index(drop=True)
    # NaN is equal to nothing, so a missing concentration takes part in the key as a text.
    names = [(t, u, "" if np.isnan(c) else repr(float(c))) for t, c, u in keys.itertuples(index=False)]
    numbered, first = number_keys(names)
    frame = keys.iloc[first].reset_index(drop=True)
    order = frame.sort_values(["treatment", "unit", "concentration"], na_position="first", kind="stable").index
    group = np.full(len(wells), -1)
    group[named] = np.argsort(order.to_numpy())[numbered]
    frame = frame.loc[order].reset_index(drop=True)
    scored = (wells["n_fields"] > 0).to_numpy() & named
    frame["n_wells"] = np.bincount(group[scored], minlength=len(frame)).astype(np.int64)
    for name in filter(is_summed, wells.columns):
        sums = np.bincount(group[named], weights=wells.loc[named, name].to_numpy(np.float64), minlength=len(frame))
        frame[name] = sums.astype(np.int64)
    splits = wells["split"].to_numpy(dtype=object) if "split" in wells else np.full(len(wells), "", dtype=object)
    frame["split"] = [";".join(sorted({s for s in splits[group == at] if s})) for at in range(len(frame))]
    return group, frame


def medians(
    scores: Probabilities, group: np.ndarray, count: int, wells: pd.DataFrame, seed: int, draws: int
) -> tuple[Probabilities, Probabilities, Probabilities]:
    """Median over the scored wells of each treatment, and the ends of its interval."""
    width = scores.mil.shape[1]
    parts = [scores.mil, scores.head] + ([] if scores.none is None else [scores.none[:, None]])
    table = np.concatenate(parts, axis=1)
    order = np.lexsort((wells["well"].astype(str), wells["plate"].astype(str)))
    results = np.full((3, count, table.shape[1]), np.nan)
    for at in range(count):
        values = table[order[group[order] == at]]
        values = values[np.isfinite(values).all(1)]
        if not len(values):
            continue
        results[0, at] = np.median(values, axis=0)
        if len(values) >= LEAST_WELLS:
            # Only the number of wells and the seed enter: other treatments in the table change nothing.
            chosen = np.random.default_rng((seed, len(values))).integers(0, len(values), (draws, len(values)))
            results[1:, at] = np.percentile(np.median(values[chosen], axis=1), INTERVAL, axis=0)
    return tuple(
        Probabilities(one[:, :width], one[:, width : 2 * width], None if scores.none is None else one[:, 2 * width])
        for one in results
    )  # type: ignore[return-value]


def number_keys(names: list[tuple]) -> tuple[np.ndarray, list[int]]:
    """Return the number of each row's key, in order of first appearance, and where each key comes first."""
    seen: dict[tuple, int] = {}
    first: list[int] = []
    group = np.empty(len(names), dtype=np.int64)
    for at, name in enumerate(names):
        if name not in seen:
            seen[name] = len(first)
            first.append(at)
        group[at] = seen[name]
    return group, first
