"""Confidence intervals of numbers that were computed from a few wells, fields or cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

# Draws are made in portions of about this many numbers, so that many wells need no more memory than few.
_PORTION = 4_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval it lies in: floats, or arrays of one shape."""

    estimate: Any
    low: Any
    high: Any


def bootstrap(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.median,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic over values drawn again with replacement.

    Parameters
    ----------
    values : (n, ...) one entry per well (or field, cell), drawn as a whole.
    statistic : takes an array and `axis`, as np.median and np.mean do.
    draws : how many times n entries are drawn.
    level : share of the draws inside, in (0, 1).
    seed : the same seed gives the same interval.

    Returns
    -------
    Interval of the shape of one entry. Its ends are NaN with fewer than two entries, because one well contains no
    information about the spread of wells. Everything is NaN without entries.

    Raises
    ------
    ValueError : draws < 1 or level outside (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if draws < 1 or not 0 < level < 1:
        message = f"a bootstrap needs draws >= 1 and a level in (0, 1), not {draws} and {level}"
        raise ValueError(message)
    # Equal to scipy.stats.bootstrap with method "percentile" to the last bit (tested) where that applies. It refuses
    # fewer than two entries, and passes columns on as separate samples, so that a statistic of whole rows, such as a
    # ratio of two sums, would have to put them together again; and loading scipy.stats takes a second.
    entries = np.asarray(values, dtype=float)
    unknown = np.full(entries.shape[1:], np.nan)
    if len(entries) < 2:
        estimate = statistic(entries, axis=0) if len(entries) else unknown
        return Interval(_plain(estimate), _plain(unknown), _plain(unknown))
    rng = np.random.default_rng(seed)
    portion = max(1, _PORTION // max(1, entries.size))
    found = []
    for start in range(0, draws, portion):
        chosen = rng.integers(len(entries), size=(min(portion, draws - start), len(entries)))
        found.append(statistic(entries[chosen], axis=1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail], axis=0)
    return Interval(_plain(statistic(entries, axis=0)), _plain(low), _plain(high))


def wilson(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> Interval:
    """Wilson score interval of a counted fraction; its coverage is right near 0 and 1 and for few trials too.

    Parameters
    ----------
    successes, trials : numbers, 0 <= successes <= trials, of one shape; fractional for effective numbers.
    level : in (0, 1).

    Returns
    -------
    Interval within [0, 1]; without trials the estimate is NaN and the interval is all of [0, 1].

    Raises
    ------
    ValueError : successes outside 0 to trials, or a level outside (0, 1).

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    # scipy.stats.binomtest takes one pair of whole numbers, and no 0 trials; here k and n are arrays, and fractional
    # where cells are worth fewer independent ones (`ops.shares.share_interval`).
    k, n = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    if not np.all((k >= 0) & (k <= n)) or not 0 < level < 1:
        message = "a share needs 0 <= successes <= trials and a level in (0, 1)"
        raise ValueError(message)
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    n, none = np.where(n > 0, n, 1), n == 0
    share = k / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At 0 and n successes one end is exactly 0 or 1; rounding must not move the share out of its interval.
    low, high = np.where(k == 0, 0, middle - half), np.where(k == n, 1, middle + half)
    ends = np.where(none, np.nan, share), low, np.where(none, 1, high)
    return Interval(*(_plain(end) for end in ends))


def student(mean: ArrayLike, sd: ArrayLike, n: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of a mean of n values with standard deviation `sd` (divided by n - 1), by Student's t.

    Parameters
    ----------
    mean, sd, n : of one shape; n >= 2. level : in (0, 1).

    Source: Student, Biometrika 6 (1908) 1. Exact for normal values; for shares near 0 or 1 it is an approximation.
    """
    middle, n = np.asarray(mean, dtype=float), np.asarray(n, dtype=float)
    half = special.stdtrit(n - 1, (1 + level) / 2) * np.asarray(sd, dtype=float) / np.sqrt(n)
    return Interval(_plain(middle), _plain(middle - half), _plain(middle + half))


def spread(sd: ArrayLike, n: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of a standard deviation (divided by n - 1) of n values, by the chi-squared distribution.

    Parameters
    ----------
    sd, n : of one shape; n >= 2. level : in (0, 1).

    Source: Casella and Berger, Statistical Inference (2002), example 9.2.11. Exact for normal values; shares, whose
    tails are short, vary less, and the interval is then wider than need be.
    """
    middle, free = np.asarray(sd, dtype=float), np.asarray(n, dtype=float) - 1
    tail = (1 - level) / 2
    low = middle * np.sqrt(free / special.chdtri(free, tail))
    high = middle * np.sqrt(free / special.chdtri(free, 1 - tail))
    return Interval(_plain(middle), _plain(low), _plain(high))


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else np.asarray(value)
