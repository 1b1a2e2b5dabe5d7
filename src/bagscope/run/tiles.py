"""How an image of any size is judged pixel by pixel: in tiles that overlap by all that a pixel's judgement rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from bagscope.tasks.blocks.samples import as_input, own_scaling
from bagscope.tasks.card import BlocksCard

TILE = 512
# Pixels of an image that its own mean and sd are taken from: whole tiles spread over it.
_MEASURED_TILES = 64


@dataclass(frozen=True)
class Place:
    """A tile: its own pixels, and the window that is read for it."""

    y0: int
    y1: int
    x0: int
    x1: int
    window: tuple[int, int, int, int]


def places(height: int, width: int, tile: int, reach: int, multiple: int) -> Iterator[Place]:
    """Cut an image into tiles, row by row.

    A window goes beyond its tile by at least `reach` pixels, except where the image ends, and starts at a multiple of
    what the network's levels divide by: then every pixel is judged as in the whole image.
    """
    tile = max(multiple, tile // multiple * multiple)
    for y0 in range(0, height, tile):
        for x0 in range(0, width, tile):
            y1, x1 = min(height, y0 + tile), min(width, x0 + tile)
            wide = (max(0, y0 - reach), min(height, y1 + reach), max(0, x0 - reach), min(width, x1 + reach))
            yield Place(y0, y1, x0, x1, wide)


def scaling_of(
    card: BlocksCard, read: Callable[[int, int, int, int], np.ndarray], height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd that an image is standardised by: the card's, or its own, from tiles spread over it."""
    if not card.scaling.each:
        return np.array(card.scaling.mean), np.array(card.scaling.sd)
    if height * width <= _MEASURED_TILES * TILE**2:
        return own_scaling(read(0, height, 0, width))
    steps = int(np.sqrt(_MEASURED_TILES))
    tops = np.linspace(0, max(0, height - TILE), steps).astype(int)
    lefts = np.linspace(0, max(0, width - TILE), steps).astype(int)
    moments = [own_scaling(read(y, min(height, y + TILE), x, min(width, x + TILE))) for y in tops for x in lefts]
    mean = np.mean([m for m, _ in moments], axis=0)
    return mean, np.sqrt(np.mean([s**2 + (m - mean) ** 2 for m, s in moments], axis=0))


@torch.no_grad()
def judge_tiles(
    network: torch.nn.Module,
    card: BlocksCard,
    read: Callable[[int, int, int, int], np.ndarray],
    height: int,
    width: int,
    device: torch.device,
    tile: int = TILE,
) -> Iterator[tuple[Place, np.ndarray]]:
    """Yield each tile and its probabilities (C, h, w), row by row.

    Parameters
    ----------
    read : (y0, y1, x0, x1) -> (channels, h, w) grey values.
    """
    mean, sd = scaling_of(card, read, height, width)
    reach, multiple = int(network.reach), int(network.multiple)  # type: ignore[arg-type]
    for place in places(height, width, tile, reach, multiple):
        y0, y1, x0, x1 = place.window
        x = torch.from_numpy(as_input(read(y0, y1, x0, x1), mean, sd))[None]
        logits = network(x.to(device, memory_format=torch.channels_last))
        inner = logits[:, :, place.y0 - y0 : place.y1 - y0, place.x0 - x0 : place.x1 - x0]
        yield place, torch.softmax(inner.float(), 1)[0].cpu().numpy()


def probabilities(network: torch.nn.Module, card: BlocksCard, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    """Probabilities (C, H, W) of an image that is in memory."""
    _, height, width = pixels.shape
    found = np.empty((len(card.classes), height, width), np.float32)

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return pixels[:, y0:y1, x0:x1]

    for place, p in judge_tiles(network, card, read, height, width, device):
        found[:, place.y0 : place.y1, place.x0 : place.x1] = p
    return found
