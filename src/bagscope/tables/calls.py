"""Which class a score leads to: a class, `none`, or `unsure`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NONE, UNSURE = "none", "unsure"
# Sums of probabilities miss their exact value by rounding; a call must not hang on the last bit.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CallRule:
    """Limits of the call rule.

    Parameters
    ----------
    threshold : `mil_probability` from which a class counts as present.
    confidence : with one label, the `probability` below which a call is unsure; two classes that lie
        nearer than 2 confidence - 1 (what it implies for two classes alone) are unsure too.
    near : with several labels, a `probability` this near .5 is unsure.
    thresholds : a threshold per class instead of one for all.
    """

    threshold: float = 0.5
    confidence: float = 0.6
    near: float = 0.1
    thresholds: tuple[float, ...] = ()

    def per_class(self, classes: int) -> np.ndarray:
        """Return the (K,) thresholds."""
        return np.array(self.thresholds or (self.threshold,) * classes, dtype=np.float64)


def make_calls(
    mil_probability: np.ndarray,
    probability: np.ndarray,
    classes: Sequence[str],
    *,
    none_probability: np.ndarray | None = None,
    several: bool = False,
    rule: CallRule | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Call each row a class, `none` or `unsure`, and say with what confidence.

    One label: `none` when no class's `mil_probability` reaches its threshold. Otherwise the largest
    `probability` among the classes, and `none` where that was trained, wins; the winner is the call,
    unless it is `unsure`: its `probability` is below the confidence limit, the next one is nearer than
    the limit implies, or it is a class whose own `mil_probability` is below its threshold.

    Several labels: `unsure` when any class's `probability` is within .5 +- `near`; otherwise all
    classes with `probability` >= .5, joined by `;`, or `none` when there is none.

    The confidence is the probability of the call: of the class (of several: the least of them); for
    `none` its own `probability` where `none` was trained, else 1 - the largest `mil_probability`;
    for `unsure` the largest `probability`. A row with a score that is not finite has an empty call.

    Parameters
    ----------
    mil_probability, probability : (R, K) in [0, 1].
    none_probability : (R,) where `none` was trained.

    Returns
    -------
    (R,) text and (R,) float, "" and NaN where nothing was scored.
    """
    rule = rule or CallRule()
    mil, own = np.asarray(mil_probability, np.float64), np.asarray(probability, np.float64)
    none = None if none_probability is None else np.asarray(none_probability, np.float64)
    calls = np.full(len(mil), "", dtype=object)
    confidence = np.full(len(mil), np.nan)
    scored = np.isfinite(mil).all(1) & np.isfinite(own).all(1)
    if none is not None:
        scored &= np.isfinite(none)
    for at in np.flatnonzero(scored):
        none_at = None if none is None else float(none[at])
        decide = _several if several else _single
        calls[at], confidence[at] = decide(mil[at], own[at], none_at, classes, rule)
    return calls, confidence


def cell_calls(mil: np.ndarray, classes: Sequence[str], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Call single cells: the most probable class when it is present, else `none`.

    Parameters
    ----------
    mil : (N, K) probabilities of the classes.
    threshold : probability from which a class counts as present.

    Returns
    -------
    calls : (N,) text. confidence : (N,) probability of the call; of `none`, that of no class.
    """
    best = mil.argmax(1) if len(mil) else np.zeros(0, int)
    top = mil.max(1, initial=0)
    present = top >= threshold
    names = np.array([*classes, NONE], dtype=object)
    return names[np.where(present, best, len(classes))], np.where(present, top, 1 - top)


def _single(
    mil: np.ndarray, own: np.ndarray, none: float | None, classes: Sequence[str], rule: CallRule
) -> tuple[str, float]:
    present = mil >= rule.per_class(len(classes)) - _ROUNDING
    if not present.any():
        return NONE, 1 - float(mil.max()) if none is None else none
    candidates = own if none is None else np.append(own, none)
    winner = int(candidates.argmax())
    top = float(candidates[winner])
    rest = np.delete(candidates, winner)
    margin = top - float(rest.max()) if len(rest) else 1.0
    sure = top >= rule.confidence - _ROUNDING and margin >= max(0.0, 2 * rule.confidence - 1) - _ROUNDING
    is_class = winner < len(classes)
    if not sure or (is_class and not present[winner]):
        return UNSURE, top
    return (classes[winner] if is_class else NONE), top


def _several(
    mil: np.ndarray, own: np.ndarray, none: float | None, classes: Sequence[str], rule: CallRule
) -> tuple[str, float]:
    if (np.abs(own - 0.5) <= rule.near + _ROUNDING).any():
        return UNSURE, float(own.max())
    called = np.flatnonzero(own >= 0.5).tolist()
    if called:
        return ";".join(classes[k] for k in called), float(own[called].min())
    return NONE, 1 - float(mil.max()) if none is None else none
