"""Measure the training images before training: intensities, blank patches, cell size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from bagscope.errors import ImageReadError
from bagscope.feed.cache import PixelStore
from bagscope.feed.orders import rng_for
from bagscope.ops import diameter, intensity, likeness
from bagscope.ops.regions import two_levels

VALUES_PER_IMAGE = 20_000
# Statistics of more images than this change no digit that matters, and each has to be read.
MOST_IMAGES = 256
IMAGES_FOR_SIZE = 16
LARGEST_LOOK = 1024
BLANK_TILE = 24
MOST_BLANK_TILES = 512


@dataclass(frozen=True)
class Measured:
    """Measurements of the training images.

    intensity : normalisation.
    blank : (T, C, t, t) patches without cells.
    limits : (C,) normalised grey values up to which a patch is blank.
    blobs : (C,) diameter of blobs in pixels, NaN without contrast.
    appearances : of each image, see `ops.likeness`.
    unreadable : images that could not be read, by their index in the store.
    """

    intensity: intensity.Intensity
    blank: np.ndarray
    limits: tuple[float, ...]
    blobs: tuple[float, ...]
    appearances: tuple[np.ndarray, ...]
    unreadable: Mapping[int, ImageReadError]


def measure(store: PixelStore, seed: int) -> Measured:
    """Read the training images once (256 of them, when there are more) and measure.

    A tile is blank if in every channel its 98 % quantile is at most half of the middle between the mean values of
    background and foreground, separated by Otsu's threshold, after normalisation (background at 0).

    Raises
    ------
    ImageReadError : none of them can be read.
    """
    samples: list[np.ndarray] = []
    middles: list[np.ndarray] = []
    looks: list[np.ndarray] = []
    unreadable: dict[int, ImageReadError] = {}
    order = rng_for(seed, 101).permutation(len(store))[:MOST_IMAGES].tolist()
    chosen = set(order[:IMAGES_FOR_SIZE])
    for i in sorted(order):
        try:
            pixels = _centre(store, i)
        except ImageReadError as error:
            unreadable[i] = error
            continue
        samples.append(_sample(pixels, rng_for(seed, 102, i)))
        middle = likeness.middle(pixels)
        middles.append(middle if store.held else middle.copy())  # a view would keep the whole image
        if i in chosen:
            looks.append(pixels)
    if not samples:
        raise next(iter(unreadable.values()))
    values = np.concatenate(samples, 1)
    learned = intensity.learn(list(values))
    # The filters let go of Python's lock, so the channels are measured side by side.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        blobs = tuple(pool.map(diameter.blob_diameter, [[p[c] for p in looks] for c in range(len(values))]))
    limits = [0.5 * float(np.mean(two_levels(v))) for v in _normalised(values[:, :, None], learned)[:, :, 0]]
    appearances = tuple(likeness.appearance(pixels, learned) for pixels in middles)
    blank = _blank_tiles(looks, learned, limits, rng_for(seed, 103))
    return Measured(learned, blank, tuple(limits), blobs, appearances, unreadable)


def _centre(store: PixelStore, i: int) -> np.ndarray:
    _, h, w = store.shapes[i]
    if store.held or max(h, w) <= LARGEST_LOOK:
        pixels = store.whole(i)
        top, left = max(0, (h - LARGEST_LOOK) // 2), max(0, (w - LARGEST_LOOK) // 2)
        return pixels[:, top : top + LARGEST_LOOK, left : left + LARGEST_LOOK]
    top, left = max(0, (h - LARGEST_LOOK) // 2), max(0, (w - LARGEST_LOOK) // 2)
    return store.window(i, top, min(h, top + LARGEST_LOOK), left, min(w, left + LARGEST_LOOK))


def _sample(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    flat = pixels.reshape(pixels.shape[0], -1)
    return flat[:, rng.integers(0, flat.shape[1], VALUES_PER_IMAGE)].astype(np.float64)


def _normalised(pixels: np.ndarray, learned: intensity.Intensity) -> np.ndarray:
    return intensity.apply(torch.from_numpy(np.ascontiguousarray(pixels, np.float32)), learned).numpy()


def _blank_tiles(
    looks: list[np.ndarray], learned: intensity.Intensity, limits: list[float], rng: np.random.Generator
) -> np.ndarray:
    found = []
    for pixels in looks:
        tiles = _tiles(pixels)
        if tiles.size:
            found.append(tiles[_is_blank(_normalised(tiles, learned), limits)])
    blank = np.concatenate(found) if found else np.empty((0, len(limits), BLANK_TILE, BLANK_TILE), np.float32)
    return blank[rng.permutation(len(blank))[:MOST_BLANK_TILES]]


def blank_places(grey: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    """Where a normalised field (C, H, W) is blank: (H, W), true in whole tiles, false in what is left at the edges."""
    _, h, w = grey.shape
    found = np.zeros((h, w), bool)
    tiles = _tiles(grey)
    if tiles.size:
        rows, columns = h // BLANK_TILE, w // BLANK_TILE
        blank = _is_blank(tiles, limits).reshape(rows, columns)
        found[: rows * BLANK_TILE, : columns * BLANK_TILE] = blank.repeat(BLANK_TILE, 0).repeat(BLANK_TILE, 1)
    return found


def _tiles(pixels: np.ndarray) -> np.ndarray:
    """Cut (C, H, W) into whole tiles, row by row, (T, C, t, t)."""
    c, rows, columns = pixels.shape[0], pixels.shape[1] // BLANK_TILE, pixels.shape[2] // BLANK_TILE
    whole = pixels[:, : rows * BLANK_TILE, : columns * BLANK_TILE]
    tiles = whole.reshape(c, rows, BLANK_TILE, columns, BLANK_TILE).transpose(1, 3, 0, 2, 4)
    return tiles.reshape(rows * columns, c, BLANK_TILE, BLANK_TILE)


def _is_blank(tiles: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    high = np.quantile(tiles.reshape(*tiles.shape[:2], -1), 0.98, axis=2)
    # A channel without contrast is 0 everywhere, its limit too.
    return (high <= np.asarray(limits)).all(1)
