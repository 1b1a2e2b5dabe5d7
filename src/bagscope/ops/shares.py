"""How sure a share of cells is, when the cells of a well resemble each other more than those of two wells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bagscope.ops.intervals import Interval, wilson


def dispersion(counted: ArrayLike, trials: ArrayLike, group: Sequence[object]) -> float:
    """How much more replicate shares scatter than independent cells would: Pearson's chi-square per degree of freedom.

    1 when cells are independent; at least 1 is returned, since fewer differences than chance allows are chance.

    Parameters
    ----------
    counted, trials : (R,) positive cells and all cells of each well.
    group : (R,) what is replicated (treatment and dose, or the control); wells alone in their group tell nothing.

    Returns
    -------
    The factor by which the variance of a share is larger than p (1 - p) / n; 1 without replicates.

    Source: McCullagh and Nelder, Generalized Linear Models (1989), section 4.5 (quasi-binomial).
    """
    k, n = np.asarray(counted, dtype=float), np.asarray(trials, dtype=float)
    members: dict[object, list[int]] = {}
    for at, name in enumerate(group):
        if n[at] > 0:
            members.setdefault(name, []).append(at)
    square, spare = 0.0, 0
    for places in members.values():
        share = k[places].sum() / n[places].sum()
        if len(places) < 2 or share in (0.0, 1.0):
            continue
        square += float(((k[places] - n[places] * share) ** 2 / (n[places] * share * (1 - share))).sum())
        spare += len(places) - 1
    return max(1.0, square / spare) if spare else 1.0


def share_interval(counted: ArrayLike, trials: ArrayLike, factor: float, level: float = 0.95) -> Interval:
    """Interval of a share of cells that are not independent: Wilson's, of as many cells as they are worth.

    Parameters
    ----------
    counted, trials : cells that count, and all; of one shape.
    factor : from `dispersion`; n cells are worth n / factor independent ones.
    """
    k, n = np.asarray(counted, dtype=float), np.asarray(trials, dtype=float)
    return wilson(k / factor, n / factor, level)
