"""How a trained network judges one field of any size: in tiles that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscope.errors import ImageReadError
from bagscope.images.card import ModelCard
from bagscope.images.samples import to_device
from bagscope.images.task import intensity_of
from bagscope.nets.bagnet import BagNet
from bagscope.ops import geometry, intensity, windows

# (y0, y1, x0, x1) in the image's own pixels -> (C, y1 - y0, x1 - x0)
ReadWindow = Callable[[int, int, int, int], np.ndarray]


@dataclass(frozen=True)
class FieldScore:
    """What the network says of one field: bag log-odds (K,), last layer's logits, class maps (K, h, w)."""

    log_odds: np.ndarray
    head: np.ndarray
    maps: np.ndarray


@torch.inference_mode()
def score_field(
    net: BagNet,
    card: ModelCard,
    read: ReadWindow,
    shape: tuple[int, int],
    tile: int,
    device: torch.device,
    factor: float | None = None,
) -> FieldScore:
    """Judge one field, alone, so that its score depends on no other field.

    Parameters
    ----------
    net : in evaluation mode, on `device`.
    read : gives windows of the field's pixels.
    shape : (H, W) of the field.
    tile : class-map elements per side of a tile; bounds the memory, not the result.
    factor : rescaled over original pixels; default: the card's.

    Raises
    ------
    ImageReadError : the field is too small for the network, or its scores are not finite.
    """
    grid: geometry.Grid = net.body.grid  # type: ignore[assignment]
    scale = card.scale.factor if factor is None else factor
    size = [windows.scaled_length(n, scale) for n in shape]
    rows, columns = (geometry.spans(grid, n, tile) for n in size)
    each = len(card.classes) + bool(net.pooling.wants_scores)
    maps = torch.empty(each, grid.length(size[0]), grid.length(size[1]), device=device)
    for r in rows:
        for c in columns:
            x = _tile(read, shape, (r, c), card, scale, device)
            part = net.instances(x[None])[0]
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
    read: ReadWindow,
    shape: tuple[int, int],
    spans: tuple[geometry.Span, geometry.Span],
    card: ModelCard,
    scale: float,
    device: torch.device,
) -> Tensor:
    (rows, y0, y1), (columns, x0, x1) = (
        windows.taps(n, scale, s.start, s.stop) for n, s in zip(shape, spans, strict=True)
    )
    pixels = intensity.apply(to_device(read(y0, y1, x0, x1), device), intensity_of(card))
    if scale == 1:
        return pixels
    return windows.interpolate(pixels, rows, columns)
