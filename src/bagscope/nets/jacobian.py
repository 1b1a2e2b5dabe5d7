"""Which pixels speak for a class: the positive part of the way back through a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bagscope.errors import BagscopeError

# Nodes of the graph by which a gradient passes an activation unrectified.
_ACTIVATIONS = ("Relu", "Threshold", "LeakyRelu", "PreluKernel", "Elu", "Selu", "Celu", "Gelu", "Silu", "Hardtanh",
                "Mish", "Softplus", "Tanh", "Sigmoid", "Clamp", "Hardswish", "Hardsigmoid")  # fmt: skip


class UnrectifiedError(BagscopeError, ValueError):
    """A network through which there is no rectified way back."""


class _Rectified(torch.autograd.Function):
    """max(x, 0) whose gradient is rectified too: only what is positive, where x was."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp(min=0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        # The plain gradient of a rectification, rectified: the way with the fewest passes over memory.
        return torch.ops.aten.threshold_backward(gradient, y, 0).clamp_(min=0)


class RectifiedReLU(nn.Module):
    """max(x, 0); inside `rectified_gradients` its gradient is rectified too.

    A module of our own, since a hook on the network would not see an activation that is called as a function.
    """

    looks_back = False

    def forward(self, x: Tensor) -> Tensor:
        """Rectify."""
        return _Rectified.apply(x) if self.looks_back else torch.relu(x)


@contextmanager
def rectified_gradients(network: nn.Module) -> Iterator[None]:
    """Rectify gradients at every activation of a network for a while."""
    activations = [module for module in network.modules() if isinstance(module, RectifiedReLU)]
    for one in activations:
        one.looks_back = True
    try:
        yield
    finally:
        for one in activations:
            one.looks_back = False


def jacobian_maps(
    network: Callable[[Tensor], Tensor], images: Tensor, seed: Callable[[Tensor], Tensor], classes: Sequence[int]
) -> Iterator[tuple[int, Tensor]]:
    """Follow classes back to the pixels that speak for them, one class after the other.

    With abar on the class map, every layer gives max(0, (dz_l / dz_(l-1))^T abar): the transposed layer, masked
    where the activation was not positive, rectified, at the input too. It equals guided backpropagation of the
    seed, rectified. The way forward is taken once for all classes.

    Parameters
    ----------
    network : images (S, C, H, W) to logits (S, K, h, w), in evaluation mode; its activations are RectifiedReLU.
    images : (S, C, H, W) float.
    seed : logits (S, K, h, w) to abar (S, K, h, w); Kraus et al. take P_i p_ij.
    classes : whose maps are wanted, numbers in [0, K).

    Yields
    ------
    class, and (S, H, W) >= 0: summed over the input channels. Zero outside the field of view of the elements that
    have a seed.

    Raises
    ------
    UnrectifiedError : an activation on the way is none of ours.

    Source: Kraus, Ba and Frey, Bioinformatics 32 (2016) i52, section 2.5, equation 4; Springenberg et al. 2015.
    """
    module = network if isinstance(network, nn.Module) else getattr(network, "__self__", None)
    if not isinstance(module, nn.Module):
        cause = "the network is no torch module, so its activations cannot be found"
        raise UnrectifiedError(cause, "Give a module, or a method of one.", code="not_rectified")
    frozen = [p for p in module.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        with torch.enable_grad(), rectified_gradients(module):
            x = images.detach().requires_grad_()
            logits = network(x)
        refuse_unrectified(logits)
        abar = seed(logits.detach())
        for number, k in enumerate(classes):
            one = torch.zeros_like(abar)
            one[:, k] = abar[:, k]
            last = number + 1 == len(classes)
            (found,) = torch.autograd.grad(logits, x, one, retain_graph=not last)
            yield k, found.clamp_(min=0).sum(1)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def kraus_seed(log_odds: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the seed of Kraus et al.: P_i p_ij, from the bags' log-odds (S, K)."""
    present = torch.sigmoid(log_odds)[:, :, None, None]
    return lambda logits: present.to(logits.dtype) * torch.sigmoid(logits)


def refuse_unrectified(result: Tensor) -> None:
    """Refuse a result that came about by an activation whose gradient is not rectified.

    Parameters
    ----------
    result : with its graph.

    Raises
    ------
    UnrectifiedError : names the activation; the plain gradient would pass it without a word.
    """
    pending, seen = [result.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        kind = type(node).__name__.split("Backward")[0]
        if kind in _ACTIVATIONS:
            cause = f"the network calls the activation {kind.lower()} by a function or module that is none of ours"
            fix = "Use bagscope.nets.jacobian.RectifiedReLU for every activation of the trunk."
            raise UnrectifiedError(cause, fix, code="not_rectified")
        pending += [following for following, _ in node.next_functions]
