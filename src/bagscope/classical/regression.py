"""How classes are told apart by measures alone: regularised logistic regression, and gradient boosting beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# Measures beyond these quantiles of the training shapes are set to them: a few odd shapes would carry the fit.
CLIPPED = (0.005, 0.995)
_FOLDS = 4
# Log-odds against a class of which there is no example.
_ABSENT = 6.0


@dataclass(frozen=True)
class Linear:
    """A linear judge of measures (N, M): clip, standardise, weights (O, M), biases (O,)."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, measures: np.ndarray) -> np.ndarray:
        """Judge measures, (N, O)."""
        return self._standard(measures) @ self.weight.T + self.bias

    def _standard(self, measures: np.ndarray) -> np.ndarray:
        return (np.clip(measures, self.low, self.high) - self.mean) / self.scale


def fit_linear(
    measures: np.ndarray, target: np.ndarray, groups: np.ndarray, outputs: int, strength: float = 0, seed: int = 0
) -> Linear:
    """Fit a logistic regression with an L2 penalty.

    Parameters
    ----------
    measures : (N, M). target : (N,) class numbers from 0; one that does not occur is found improbable everywhere.
    outputs : O, how many classes there are.
    groups : (N,) what is never cut when the penalty is chosen.
    strength : scikit-learn's C; 0 = the one with the least cross-validated loss.
    """
    low, high = np.quantile(measures, CLIPPED, axis=0)
    clipped = np.clip(measures, low, high)
    mean, scale = clipped.mean(0), clipped.std(0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    x = (clipped - mean) / scale
    weight, bias = np.zeros((outputs, x.shape[1])), np.full(outputs, -_ABSENT)
    present = np.unique(target)
    bias[present] = 0
    if len(present) > 1:
        fitted = _regression(strength or _strength(x, target, groups, seed)).fit(x, target)
        # Of two classes scikit-learn keeps the logit of the second alone.
        at = present[-len(fitted.coef_) :]
        weight[at], bias[at] = fitted.coef_, fitted.intercept_
    return Linear(low, high, mean, scale, weight, bias)


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=2000)


def _strength(x: np.ndarray, target: np.ndarray, groups: np.ndarray, seed: int) -> float:
    count = min(_FOLDS, len(np.unique(groups)), int(np.unique(target, return_counts=True)[1].min()))
    if count < 2:
        return STRENGTHS[2]
    classes = np.unique(target)
    losses = np.zeros(len(STRENGTHS))
    for train, test in StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(x, target, groups):
        if len(np.unique(target[train])) < len(classes):
            continue
        for at, strength in enumerate(STRENGTHS):
            told = _regression(strength).fit(x[train], target[train]).predict_proba(x[test])
            losses[at] += log_loss(target[test], told, labels=classes) * len(test)
    return STRENGTHS[int(losses.argmin())]


def boosted(measures: np.ndarray, target: np.ndarray, asked: np.ndarray, outputs: int, seed: int = 0) -> np.ndarray:
    """Probabilities (N, O) of measures that are asked, by gradient-boosted trees fitted to others."""
    present = np.unique(target)
    found = np.zeros((len(asked), outputs))
    if len(present) < 2:
        found[:, present] = 1
        return found
    trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, max_leaf_nodes=8, random_state=seed)
    found[:, present] = trees.fit(measures, target).predict_proba(asked)
    return found
