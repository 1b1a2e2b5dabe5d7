"""Scores by the traditional workflow, for comparison: measures of shapes, a regression, and boosted trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscope.classical.regression import boosted, fit_linear
from bagscope.tables.probabilities import log_softmax


@dataclass(frozen=True)
class MeasuredBags:
    """Labelled bags: (B, M) mean measures, (B,) class numbers and groups that are never cut; `classes` is O."""

    measures: np.ndarray
    target: np.ndarray
    groups: np.ndarray
    classes: int


def traditional(train: MeasuredBags, measures: np.ndarray, six: Sequence[int], seed: int) -> dict[str, np.ndarray]:
    """Return the log-probabilities (N, O) of bags by the traditional methods.

    Parameters
    ----------
    measures : (N, M) mean measures of the bags. six : columns of the six measures that are commonly used.
    """
    linear = fit_linear(train.measures[:, six], train.target, train.groups, train.classes, seed=seed)
    trees = boosted(train.measures, train.target, measures, train.classes, seed)
    return {"six": log_softmax(linear.logits(measures[:, six])), "boosting": np.log(np.clip(trees, 1e-6, 1))}
