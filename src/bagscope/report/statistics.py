"""What a screen is judged by: separation of controls, position effects, replicates, hits, wells to look at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bagscope.ops.intervals import bootstrap, wilson
from bagscope.ops.metrics import ssmd, z_prime
from bagscope.tables.values import label_parts
from bagscope.tables.wells import well_place

SEEN = ("train", "validation")
PERMUTATIONS = 2000
# An interval of two wells would be their range.
LEAST_WELLS = 3
# Fewer held-out wells say nothing of calibration.
LEAST_CALIBRATION = 10


@dataclass(frozen=True)
class Separation:
    """How well a score tells the controls of a class from all other controls: wells on both sides, Z' and SSMD."""

    name: str
    column: str
    inside: int
    outside: int
    z_prime: float
    ssmd: float
    seen: int


@dataclass(frozen=True)
class Calibration:
    """Confidence of calls against how many were right: (B,) middle, share right, wells per bin; error over all."""

    confidence: np.ndarray
    right: np.ndarray
    wells: np.ndarray
    error: float


def separations(wells: pd.DataFrame, classes: Sequence[str]) -> list[Separation]:
    """Z'-factor and SSMD of every score, for each class against the controls that are not of it.

    NaN where a side has fewer than two wells. `seen` counts wells that the model was trained on: their figures flatter.
    """
    labelled = wells[wells["label"] != ""] if "label" in wells else wells.iloc[:0]
    found = []
    for name in classes:
        is_in = labelled["label"].map(lambda label, name=name: name in label_parts(label)).to_numpy(bool)
        for kind in ("mil_probability", "probability", "share"):
            column = f"{kind}:{name}"
            if column not in labelled:
                continue
            value = labelled[column].to_numpy(float)
            known = np.isfinite(value)
            up, down = value[known & is_in], value[known & ~is_in]
            both = len(up) > 1 and len(down) > 1
            seen = int(labelled["split"].isin(SEEN).sum())
            z, s = (z_prime(up, down), ssmd(up, down)) if both else (np.nan, np.nan)
            found.append(Separation(name, column, len(up), len(down), float(z), float(s), seen))
    return found


def confusion(wells: pd.DataFrame, classes: Sequence[str]) -> tuple[list[str], list[str], np.ndarray]:
    """Count calls of labelled wells: labels (rows), calls (columns), wells (rows, columns).

    Labels of several classes are named as they stand.
    """
    labelled = wells[(wells["label"] != "") & (wells["call"] != "")] if "label" in wells else wells.iloc[:0]
    truth, call = labelled["label"].astype(str), labelled["call"].astype(str)
    order = [*classes, "none", "unsure"]
    labels = [name for name in order if name in set(truth)] + sorted(set(truth) - set(order))
    calls = [name for name in order if name in set(call)] + sorted(set(call) - set(order))
    counts = np.array([[int(((truth == a) & (call == b)).sum()) for b in calls] for a in labels], int)
    return labels, calls, counts.reshape(len(labels), len(calls))


def right_share(wells: pd.DataFrame) -> tuple[int, int, float, float]:
    """Labelled wells called as labelled, all labelled wells, and Wilson's 95 % interval of the share."""
    labelled = wells[(wells["label"] != "") & (wells["call"] != "")] if "label" in wells else wells.iloc[:0]
    right = int(sum(_same(a, b) for a, b in zip(labelled["label"], labelled["call"], strict=True)))
    ends = wilson(np.array(float(right)), np.array(float(len(labelled)))) if len(labelled) else None
    return right, len(labelled), float(ends.low) if ends else np.nan, float(ends.high) if ends else np.nan


def disagreements(wells: pd.DataFrame) -> pd.DataFrame:
    """Labelled wells whose call is another, the most confident first: candidates for a second look."""
    if "label" not in wells:
        return wells.iloc[:0]
    odd = [bool(a) and bool(b) and not _same(a, b) for a, b in zip(wells["label"], wells["call"], strict=True)]
    return wells[np.array(odd, bool)].sort_values("confidence", ascending=False, kind="stable")


def _same(label: str, call: str) -> bool:
    return set(label_parts(label)) == set(label_parts(call))


