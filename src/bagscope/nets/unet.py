"""A U-Net: one logit per class for every pixel, from what lies near it and what lies around."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pad

from bagscope.nets.jacobian import RectifiedReLU


class UNet(nn.Module):
    """Images (S, C, H, W) of any size to logits (S, K, H, W).

    On each level two convolutions of 3x3 with batch norm; downwards the largest of 2x2, upwards the nearest value and
    what the same level saw before. Sizes that 2^levels does not divide are padded with their edge and cut again.

    Parameters
    ----------
    channels, classes : C and K.
    widths : features on each level, the finest first.
    shares : (K,) mean share of each class: with its logarithm as bias, training starts at the right shares.

    Source: Ronneberger, Fischer and Brox, MICCAI 2015.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        widths: tuple[int, ...] = (8, 16, 32, 64),
        shares: tuple[float, ...] | None = None,
    ):
        super().__init__()
        self.down = nn.ModuleList([_pair(channels, widths[0]), *(_pair(a, b) for a, b in pairwise(widths))])
        self.up = nn.ModuleList([_pair(a + b, a) for a, b in reversed(list(pairwise(widths)))])
        self.last = nn.Conv2d(widths[0], classes, 1)
        self.multiple = 2 ** (len(widths) - 1)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        if shares is not None:
            with torch.no_grad():
                self.last.bias.copy_(torch.tensor(shares).clamp(1e-3, 1).log())  # type: ignore[union-attr]

    @property
    def reach(self) -> int:
        """Pixels beyond which nothing has a part in a pixel's logits, rounded up to what divides the levels."""
        # Two convolutions reach two pixels of their level; downwards and upwards every level is passed once.
        levels = len(self.down)
        seen = sum(2 * 2**level for level in range(levels)) + sum(2 * 2**level for level in range(levels - 1))
        seen += self.multiple  # a block of 2 x 2 may end anywhere
        return -(-seen // self.multiple) * self.multiple

    def forward(self, images: Tensor) -> Tensor:
        """Judge every pixel."""
        height, width = images.shape[2:]
        room = [-n % self.multiple for n in (width, height)]
        x = pad(images, (0, room[0], 0, room[1]), "replicate") if any(room) else images
        seen: list[Tensor] = []
        for level, layers in enumerate(self.down):
            x = layers(max_pool2d(x, 2) if level else x)
            seen.append(x)
        for layers, finer in zip(self.up, reversed(seen[:-1]), strict=True):
            x = layers(torch.cat([finer, interpolate(x, scale_factor=2.0, mode="nearest")], 1))
        return self.last(x)[:, :, :height, :width]


def _pair(features: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (features, outputs):
        convolution = nn.Conv2d(width, outputs, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(outputs), RectifiedReLU()]
    return nn.Sequential(*layers)
