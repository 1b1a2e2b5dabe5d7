"""What the layers of a network are called, and what each of them gives for an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bagscope.errors import SettingsError, nearest
from bagscope.nets.jacobian import RectifiedReLU


def layer_names(network: nn.Module) -> dict[str, int]:
    """Name the convolutions of a network's trunk, first to last: conv1 -> place of its rectified output.

    Raises
    ------
    SettingsError : a network without a `trunk` of layers.
    """
    trunk = getattr(network, "trunk", None)
    if not isinstance(trunk, nn.Sequential):
        cause = f"{type(network).__name__} has no trunk of layers in a row"
        raise SettingsError(cause, "Filters and activations can be had of the network kraus.", code="no_trunk")
    places = [at for at, layer in enumerate(trunk) if isinstance(layer, RectifiedReLU)]
    return {f"conv{number}": at for number, at in enumerate(places, start=1)}


def first_filters(network: nn.Module) -> Tensor:
    """Return the weights of the first convolution, (filters, C, k, k).

    Raises
    ------
    SettingsError : as `layer_names`.
    """
    layer_names(network)
    first = next(layer for layer in network.trunk if isinstance(layer, nn.Conv2d))  # type: ignore[union-attr]
    return first.weight.detach()


@torch.no_grad()
def activations(network: nn.Module, images: Tensor, layer: str) -> Tensor:
    """Return what a layer gives for images (S, C, H, W): (S, filters, h, w), >= 0.

    Parameters
    ----------
    network : in evaluation mode.
    layer : one of `layer_names`.

    Raises
    ------
    SettingsError : no such layer, or as `layer_names`.
    """
    names = layer_names(network)
    if layer not in names:
        cause = f"no layer '{layer}'{nearest(layer, names)}"
        raise SettingsError(cause, f"Layers: {', '.join(names)}.", code="no_layer")
    return network.trunk[: names[layer] + 1](images)  # type: ignore[index,operator]
