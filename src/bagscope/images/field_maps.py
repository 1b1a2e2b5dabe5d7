"""Maps of a whole field of any size: which pixels speak for a class, and which class every few pixels are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from bagscope.nets.bagnet import BagNet
from bagscope.nets.dense import dense_maps
from bagscope.nets.jacobian import jacobian_maps, kraus_seed
from bagscope.ops import windows
from bagscope.ops.geometry import Grid

# A multiple of the jump, so that all strides stay in phase.
TILE = 1024
# A pixel's map depends on elements up to a field of view away, which see half a field further: 135 + 67 pixels.
HALO = 224
# Elements every 8 pixels cost twice a plain pass; every 4, four times, and tell little more.
DENSE_JUMP = 8


def relevance_maps(
    net: BagNet,
    field: Tensor,
    log_odds: np.ndarray,
    classes: Sequence[int] | None = None,
    tile: int = TILE,
    cells: bool = False,
) -> Tensor:
    """Jacobian maps of a field: for each class, how much each pixel speaks for it.

    Parameters
    ----------
    net : in evaluation mode.
    field : (C, h, w) normalised and rescaled, on the network's device.
    log_odds : (K,) of the whole field.
    classes : numbers of the classes whose maps are wanted; default: all.
    tile : pixels per side of a tile, a multiple of 32; bounds the memory, not the result.
    cells : follow the network that learned from single cells, if there is one.

    Returns
    -------
    (classes, h, w) float32, >= 0.
    """
    wanted = range(len(log_odds)) if classes is None else classes
    found = field.new_empty(len(wanted), *field.shape[1:])
    seed = kraus_seed(torch.from_numpy(np.asarray(log_odds, np.float32))[None].to(field.device))
    for rows, columns, x in _tiles(field, tile):
        for at, (_, one) in enumerate(jacobian_maps(net.cell_maps if cells else net.maps, x[None], seed, wanted)):
            found[at, rows.kept, columns.kept] = one[0, rows.inner, columns.inner]
    return found


@torch.inference_mode()
def dense_field(net: BagNet, field: Tensor, tile: int = TILE) -> Tensor:
    """Class map of a field with an element every 8 pixels: logits (K, h', w'), centred at the grid's offset + 8 i.

    Parameters
    ----------
    net, field, tile : as for `relevance_maps`.
    """
    offset = int(net.body.grid.offset)  # type: ignore[union-attr,arg-type]
    bands: dict[int, list[Tensor]] = {}
    for rows, columns, x in _tiles(field, tile):
        part = dense_maps(net.body, x[None], DENSE_JUMP)[0]  # type: ignore[arg-type]
        down, across = (slice(*(_first(at - side.start, offset) for at in side.core)) for side in (rows, columns))
        bands.setdefault(rows.core[0], []).append(part[:, down, across].float())
    return torch.cat([torch.cat(band, 2) for band in bands.values()], 1)


def read_dense(logits: Tensor, rows: np.ndarray, columns: np.ndarray, grid: Grid) -> Tensor:
    """Look up a dense map between its elements; beyond the outermost ones, theirs.

    Parameters
    ----------
    logits : (K, h', w') from `dense_field`.
    rows, columns : coordinates in the rescaled image; they broadcast against each other to some shape.

    Returns
    -------
    (K, *shape), bilinear.
    """
    sides: list[tuple[Tensor, Tensor, Tensor]] = []
    for at, n in zip((rows, columns), logits.shape[1:], strict=True):
        inside = np.clip((np.asarray(at, np.float64) - grid.offset) / DENSE_JUMP, 0, n - 1)
        low = np.minimum(np.floor(inside), max(0, n - 2)).astype(np.int64)
        high, share = np.minimum(low + 1, n - 1), (inside - low).astype(np.float32)
        sides.append(tuple(torch.from_numpy(part).to(logits.device) for part in (low, high, share)))  # type: ignore[arg-type]
    (y0, y1, v), (x0, x1, u) = sides
    top = logits[:, y0, x0] * (1 - u) + logits[:, y0, x1] * u
    bottom = logits[:, y1, x0] * (1 - u) + logits[:, y1, x1] * u
    return top * (1 - v) + bottom * v


def to_image(maps: Tensor, shape: tuple[int, int], scale: float) -> Tensor:
    """Bring maps (K, h, w) of a field rescaled by `scale` back to the image's own pixels, (K, H, W)."""
    if scale == 1:
        return maps
    axes = [windows.taps(n, 1 / scale, 0, own)[0] for n, own in zip(maps.shape[1:], shape, strict=True)]
    return windows.interpolate(maps, *axes)


class _Side:
    """One axis of a tile: pixels [start, stop) are read, those of `core` are kept."""

    def __init__(self, first: int, end: int, n: int):
        self.core = (first, end)
        self.start, self.stop = max(0, first - HALO), min(n, end + HALO)
        self.kept, self.inner = slice(first, end), slice(first - self.start, end - self.start)


def _tiles(field: Tensor, tile: int) -> Iterator[tuple[_Side, _Side, Tensor]]:
    sides = [[_Side(first, min(n, first + tile), n) for first in range(0, n, tile)] for n in field.shape[1:]]
    for rows in sides[0]:
        for columns in sides[1]:
            yield rows, columns, field[:, rows.start : rows.stop, columns.start : columns.stop]


def _first(pixel: int, offset: int) -> int:
    """Number of the first element centred at a pixel or behind it."""
    return max(0, -(-(pixel - offset) // DENSE_JUMP))
