"""How the same weights give a class map of finer grid: stride turned into dilation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from bagscope.errors import SettingsError
from bagscope.nets.kraus import KrausNet

JUMPS = (32, 16, 8, 4)


def dense_maps(network: KrausNet, images: Tensor, jump: int) -> Tensor:
    """Map images (S, C, H, W) to logits (S, K, h', w') with an element every `jump` pixels.

    On every (32 / jump)-th element it equals the network's own map: a pooling that would halve the map
    keeps it whole, and all layers behind it look at every second, fourth, eighth element instead. Element
    i is centred at pixel 31 + jump i.

    Parameters
    ----------
    network : in evaluation mode.
    jump : 32 (the network's own map), 16, 8 or 4; the cost grows to about 1.3, 2 and 4 times.

    Raises
    ------
    SettingsError : another jump, or a layer that is not known.
    """
    if jump not in JUMPS:
        cause = f"a class map with an element every {jump} pixels"
        raise SettingsError(cause, f"Choose one of {', '.join(map(str, JUMPS))}.", code="bad_jump")
    x, reached, apart = images, 1, 1
    for layer in network.trunk:
        if isinstance(layer, nn.Conv2d):
            padding = [apart * (size // 2) for size in layer.kernel_size]
            x = functional.conv2d(x, layer.weight, layer.bias, padding=padding, dilation=apart)
        elif isinstance(layer, nn.AvgPool2d):
            x, reached = layer(x), 2 * reached
        elif isinstance(layer, nn.MaxPool2d):
            stride = 2 if reached < jump else 1
            x = functional.max_pool2d(x, layer.kernel_size, stride=stride, dilation=apart)
            reached, apart = (2 * reached, apart) if stride == 2 else (reached, 2 * apart)
        else:
            x = layer(x)
    return network.classifier(x)
