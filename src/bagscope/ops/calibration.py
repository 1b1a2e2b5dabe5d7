"""How sure a model may be: one temperature that makes its probabilities as large as its hits are frequent."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax

# Beyond these a temperature says that probabilities mean nothing, not how to mend them.
COLDEST, HOTTEST = 0.2, 10.0
# A prior as strong as one well keeps wells that are all called right from asking for certainty.
_PRIOR = 0.5


def fit_temperature(logits: ArrayLike, truth: ArrayLike, several: bool) -> float:
    """Number by which logits are divided so that held-out wells are least surprising; the calls stay the same.

    T minimises the mean negative log-likelihood of the truth under logits / T, with a normal prior on log T around 0
    that weighs as much as one well. T > 1 makes a model less sure.

    Parameters
    ----------
    logits : (N, K) of held-out wells.
    truth : (N,) numbers of the classes, or for several labels (N, K) of 0 and 1.
    several : whether classes are judged one by one (sigmoid) or against each other (softmax).

    Returns
    -------
    T in [.2, 10]; 1 without wells.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    z, t = np.asarray(logits, np.float64), np.asarray(truth)
    if not len(z):
        return 1.0

    def surprise(log_t: float) -> float:
        scaled = z / np.exp(log_t)
        if several:
            p = np.clip(np.where(t > 0, expit(scaled), expit(-scaled)), 1e-300, 1)
            total = -np.log(p).sum()
        else:
            total = -log_softmax(scaled, axis=1)[np.arange(len(z)), t].sum()
        return float(total + _PRIOR * log_t**2)

    found = minimize_scalar(surprise, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))