def positions(wells: pd.DataFrame, column: str) -> list[dict[str, float | str]]:
    """Per plate: mean at the edge less the mean inside, and which share of the variance rows and columns explain.

    Controls are left out: where they stand is design, not accident. NaN with fewer than 12 wells.
    """
    found: list[dict[str, float | str]] = []
    free = wells[wells["label"] == ""] if "label" in wells else wells
    for plate, own in free.groupby("plate", sort=False):
        places = [well_place(str(well)) for well in own["well"]]
        value = own[column].to_numpy(float)
        known = np.isfinite(value) & np.array([place is not None for place in places], bool)
        if known.sum() < 12:
            found.append({"plate": str(plate), "edge": np.nan, "rows": np.nan, "columns": np.nan})
            continue
        row, col = np.array([place for place, ok in zip(places, known, strict=True) if ok and place]).T
        x = value[known]
        everywhere = [
            place for place in map(well_place, wells.loc[wells["plate"] == plate, "well"].astype(str)) if place
        ]
        last_row, last_col = (max(place[axis] for place in everywhere) for axis in (0, 1))
        edge = (row == 1) | (row == last_row) | (col == 1) | (col == last_col)
        step = float(x[edge].mean() - x[~edge].mean()) if edge.any() and (~edge).any() else np.nan
        found.append({"plate": str(plate), "edge": step, "rows": _explained(x, row), "columns": _explained(x, col)})
    return found


def _explained(x: np.ndarray, group: np.ndarray) -> float:
    """Share of the variance between groups, less what chance gives (omega squared), at least 0."""
    names = np.unique(group)
    if len(names) < 2 or len(x) <= len(names):
        return float("nan")
    means = np.array([x[group == name].mean() for name in names])
    counts = np.array([(group == name).sum() for name in names])
    between = float((counts * (means - x.mean()) ** 2).sum())
    within = float(sum(((x[group == name] - mean) ** 2).sum() for name, mean in zip(names, means, strict=True)))
    noise = within / (len(x) - len(names))
    total = between + within + noise
    return max(0.0, (between - (len(names) - 1) * noise) / total) if total > 0 else 0.0


def replicate_agreement(wells: pd.DataFrame, column: str) -> tuple[float, int]:
    """Share of the variance of unlabelled wells that lies between treatments (intraclass correlation), and treatments.

    1 when replicate wells agree entirely, about 0 when a treatment tells nothing; NaN without replicates.

    Source: Shrout and Fleiss, Psychol. Bull. 86 (1979) 420, case 1.
    """
    if "treatment" not in wells:
        return float("nan"), 0
    free = wells[(wells["label"] == "") & (wells["treatment"] != "") & wells[column].notna()]
    groups = [g[column].to_numpy(float) for _, g in free.groupby(["treatment", "concentration", "unit"], dropna=False)]
    groups = [g for g in groups if len(g) > 1]
    if len(groups) < 2:
        return float("nan"), len(groups)
    n, k = sum(map(len, groups)), len(groups)
    every = np.concatenate(groups)
    between = sum(len(g) * (g.mean() - every.mean()) ** 2 for g in groups) / (k - 1)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (n - k)
    size = (n - sum(len(g) ** 2 for g in groups) / n) / (k - 1)
    top = between + (size - 1) * within
    return (float((between - within) / top) if top > 0 else float("nan")), k


