"""How well scores and calls agree with what is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def z_prime(positive: ArrayLike, negative: ArrayLike) -> float:
    """Room between two groups of controls: Z' = 1 - 3 (sd+ + sd-) / |mean+ - mean-|.

    At most 1; above 0.5 an assay is called excellent. Does not change when all values are shifted or scaled.

    Parameters
    ----------
    positive, negative : values of the wells of each control, any number of them.

    Returns
    -------
    Z' with sample standard deviations (n - 1); NaN with fewer than two wells in a group or a value missing,
    minus infinity for equal means.

    Source: Zhang, Chung and Oldenburg, J. Biomol. Screen. 4 (1999) 67.
    """
    up, down = _values(positive), _values(negative)
    if len(up) < 2 or len(down) < 2:
        return float("nan")
    distance = abs(up.mean() - down.mean())
    if distance == 0:
        return float("-inf")
    return float(1 - 3 * (up.std(ddof=1) + down.std(ddof=1)) / distance)


def ssmd(positive: ArrayLike, negative: ArrayLike) -> float:
    """Strictly standardised mean difference: (mean+ - mean-) / sqrt(var+ + var-).

    Changes its sign with the groups' places; does not change when all values are shifted or scaled.
    NaN with fewer than two wells in a group, a value missing, or no variance at all.

    Source: Zhang, Genomics 89 (2007) 552.
    """
    up, down = _values(positive), _values(negative)
    if len(up) < 2 or len(down) < 2:
        return float("nan")
    variance = up.var(ddof=1) + down.var(ddof=1)
    if variance == 0:
        return float("nan")
    return float((up.mean() - down.mean()) / np.sqrt(variance))


def balanced_accuracy(truth: ArrayLike, call: ArrayLike) -> float:
    """Mean over the classes of the truth of the share of each that is called right; NaN without any.

    Does not change when all members of a class are repeated.
    """
    known, called = _pairs(truth, call)
    if not len(known):
        return float("nan")
    return float(np.mean([np.mean(called[known == one] == one) for one in np.unique(known)]))


def auc(score: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive scores above a negative, ties counting half: area under the ROC curve.

    Parameters
    ----------
    score : (R,) numbers; only their order counts.
    positive : (R,) true or 1 for positives.

    Returns
    -------
    From 0 to 1; NaN when there is only one class or a score is missing.

    Raises
    ------
    ValueError : unequal lengths.
    """
    scores, labels = _pairs(np.asarray(score, dtype=float), np.asarray(positive, dtype=bool))
    ups = int(labels.sum())
    downs = len(labels) - ups
    if ups == 0 or downs == 0 or np.isnan(scores).any():
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of each distinct score, from 1
    return float((rank[place][labels].sum() - ups * (ups + 1) / 2) / (ups * downs))


def _values(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, dtype=float).ravel()


def _pairs(one: ArrayLike, other: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(one).ravel(), np.asarray(other).ravel()
    if len(first) != len(second):
        message = f"{len(first)} values cannot be compared with {len(second)}"
        raise ValueError(message)
    return first, second
