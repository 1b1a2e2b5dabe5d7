"""Fold batch norm into the convolution before it, for faster inference with a trained network."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from bagscope.nets.jacobian import RectifiedReLU


def folded(network: nn.Module) -> nn.Module:
    """Return a copy for inference with the same outputs, up to rounding.

    In every `Sequential`, a convolution takes over the batch norm after it, and rectifiers work in place, which saves a
    third of the passes over memory. Relevance maps need the network itself. A network in training mode is returned
    unchanged.
    """
    if network.training:
        return network
    copy = deepcopy(network)
    for layers in [module for module in copy.modules() if isinstance(module, nn.Sequential)]:
        for at, layer in enumerate(layers):
            norm = layers[at + 1] if at + 1 < len(layers) else None
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[at], layers[at + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()
            elif isinstance(layer, RectifiedReLU):
                layers[at] = nn.ReLU(inplace=True)
    return copy


def normalised_convolution(layer: nn.Conv2d, following: nn.Module, x: Tensor) -> Tensor:
    """Apply a convolution and, folded into its weights, the batch norm if one follows.

    For a network that is not copied: gradients with respect to `x` pass, and the weights stay as they are.
    """
    weight, bias = layer.weight, layer.bias
    if isinstance(following, nn.BatchNorm2d):
        norm = (following.running_mean, following.running_var, following.eps, following.weight, following.bias)
        weight, bias = fuse_conv_bn_weights(weight, bias, *norm)  # type: ignore[arg-type]
    return conv2d(x, weight, bias, padding=layer.padding)
