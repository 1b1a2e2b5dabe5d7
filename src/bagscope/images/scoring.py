"""How a trained network scores a field of any size: in tiles that do not change the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bagscope.engine.loaded import Predictor
from bagscope.errors import ImageReadError
from bagscope.images.card import ModelCard
from bagscope.images.samples import to_device
from bagscope.images.task import intensity_of
from bagscope.nets.bagnet import BagNet
from bagscope.ops import geometry, intensity, windows

# (y0, y1, x0, x1) in the image's own pixels -> (C, y1 - y0, x1 - x0)
ReadWindow = Callable[[int, int, int, int], np.ndarray]


@dataclass(frozen=True)
class FieldPixels:
    """The pixels of a field, read window by window; `shape` is (H, W)."""

    read: ReadWindow
    shape: tuple[int, int]

    @classmethod
    def of_array(cls, pixels: np.ndarray) -> FieldPixels:
        """Return the field of an array (C, H, W) in memory."""
        return cls(partial(_window, pixels), (pixels.shape[1], pixels.shape[2]))


def _window(pixels: np.ndarray, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    return pixels[:, y0:y1, x0:x1]


@dataclass(frozen=True)
class FieldScore:
    """Scores of a field: bag log-odds (K,), the last layer's logits, class maps (K, h, w)."""

    log_odds: np.ndarray
    head: np.ndarray
    maps: np.ndarray


@torch.inference_mode()
def score_field(model: Predictor[ModelCard], field: FieldPixels, tile: int, factor: float | None = None) -> FieldScore:
    """Score a field, alone, so that its score depends on no other field.

    Parameters
    ----------
    tile : class-map elements per side of a tile; bounds the memory, not the result.
    factor : rescaled over original pixels; default: the card's.

    Raises
    ------
    ImageReadError : the field is too small for the network, or its scores are not finite.
    """
    net, card, device = model.network, model.card, model.device
    grid: geometry.Grid = net.body.grid
    scale = card.scale.factor if factor is None else factor
    size = [windows.scaled_length(n, scale) for n in field.shape]
    rows, columns = (geometry.spans(grid, n, tile) for n in size)
    channels = len(card.classes) + bool(net.pooling.wants_scores)
    maps = torch.empty(channels, grid.length(size[0]), grid.length(size[1]), device=device)
    for r in rows:
        for c in columns:
            part = net.instances(_tile(model, field, (r, c), scale)[None])[0]
            maps[:, r.first : r.first + r.count, c.first : c.first + c.count] = part[
                :, r.skip : r.skip + r.count, c.skip : c.skip + c.count
            ].float()
    elements = maps.flatten(1).T
    log_odds, head = net.pool_and_classify(elements, torch.tensor([len(elements)], device=device))
    classes = maps[: len(card.classes)]
    result = FieldScore(log_odds[0].cpu().numpy(), head[0].cpu().numpy(), classes.cpu().numpy())
    if not (np.isfinite(result.log_odds).all() and np.isfinite(result.head).all()):
        cause = "the network's scores are not finite"
        raise ImageReadError(cause, "Look at the pixels: are there extreme values?", code="non_finite_score")
    return result


def element_centres(net: BagNet, card: ModelCard, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (h,) and columns (w,) of the map's elements, in the image's own pixels."""
    grid: geometry.Grid = net.body.grid  # type: ignore[assignment]
    scale = card.scale.factor
    rows, columns = (
        np.array([windows.to_image(at, scale) for at in grid.centres(windows.scaled_length(n, scale))]) for n in shape
    )
    return rows, columns


def _tile(
    model: Predictor[ModelCard], field: FieldPixels, spans: tuple[geometry.Span, geometry.Span], scale: float
) -> Tensor:
    """Return the network's input of one tile, (C, h, w)."""
    (rows, y0, y1), (columns, x0, x1) = (
        windows.taps(n, scale, s.start, s.stop) for n, s in zip(field.shape, spans, strict=True)
    )
    pixels = to_device(field.read(y0, y1, x0, x1), model.device)
    x = intensity.apply(pixels, intensity_of(model.card))
    return x if scale == 1 else windows.interpolate(x, rows, columns)
