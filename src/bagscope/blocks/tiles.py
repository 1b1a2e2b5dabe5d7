"""Class probabilities of an image of any size: in tiles that overlap by what a pixel's prediction depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from bagscope.blocks.card import BlocksCard
from bagscope.blocks.samples import LEAST_SD, as_input
from bagscope.engine.loaded import Predictor
from bagscope.nets.folded import folded

TILE = 512
# Tiles spread over an image from which its mean and sd are estimated.
_MEASURED_TILES = 64


@dataclass(frozen=True)
class TiledImage:
    """An image that is read window by window; read : (y0, y1, x0, x1) -> (C, h, w) grey values."""

    read: Callable[[int, int, int, int], np.ndarray]
    height: int
    width: int

    @classmethod
    def of_array(cls, pixels: np.ndarray) -> TiledImage:
        """Return the image of an array (C, H, W) in memory."""
        return cls(partial(_window, pixels), pixels.shape[1], pixels.shape[2])


def _window(pixels: np.ndarray, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    return pixels[:, y0:y1, x0:x1]


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


def scaling_of(card: BlocksCard, image: TiledImage) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sd by which an image is standardised: the card's, or the image's, from tiles spread over it."""
    if not card.scaling.each:
        return np.array(card.scaling.mean), np.array(card.scaling.sd)
    steps = int(np.sqrt(_MEASURED_TILES))
    tops, lefts = (_starts(edge, steps) for edge in (image.height, image.width))
    # As many pixels as there are, tile by tile: float64 of all at once would take more memory than all else.
    count, middle, squares = 0, np.zeros(0), np.zeros(0)
    for y0, y1 in tops:
        for x0, x1 in lefts:
            pixels = image.read(y0, y1, x0, x1)
            flat = pixels.reshape(len(pixels), -1).astype(np.float64)
            mean, rest = flat.mean(1), flat.var(1)
            if not count:
                count, middle, squares = flat.shape[1], mean, rest * flat.shape[1]
                continue
            both, shift = count + flat.shape[1], mean - middle
            squares = squares + rest * flat.shape[1] + shift**2 * count * flat.shape[1] / both
            middle, count = middle + shift * flat.shape[1] / both, both
    return middle, np.maximum(np.sqrt(squares / count), LEAST_SD)


def _starts(edge: int, most: int) -> list[tuple[int, int]]:
    """Cut an edge into tiles, or, where these are more than `most`, so many that are spread over it."""
    if edge <= most * TILE:
        return [(at, min(edge, at + TILE)) for at in range(0, edge, TILE)]
    return [(at, at + TILE) for at in np.linspace(0, edge - TILE, most).astype(int).tolist()]


@torch.no_grad()
def predict_tiles(
    model: Predictor[BlocksCard], image: TiledImage, tile: int = TILE
) -> Iterator[tuple[Place, np.ndarray]]:
    """Yield each tile and its probabilities (C, h, w), row by row."""
    network = model.network
    mean, sd = scaling_of(model.card, image)
    reach, multiple = int(network.reach), int(network.multiple)
    logits_of = folded(network)
    for place in places(image.height, image.width, tile, reach, multiple):
        y0, y1, x0, x1 = place.window
        x = torch.from_numpy(as_input(image.read(y0, y1, x0, x1), mean, sd))[None]
        logits = logits_of(x.to(model.device, memory_format=torch.channels_last))
        inner = logits[:, :, place.y0 - y0 : place.y1 - y0, place.x0 - x0 : place.x1 - x0]
        yield place, torch.softmax(inner.float(), 1)[0].cpu().numpy()


def probabilities(model: Predictor[BlocksCard], pixels: np.ndarray) -> np.ndarray:
    """Return the probabilities (C, H, W) of an image that is in memory."""
    p = np.empty((len(model.card.classes), *pixels.shape[1:]), np.float32)
    for place, tile in predict_tiles(model, TiledImage.of_array(pixels)):
        p[:, place.y0 : place.y1, place.x0 : place.x1] = tile
    return p


def decided(probability: np.ndarray, limits: tuple[float, ...] | None) -> np.ndarray:
    """Class number of each pixel, (H, W) uint8: the most probable, or by limits the one farthest above its own."""
    if limits is None:
        return probability.argmax(0).astype(np.uint8)
    odds = probability / np.array(limits, np.float32)[:, None, None]
    return odds.argmax(0).astype(np.uint8)
