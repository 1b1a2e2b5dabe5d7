"""What the usual pipeline would say of shapes: their measures, a regression, and trees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bagscope.classical.regression import boosted, fit_linear
from bagscope.tables.probabilities import log_softmax


def traditional(
    seen: np.ndarray,
    target: np.ndarray,
    groups: np.ndarray,
    asked: np.ndarray,
    six: Sequence[int],
    outputs: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Log-probabilities (N, O) of bags that are asked, by what the usual pipeline would do.

    Parameters
    ----------
    seen, asked : (B, M), (N, M) mean measures. target : (B,) class numbers. six : places of the usual six. outputs : O.
    """
    linear = fit_linear(seen[:, six], target, groups, outputs, seed=seed)
    trees = boosted(seen, target, asked, outputs, seed)
    return {"six": log_softmax(linear.logits(asked[:, six])), "boosting": np.log(np.clip(trees, 1e-6, 1))}
