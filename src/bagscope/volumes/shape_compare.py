"""How the network fares against the traditional measures, on bags that neither has seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bagscope.ops.metrics import auc

METHODS = ("default", "network", "measures", "six", "boosting")
DRAWS = 1000


def comparison(
    scores: pd.DataFrame, outputs: Sequence[str], methods: Sequence[str] = METHODS, seed: int = 0
) -> pd.DataFrame:
    """Area under the ROC curve of every method, and how far the default is above it.

    For two classes of the second; else the mean over classes, each against all others. Only bags that the same model
    judged are compared: scores of two models have no common scale (LeDell, Petersen and van der Laan, Electronic
    Journal of Statistics 9 (2015) 1583). Intervals by a bootstrap over groups, the same draws for all methods.

    Parameters
    ----------
    scores : per bag `group`, `target` (class number), `fold` (which model judged it), and `<method>:<output>`.

    Returns
    -------
    `method`, `auc`, `low`, `high`, `default_above`, `above_low`, `above_high`, `bags`, `groups`.
    """
    numbers, names = pd.factorize(scores["group"])
    members = [np.flatnonzero(numbers == g) for g in range(len(names))]
    target, fold = scores["target"].to_numpy(int), scores["fold"].to_numpy(int)
    values = {
        m: scores[[f"{m}:{one}" for one in outputs]].to_numpy(float) for m in methods if f"{m}:{outputs[0]}" in scores
    }
    rng = np.random.default_rng([seed, 77])
    draws = [np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))]) for _ in range(DRAWS)]
    drawn = {m: np.array([area(v[at], target[at], fold[at]) for at in draws]) for m, v in values.items()}
    whole = {m: area(v, target, fold) for m, v in values.items()}
    first = next(iter(values))
    rows = []
    for method in values:
        low, high = np.nanquantile(drawn[method], [0.025, 0.975])
        above = drawn[first] - drawn[method]
        a, b = np.nanquantile(above, [0.025, 0.975])
        rows.append((method, whole[method], low, high, whole[first] - whole[method], a, b, len(target), len(names)))
    columns = ["method", "auc", "low", "high", "default_above", "above_low", "above_high", "bags", "groups"]
    return pd.DataFrame(rows, columns=columns)


def area(scores: np.ndarray, target: np.ndarray, fold: np.ndarray) -> float:
    """Probability that of two bags of one fold the one with the class scores above the one without.

    Area under the ROC curve: of the second of two classes, else the mean over all against the rest.

    Parameters
    ----------
    scores : (B, O) log-probabilities. target : (B,) class numbers. fold : (B,) which model judged each.
    """
    if scores.shape[1] == 2:
        return _within(scores[:, 1] - scores[:, 0], target == 1, fold)
    found = [_within(scores[:, k], target == k, fold) for k in range(scores.shape[1])]
    known = [one for one in found if not np.isnan(one)]
    return float(np.mean(known)) if known else float("nan")


def _within(score: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> float:
    """Mean of the folds' areas, each by the number of its pairs; NaN where no fold has one."""
    right = pairs = 0.0
    for one in np.unique(fold):
        own = fold == one
        count = float(positive[own].sum()) * float((~positive[own]).sum())
        if count:
            right, pairs = right + count * auc(score[own], positive[own]), pairs + count
    return right / pairs if pairs else float("nan")
