"""Which pooling a network ends in: formulas by name, with the threshold they learn."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor, nn

from bagscope.errors import SettingsError, nearest
from bagscope.ops.bags import Lengths
from bagscope.ops.pooling import PoolingError, in_range
from bagscope.registry import Registry

# A pooling is a function (logits, lengths) -> log-odds that may also take a, r or b; a b is learned.
POOLINGS = Registry(
    "pooling",
    {
        "noisy_and": "bagscope.ops.pooling:noisy_and",
        "noisy_or": "bagscope.ops.pooling:noisy_or",
        "isr": "bagscope.ops.pooling:isr",
        "gm": "bagscope.ops.pooling:gm",
        "lse": "bagscope.ops.pooling:lse",
        "mean": "bagscope.ops.pooling:mean",
        "max": "bagscope.ops.pooling:max",
        "attention": "bagscope.ops.pooling:attention",
    },
)
# Thresholds stay this far from 0 and 1, where no share of instances could tell bags apart any more.
MARGIN = 1e-4


class Pooling(nn.Module):
    """Instance logits (N, K) and lengths (B,) to bag log-odds (B, K), with a threshold per class if it has one.

    `wants_scores` is true of one that takes (N, K + 1), a score for each instance in the last column.

    Parameters
    ----------
    formula : a function of `ops.pooling`, or one with the same arguments.
    classes : K.
    a, r : fixed parameters, passed on when the formula takes them.
    b : start of the learned thresholds, when the formula takes b: b = 0.0001 + 0.9998 sigmoid(free), so that
        it stays in (0, 1) whatever the free parameter is.
    """

    def __init__(self, formula: Callable[..., Tensor], classes: int, a: float, r: float, b: float):
        super().__init__()
        taken = inspect.signature(formula).parameters
        self._formula = formula
        self.wants_scores = "scored" in taken
        self._fixed = {name: value for name, value in (("a", a), ("r", r)) if name in taken}
        self.free: nn.Parameter | None = None
        if "b" in taken:
            share = (b - MARGIN) / (1 - 2 * MARGIN)
            self.free = nn.Parameter(torch.full((classes,), math.log(share / (1 - share))))

    def thresholds(self) -> Tensor | None:
        """Return b, (K,), as it is now; None for a pooling without thresholds."""
        return None if self.free is None else MARGIN + (1 - 2 * MARGIN) * torch.sigmoid(self.free)

    def forward(self, logits: Tensor, lengths: Lengths) -> Tensor:
        """Map instances (N, K), bag after bag, to the bags' log-odds (B, K)."""
        b = self.thresholds()
        learned = {} if b is None else {"b": b}
        return self._formula(logits, lengths, **self._fixed, **learned)

    def extra_repr(self) -> str:
        """Name and parameters, for print."""
        return ", ".join([self._formula.__name__, *(f"{k}={v:g}" for k, v in self._fixed.items())])


def make_pooling(
    name: str, classes: int, a: float = 10.0, r: float = 1.0, b: float = 0.1, **unknown: object
) -> Pooling:
    """Build a pooling by name.

    Parameters
    ----------
    name : noisy_and, noisy_or, isr, gm, lse, mean, max or attention.
    classes : K, >= 1.
    a : steepness of noisy_and, in [1e-6, 1e6].
    r : sharpness of gm and lse, in [1e-6, 1e6].
    b : start of noisy_and's thresholds, in (0.0001, 0.9999).

    All parameters are checked, those that the pooling does not take too: a wrong one is a mistake anyway.

    Raises
    ------
    SettingsError : unknown name or parameter, or a parameter outside its range.
    """
    for parameter in unknown:
        cause = f"unknown pooling parameter '{parameter}'{nearest(parameter, ('a', 'b', 'r'))}"
        raise SettingsError(cause, "Known: a, b, r.", code="unknown_pooling_parameter")
    formula = POOLINGS.load(name)
    if not isinstance(classes, int) or classes < 1:
        cause = f"a pooling for {classes!r} classes"
        raise PoolingError(cause, "Give at least one class.", code="pooling_classes")
    a, r = in_range("a", a), in_range("r", r)
    if not isinstance(b, Real) or not MARGIN < b < 1 - MARGIN:
        cause = f"pooling parameter b = {b!r} is not a number between {MARGIN:g} and {1 - MARGIN:g}"
        raise PoolingError(cause, "Give b as the share of positive instances, such as 0.1.", code="pooling_b")
    return Pooling(formula, classes, a, r, float(b))
