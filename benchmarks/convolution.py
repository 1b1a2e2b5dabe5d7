"""How fast this machine convolves, and how much arithmetic other work is: the measuring stick of all shares."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

WIDTH = 256


def arithmetic(work: Callable[[], object]) -> int:
    """Count the floating point operations of the layers that `work` runs, forward and backward.

    A product and its sum are two. Convolutions and matrix products count, nothing else.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def convolution(
    images: int, edge: int, dtype: torch.dtype, device: torch.device, *, backward: bool
) -> Callable[[], object]:
    """Return one pass of a 3x3 convolution of 256 channels to 256, channels last."""
    layer = torch.nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False, dtype=dtype, device=device)
    layer = layer.to(memory_format=torch.channels_last)
    x = torch.randn(images, WIDTH, edge, edge, dtype=dtype, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    slope = torch.randn_like(x)

    def forward() -> object:
        with torch.inference_mode():
            return layer(x)

    def forward_and_backward() -> object:
        x.grad = layer.weight.grad = None
        return layer(x.requires_grad_()).backward(slope)

    return forward_and_backward if backward else forward
