"""Losses of a network's outputs for bags with known classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from bagscope.errors import BagscopeError


class TargetError(BagscopeError, ValueError):
    """Targets that do not fit the scores they are compared with, or each other."""


def joint_loss(log_odds: Tensor, head_logits: Tensor, target: Tensor, several_labels: bool) -> dict[str, Tensor]:
    """Loss of the pooled log-odds and of the last layer: per bag the sum over classes, then the mean over bags.

    mil = sum_i BCE(L_i, t_i). head = sum_i BCE(y_i, t_i) with several labels, else the cross-entropy of
    softmax(y) with t. A bag in which no class applies is all zeros in `target`: for the softmax it is class K
    when the last layer has an output for it; without that output its head loss is 0, it still counts in the mean.

    Parameters
    ----------
    log_odds : (B, K), from a pooling.
    head_logits : (B, K); or (B, K + 1) with one label, the last one for `none`.
    target : (B, K) in [0, 1]; with one label a row adds up to 1 or, for `none`, to 0.
    several_labels : whether a bag may have several classes at once.

    Returns
    -------
    "mil" and "head", scalars in the type of `log_odds`, at least float32.

    Raises
    ------
    TargetError : shapes that do not fit, targets outside [0, 1], or two classes where one is allowed.

    Source: Kraus, Ba and Frey, Bioinformatics 32 (2016) i52, section 2.4.
    """
    _check(log_odds, head_logits, target, several_labels)
    dtype = torch.promote_types(log_odds.dtype, torch.float32)
    log_odds, head_logits, target = log_odds.to(dtype), head_logits.to(dtype), target.to(dtype)
    mil = binary_cross_entropy_with_logits(log_odds, target, reduction="none").sum(1)
    if several_labels:
        head = binary_cross_entropy_with_logits(head_logits, target, reduction="none").sum(1)
    else:
        if head_logits.shape[1] > target.shape[1]:
            target = torch.cat([target, 1 - target.sum(1, keepdim=True)], 1)
        head = -(target * log_softmax(head_logits, 1)).sum(1)
    return {"mil": mil.mean(), "head": head.mean()}


def _check(log_odds: Tensor, head_logits: Tensor, target: Tensor, several_labels: bool) -> None:
    bags, classes = target.shape if target.ndim == 2 else (-1, -1)
    widths = (classes,) if several_labels else (classes, classes + 1)
    fits = log_odds.shape == target.shape and head_logits.ndim == 2 and len(head_logits) == bags
    if not fits or bags < 1 or classes < 1 or head_logits.shape[1] not in widths:
        cause = (
            f"log-odds {tuple(log_odds.shape)}, last layer {tuple(head_logits.shape)} "
            f"and targets {tuple(target.shape)} do not fit"
        )
        raise TargetError(cause, "Give (B, K) each; the last layer may have K + 1 with one label.", code="target_shape")
    if not bool(((target >= 0) & (target <= 1)).all()):
        cause = "a target is outside [0, 1], or no number"
        raise TargetError(cause, "Give 1 for a class that applies, else 0.", code="target_range")
    # Shares of classes are rounded; two whole classes are far beyond this.
    if not several_labels and bool((target.sum(1) > 1 + 1e-4).any()):
        cause = "a bag has more than one class, but one label is expected"
        raise TargetError(cause, "Train with several labels, or give the bag one class.", code="target_classes")