def alike(wells: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Return the wells that treatments may be judged by: those with an image like the training ones.

    A score of an image unlike them means little. Where most wells are unlike, there is nothing better: all are kept.
    """
    if "unlike" not in images:
        return wells
    fine = images[images["unlike"].fillna("") == ""]
    known = set(zip(fine["plate"], fine["well"], strict=True))
    keep = np.array([key in known for key in zip(wells["plate"], wells["well"], strict=True)], bool)
    return wells[keep] if keep.mean() > 0.5 else wells


def hits(wells: pd.DataFrame, column: str, name: str, seed: int = 0, draws: int = PERMUTATIONS) -> pd.DataFrame:
    """Rank treatments by how far their wells' score lies above the plates' reference.

    The reference of a plate is the median of its controls that are not of the class, or of all its wells where there
    are none. `p`: share of permutations of wells within plates in which a treatment's mean lies as high, one-sided;
    `fdr`: Benjamini and Hochberg's. Controls of the class itself do not take part.

    Returns
    -------
    `treatment`, `concentration`, `unit`, `wells`, `effect`, `low`, `high` (bootstrap over wells; NaN below three), `p`,
    `fdr`; the largest effect first.
    """
    columns = ["treatment", "concentration", "unit", "wells", "effect", "low", "high", "p", "fdr"]
    if "treatment" not in wells:
        return pd.DataFrame(columns=columns)
    label = wells["label"].to_numpy(dtype=object)
    of_class = np.array([name in label_parts(text) for text in label], bool)
    use = wells[column].notna().to_numpy() & ~of_class
    own = wells[use].reset_index(drop=True)
    reference = own["label"].to_numpy(dtype=object) != ""
    plate = own["plate"].to_numpy(dtype=object)
    value = own[column].to_numpy(float)
    above = value.copy()
    for one in dict.fromkeys(plate):
        here = plate == one
        base = value[here & reference] if (here & reference).any() else value[here]
        above[here] -= np.median(base)
    keys = own[["treatment", "concentration", "unit"]]
    free = (own["treatment"] != "").to_numpy() & ~reference
    if not free.any():
        return pd.DataFrame(columns=columns)
    group = np.full(len(own), -1)
    numbered = keys[free].groupby(["treatment", "concentration", "unit"], dropna=False, sort=True)
    group[free] = numbered.ngroup().to_numpy()
    count = int(group.max()) + 1
    sizes = np.bincount(group[free], minlength=count)
    effect = np.bincount(group[free], weights=above[free], minlength=count) / sizes
    as_high = np.ones(count)
    rng = np.random.default_rng([seed, 31])
    places = [np.flatnonzero(plate == one) for one in dict.fromkeys(plate)]
    for _ in range(draws):
        mixed = above.copy()
        for at in places:
            mixed[at] = above[rng.permutation(at)]
        as_high += np.bincount(group[free], weights=mixed[free], minlength=count) / sizes >= effect - 1e-12
    p = as_high / (draws + 1)
    first = [int(np.flatnonzero(group == g)[0]) for g in range(count)]
    table = keys.iloc[first].reset_index(drop=True)
    ends = [bootstrap(above[group == g], np.mean, seed=seed) if sizes[g] >= LEAST_WELLS else None for g in range(count)]
    table["wells"], table["effect"] = sizes, effect
    table["low"] = [np.nan if e is None else float(e.low) for e in ends]
    table["high"] = [np.nan if e is None else float(e.high) for e in ends]
    table["p"], table["fdr"] = p, false_discovery(p)
    return table.sort_values("effect", ascending=False, kind="stable").reset_index(drop=True)


def false_discovery(p: np.ndarray) -> np.ndarray:
    """Smallest false discovery rate at which each hypothesis is called (Benjamini and Hochberg 1995), in [0, 1]."""
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    found = np.empty(len(p))
    found[order] = np.minimum(1, np.minimum.accumulate(scaled[::-1])[::-1])
    return found


def calibration(wells: pd.DataFrame, bins: int = 5) -> Calibration | None:
    """Hold the confidence of calls against the share that was right, on labelled wells that no training has seen.

    Bins hold equally many wells. The error is the expected calibration error: the mean distance of confidence and
    share, weighted by wells. None with fewer than ten such wells.
    """
    if "label" not in wells:
        return None
    own = wells[
        (wells["label"] != "") & (wells["call"] != "") & ~wells["split"].isin(SEEN) & wells["confidence"].notna()
    ]
    own = own[own["call"] != "unsure"]
    if len(own) < LEAST_CALIBRATION:
        return None
    right = np.array([_same(a, b) for a, b in zip(own["label"], own["call"], strict=True)], float)
    sure = own["confidence"].to_numpy(float)
    parts = np.array_split(np.argsort(sure, kind="stable"), min(bins, len(own) // 5))
    middle, share, count = (
        np.array([f(part) for part in parts], float)
        for f in (lambda at: sure[at].mean(), lambda at: right[at].mean(), len)
    )
    return Calibration(middle, share, count, float((count * np.abs(middle - share)).sum() / count.sum()))


def risk_coverage(wells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What abstention buys: share of labelled wells called when only the surest are, and share of them wrong."""
    if "label" not in wells:
        return np.empty(0), np.empty(0)
    own = wells[(wells["label"] != "") & (wells["call"] != "") & wells["confidence"].notna()]
    order = own.sort_values("confidence", ascending=False, kind="stable")
    wrong = np.array([not _same(a, b) for a, b in zip(order["label"], order["call"], strict=True)], float)
    count = np.arange(1, len(wrong) + 1)
    return count / max(1, len(wrong)), np.cumsum(wrong) / count
