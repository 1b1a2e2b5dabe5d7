"""A trained model of the task `images`: what it predicts for an array, and what its layers compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bagscope.engine.model_folder import load_network
from bagscope.engine.scoring import ScreenModel
from bagscope.errors import ImageReadError
from bagscope.images import activations
from bagscope.images.card import ModelCard
from bagscope.images.field_view import FieldView
from bagscope.images.prediction import Prediction
from bagscope.images.scoring import FieldPixels, element_centres, score_field
from bagscope.images.task import build_network
from bagscope.settings.sections import ComputeSection
from bagscope.tables.calls import CallRule, make_calls
from bagscope.tables.probabilities import probabilities, sigmoid

TILE = ComputeSection().tile


class Model(ScreenModel[ModelCard]):
    """A trained model: its folder, its card, its predictions and its layers."""

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, classes={list(self.card.classes)}, channels={list(self.card.channels)})"

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the network's input, in their order."""
        return self.card.channels

    def predict(self, pixels: np.ndarray) -> Prediction:
        """Predict the classes of one image.

        Parameters
        ----------
        pixels : (C, H, W) grey values of any number type, as they are in the files; channels as `channels`.

        Raises
        ------
        ImageReadError : wrong number of channels, too small, or NaN or infinite pixels.
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
        result = score_field(self, FieldPixels.of_array(pixels), TILE)
        none = card.none_trained
        judged = probabilities(
            result.log_odds[None].astype(float),
            result.head[None].astype(float) / card.calibration.temperature,
            card.several_labels,
            none,
        )
        rule = CallRule(card.calls.threshold, card.calls.confidence)
        calls, confidence = make_calls(
            judged.mil, judged.head, card.classes, none_probability=judged.none, several=card.several_labels, rule=rule
        )
        probability = dict(zip(card.classes, judged.head[0].tolist(), strict=True))
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
            _view=FieldView(self, pixels, result.log_odds),
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the network's convolutions, first to last."""
        return activations.layer_names(self)

    def filters(self) -> np.ndarray:
        """Weights of the first convolution, (filters, C, k, k)."""
        return activations.first_filters(self)

    def activations(self, pixels: np.ndarray, layer: str, cell: tuple[float, float] | None = None) -> np.ndarray:
        """Return the activations of a layer for an image, or for one cell of it: (filters, h, w), >= 0.

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
