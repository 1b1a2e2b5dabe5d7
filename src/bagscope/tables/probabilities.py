"""Probabilities from the outputs of a network, for fields, wells and shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Probabilities:
    """Probabilities of R fields, wells or shapes: by the pooling (R, K), by the last layer (R, K), and of `none` (R,).

    NaN means not scored; `none` is None where it was not trained.
    """

    mil: np.ndarray
    head: np.ndarray
    none: np.ndarray | None


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Logistic function that overflows for no finite value."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(R, K) log-probabilities of (R, K) logits; a row with NaN stays NaN."""
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def probabilities(log_odds: np.ndarray, head: np.ndarray, several: bool, none_trained: bool) -> Probabilities:
    """Turn bag log-odds (R, K) and last-layer logits (R, K or, with one label and `none`, K + 1) into probabilities."""
    count = log_odds.shape[1]
    by_head = sigmoid(head) if several else np.exp(log_softmax(head))
    none = None
    if none_trained:
        # Several labels are independent: no class applies when each of them does not.
        none = (1 - by_head).prod(1) if several else by_head[:, count]
    return Probabilities(sigmoid(log_odds), by_head[:, :count], none)
