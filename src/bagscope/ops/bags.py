"""How instances that lie bag after bag become one number per bag: sums, means, maxima, variances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscope.errors import BagscopeError


class BagError(BagscopeError, ValueError):
    """Lengths that do not describe the instances they come with."""


@dataclass(frozen=True)
class Bags:
    """Lengths that were checked once, and what is needed to gather with them.

    lengths : (B,) whole numbers >= 1, on the instances' device.
    equal : the length that all bags share, or 0.
    index : (N,) bag of each instance; None when all bags are equally long.
    """

    lengths: Tensor
    equal: int
    index: Tensor | None


Lengths = Tensor | np.ndarray | Sequence[int] | Bags


def check_lengths(values: Tensor, lengths: Lengths) -> Bags:
    """Check that lengths cut the instances into bags, none of them empty.

    Parameters
    ----------
    values : (N, K) floating point numbers, bag after bag.
    lengths : (B,) whole numbers >= 1 that add up to N.

    Returns
    -------
    Bags, which every function here takes in place of `lengths`; nothing is checked twice then.

    Raises
    ------
    BagError : wrong shape or type, no bag at all, an empty bag, or lengths that do not add up to N.
    """
    if values.ndim != 2 or not values.is_floating_point():
        cause = f"instances are a floating point tensor of shape (N, K), not {values.dtype} of {tuple(values.shape)}"
        raise BagError(cause, "Put the instances below one another, bag after bag.", code="instance_shape")
    if isinstance(lengths, Bags):
        return lengths
    found = torch.as_tensor(lengths)
    if found.dtype == torch.bool or found.is_floating_point() or found.is_complex():
        cause = f"lengths are whole numbers, not {found.dtype}"
        raise BagError(cause, "Give the number of instances of each bag as integers.", code="length_type")
    if found.ndim != 1 or len(found) == 0:
        cause = f"lengths have the shape (B,) with B >= 1, not {tuple(found.shape)}"
        raise BagError(cause, "Give one length per bag.", code="length_shape")
    counted = found.detach().cpu().long()
    if int(counted.min()) < 1:
        bag = int(counted.argmin())
        cause = f"bag {bag} is empty (length {int(counted[bag])})"
        raise BagError(cause, "Leave out bags without instances: they have no score.", code="empty_bag")
    if int(counted.sum()) != len(values):
        cause = f"lengths add up to {int(counted.sum())}, but there are {len(values)} instances"
        raise BagError(cause, "Give one length per bag, in the order of the instances.", code="length_sum")
    equal = int(counted[0]) if bool((counted == counted[0]).all()) else 0
    index = None if equal else torch.repeat_interleave(torch.arange(len(counted)), counted).to(values.device)
    return Bags(counted.to(values.device), equal, index)


def bag_sum(values: Tensor, lengths: Lengths) -> Tensor:
    """Sum over each bag: instances (N, K) to (B, K).

    Raises
    ------
    BagError : see `check_lengths`; so for all sums, means, maxima and variances here.
    """
    bags = check_lengths(values, lengths)
    if bags.index is None:
        return _stacked(values, bags).sum(1)
    empty = values.new_zeros(len(bags.lengths), values.shape[1])
    return empty.index_add(0, bags.index, values)


def bag_mean(values: Tensor, lengths: Lengths) -> Tensor:
    """Mean over each bag: instances (N, K) to (B, K)."""
    bags = check_lengths(values, lengths)
    return bag_sum(values, bags) / bags.lengths[:, None].to(values.dtype)


def bag_max(values: Tensor, lengths: Lengths) -> Tensor:
    """Maximum over each bag: instances (N, K) to (B, K).

    The gradient goes to the largest instance; equally large ones share it evenly.
    """
    bags = check_lengths(values, lengths)
    if bags.index is None:
        return _stacked(values, bags).amax(1)
    shape = len(bags.lengths), values.shape[1]
    lowest = values.new_full(shape, -torch.inf)
    return lowest.scatter_reduce(0, bags.index[:, None].expand_as(values), values, "amax", include_self=False)


def bag_logsumexp(values: Tensor, lengths: Lengths) -> Tensor:
    """Logarithm of each bag's sum of exponentials, (N, K) to (B, K); never overflows."""
    bags = check_lengths(values, lengths)
    if bags.index is None:
        return torch.logsumexp(_stacked(values, bags), 1)
    # The shift cancels in the value, and so in the gradient: no need to differentiate it.
    shift = bag_max(values.detach(), bags)
    shift = torch.where(shift.isinf(), 0, shift)
    return bag_sum(torch.exp(values - spread(shift, bags)), bags).log() + shift


def bag_variance(values: Tensor, lengths: Lengths) -> Tensor:
    """Variance over each bag (divided by its length), (N, K) to (B, K); 0 for a bag of one.

    The variance of a group of bags is the mean of their variances plus the variance of their means,
    both weighted by length.
    """
    bags = check_lengths(values, lengths)
    return bag_mean((values - spread(bag_mean(values, bags), bags)).square(), bags)


def spread(values: Tensor, bags: Bags) -> Tensor:
    """Give each instance its bag's value: (B, K) to (N, K)."""
    if bags.index is None:
        return values.repeat_interleave(bags.equal, 0)
    return values.index_select(0, bags.index)


def _stacked(values: Tensor, bags: Bags) -> Tensor:
    return values.reshape(len(bags.lengths), bags.equal, values.shape[1])
