"""A trained model in the hand: what it is, what it says of an array, of a screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from bagscope.engine.model_folder import load_network
from bagscope.engine.scoring import ScreenModel
from bagscope.errors import ImageReadError, SettingsError, nearest
from bagscope.images import activations
from bagscope.images.card import ModelCard
from bagscope.images.cell_stage import cell_table
from bagscope.images.cells import FieldView, Known, find_cells
from bagscope.images.class_regions import class_region, strength
from bagscope.images.scoring import element_centres, score_field
from bagscope.images.task import build_network
from bagscope.settings.sections import ComputeSection
from bagscope.tables.calls import CallRule, make_calls
from bagscope.tables.probabilities import probabilities, sigmoid

TILE = ComputeSection().tile


@dataclass(frozen=True)
class Segments:
    """The cells of one image.

    labels : (H, W) number of the cell at each pixel, 0 outside.
    classes : (H, W) 0 where no class is, k + 1 where class k is.
    cells : one row per cell: `cell` is its number, then place, size, what the network says and the call.
    """

    labels: np.ndarray
    classes: np.ndarray
    cells: pd.DataFrame


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    probability, mil_probability : per class, of the last layer and of the pooled bag.
    call, confidence : see the docs on calls.
    class_maps : (K, h, w) probabilities of the map's elements, classes in the order of `classes`.
    y, x : (h,) and (w,) centres of the elements in the image's own pixels.
    """

    classes: tuple[str, ...]
    probability: Mapping[str, float]
    mil_probability: Mapping[str, float]
    call: str
    confidence: float
    class_maps: np.ndarray
    y: np.ndarray
    x: np.ndarray
    _view: FieldView = field(repr=False, compare=False)

    def jacobian(self, name: str) -> np.ndarray:
        """Map how much each pixel speaks for a class: (H, W) float32, >= 0 (Kraus et al. 2016, equation 4).

        Raises
        ------
        SettingsError : the model has no such class.
        """
        return self._view.relevance[self._number(name)]

    def region(self, name: str, *, brightness: bool = True) -> np.ndarray:
        """Say where a class is, if it is there at all: (H, W) bool.

        Pixels that speak for the class, by the network that judges cells, and that are bright.

        Parameters
        ----------
        brightness : False: the map decides alone.

        Raises
        ------
        SettingsError : the model has no such class.
        """
        return class_region(self._view, self._number(name), brightness=brightness)

    def speaks(self, name: str) -> np.ndarray:
        """Map how much each pixel and what is near it speak for a class: (H, W) float32, >= 0.

        By the network that judges cells, smoothed; `region` is where this map is high.

        Raises
        ------
        SettingsError : the model has no such class.
        """
        return strength(self._view, self._number(name))

    def _number(self, name: str) -> int:
        if name not in self.classes:
            cause = f"the model has no class '{name}'{nearest(name, self.classes)}"
            raise SettingsError(cause, f"Its classes: {', '.join(self.classes)}.", code="no_class")
        return self.classes.index(name)

    def segment(
        self,
        *,
        nuclei: str = "auto",
        labels: np.ndarray | None = None,
        centres: np.ndarray | None = None,
        score: Literal["window", "map"] = "window",
    ) -> Segments:
        """Find the cells, or take those that are known, and judge each by itself.

        Parameters
        ----------
        nuclei : channel that shows nuclei, "auto" (the one that the model learned with) or "none".
        labels : (H, W) your own segmentation; its numbers are kept.
        centres : (N, 2) rows and columns of cells that another program found; cell i gets the number i + 1.
        score : by each cell's own window, or by the dense class map at its centre.

        Raises
        ------
        BagscopeError : segments of another size, centres outside the image, no such channel, or a model that
            knows nothing of cells.
        """
        if labels is not None and np.shape(labels) != self._view.shape:
            cause = f"labels of shape {np.shape(labels)}, the image is {self._view.shape[0]}x{self._view.shape[1]}"
            raise ImageReadError(cause, "Give the mask of this very image.", code="mask_size")
        known = Known(labels, centres)
        found = find_cells(self._view, nuclei, score, known)
        return Segments(found.labels, found.classes, cell_table(found, self._view.card))


class Model(ScreenModel[ModelCard]):
    """A trained model: its folder, its card, and what it can be asked.

    Parameters
    ----------
    folder : where it lies.
    network : in evaluation mode, on `device`.
    card : what it knows of itself.
    """

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, classes={list(self.card.classes)}, channels={list(self.card.channels)})"

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that the network eats, in their order."""
        return self.card.channels

    def predict(self, pixels: np.ndarray) -> Prediction:
        """Judge one image.

        Parameters
        ----------
        pixels : (C, H, W) grey values of any number type, as they are in the files; channels as `channels`.

        Raises
        ------
        ImageReadError : wrong number of channels, too small, or pixels that are no numbers.
        """
        pixels, card = np.asarray(pixels), self.card
        if pixels.dtype.kind not in "buif":
            cause = f"an array of {pixels.dtype}, grey values are expected"
            raise ImageReadError(cause, "Give whole numbers or floats.", code="dtype")
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if pixels.ndim != 3 or len(pixels) != len(card.channels):
            cause = f"an array of shape {pixels.shape}, the model has the channels {', '.join(card.channels)}"
            raise ImageReadError(cause, f"Give ({len(card.channels)}, H, W).", code="channels")
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            cause = "NaN or infinite pixels"
            raise ImageReadError(cause, "Fill them before.", code="nan")
        result = score_field(
            self.network, card, lambda y0, y1, x0, x1: pixels[:, y0:y1, x0:x1], pixels.shape[1:], TILE, self.device
        )
        none = card.none_trained
        judged = probabilities(
            result.log_odds[None].astype(float),
            result.head[None].astype(float) / card.calibration.temperature,
            card.several_labels,
            none,
        )
        rule = CallRule(card.calls.threshold, card.calls.confidence)
        calls, confidence = make_calls(
            judged.mil, judged.own, card.classes, none_probability=judged.none, several=card.several_labels, rule=rule
        )
        probability = dict(zip(card.classes, judged.own[0].tolist(), strict=True))
        if judged.none is not None:
            probability["none"] = float(judged.none[0])
        y, x = element_centres(self.network, card, pixels.shape[1:])
        return Prediction(
            classes=card.classes,
            probability=probability,
            mil_probability=dict(zip(card.classes, judged.mil[0].tolist(), strict=True)),
            call=str(calls[0]),
            confidence=float(confidence[0]),
            class_maps=sigmoid(result.maps),
            y=y,
            x=x,
            _view=FieldView(self.network, card, pixels, result.log_odds, self.device),
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the network's convolutions, first to last."""
        return activations.layer_names(self)

    def filters(self) -> np.ndarray:
        """Weights of the first convolution, (filters, C, k, k)."""
        return activations.first_filters(self)

    def activations(self, pixels: np.ndarray, layer: str, cell: tuple[float, float] | None = None) -> np.ndarray:
        """What a layer gives for an image, or for one cell of it: (filters, h, w), >= 0.

        Parameters
        ----------
        pixels : (C, H, W) grey values, channels as `channels`.
        layer : conv1, conv2, ...
        cell : row and column of the cell's centre in the image's own pixels; None: the whole image.

        Raises
        ------
        SettingsError : no such layer. BagscopeError : a cell outside the image.
        """
        return activations.activations(self, np.asarray(pixels), layer, cell).values


def open_model(folder: Path, device: torch.device) -> Model:
    """Load a model folder of the task `images`; see `bagscope.load`."""
    network, card = load_network(folder, device, ModelCard, build_network)
    return Model(folder, network, card, device)
