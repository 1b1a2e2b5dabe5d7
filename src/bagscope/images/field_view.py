"""A field as a network sees it: normalised and rescaled pixels, log-odds, relevance maps and dense class map."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from torch import Tensor

from bagscope.engine.loaded import Predictor
from bagscope.images.card import ModelCard
from bagscope.images.cell_windows import cut_windows, refuse_outside
from bagscope.images.field_maps import dense_field, read_dense, relevance_maps, to_image
from bagscope.images.samples import to_device
from bagscope.images.scoring import FieldPixels, score_field
from bagscope.images.task import intensity_of
from bagscope.nets.bagnet import BagNet
from bagscope.ops import intensity, windows

# Class-map elements per side of a tile when a whole field is scored.
TILE = 64


class FieldView:
    """A field as a network sees it; results that several analyses share are computed once.

    Parameters
    ----------
    model : its network is in evaluation mode.
    pixels : (C, H, W) grey values.
    log_odds : (K,) of the whole field, from `score_field`; default: computed on first use.
    factor : rescaled over original pixels; default: the card's.
    """

    def __init__(
        self,
        model: Predictor[ModelCard],
        pixels: np.ndarray,
        log_odds: np.ndarray | None = None,
        factor: float | None = None,
    ):
        self.model, self.pixels = model, pixels
        self.net: BagNet = model.network
        self.card, self.device = model.card, model.device
        self._log_odds = log_odds
        self._cell_relevance: dict[int, np.ndarray] = {}
        self.scale = self.card.scale.factor if factor is None else factor
        self.shape: tuple[int, int] = (pixels.shape[1], pixels.shape[2])

    @cached_property
    def grey(self) -> Tensor:
        """The normalised field, (C, H, W)."""
        return intensity.apply(to_device(self.pixels, self.device), intensity_of(self.card))

    @cached_property
    def prepared(self) -> Tensor:
        """The normalised, rescaled field, (C, h, w): the network's input."""
        return windows.rescale(self.grey, self.scale)

    @property
    def log_odds(self) -> np.ndarray:
        """Log-odds of the whole field, (K,)."""
        if self._log_odds is None:
            self._log_odds = score_field(self.model, FieldPixels.of_array(self.pixels), TILE, self.scale).log_odds
        return self._log_odds

    @cached_property
    def relevance(self) -> np.ndarray:
        """Jacobian maps of all classes, (K, H, W)."""
        maps = relevance_maps(self.net, self.prepared, self.log_odds)
        return to_image(maps, self.shape, self.scale).cpu().numpy()

    def cell_relevance(self, k: int) -> np.ndarray:
        """Jacobian map of one class by the network that classifies cells, (H, W)."""
        if k not in self._cell_relevance:
            maps = relevance_maps(self.net, self.prepared, self.log_odds, [k], cells=True)
            self._cell_relevance[k] = to_image(maps, self.shape, self.scale)[0].cpu().numpy()
        return self._cell_relevance[k]

    @cached_property
    def dense(self) -> Tensor:
        """Logits every 8 rescaled pixels, (K, h, w)."""
        return dense_field(self.net, self.prepared)

    def windows(self, centres: np.ndarray) -> Tensor:
        """Cut the windows of cells, (N, C, 64, 64).

        Raises
        ------
        BagscopeError : a centre outside the image.
        """
        refuse_outside(centres, self.shape)
        return cut_windows(self.prepared, centres, self.scale)

    @property
    def cell_px(self) -> float | None:
        """Diameter of a cell in pixels of the unscaled field; None when the model has no estimate."""
        px = self.card.scale.cell_diameter_px
        return None if px is None else px * self.card.scale.factor / self.scale

    def class_logits(self, rows: np.ndarray, columns: np.ndarray) -> Tensor:
        """Read the dense class map at pixels of the image, (K, *shape)."""
        y, x = (windows.to_scaled(axis, self.scale) for axis in (rows, columns))  # type: ignore[arg-type]
        return read_dense(self.dense, y, x, self.net.body.grid)  # type: ignore[arg-type]
