"""A trained model of pixels: what it predicts for an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bagscope.blocks.card import BlocksCard
from bagscope.blocks.task import build_network
from bagscope.blocks.tiles import decided, probabilities
from bagscope.engine.model_folder import load_network
from bagscope.engine.scoring import ScreenModel
from bagscope.errors import ImageReadError


class BlocksModel(ScreenModel[BlocksCard]):
    """A trained model of pixels: its folder, its card, and its predictions."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the network's input, in their order."""
        return self.card.channels

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return the class probabilities of every pixel of an image, (K, H, W) float32.

        Parameters
        ----------
        pixels : (C, H, W) grey values as they are in the files; channels as `channels`.

        Raises
        ------
        ImageReadError : wrong number of channels, or NaN or infinite pixels.
        """
        pixels = np.asarray(pixels)
        if pixels.ndim != 3 or len(pixels) != len(self.card.channels) or pixels.dtype.kind not in "buif":
            cause = f"an array of shape {pixels.shape} and type {pixels.dtype}"
            fix = f"Give ({len(self.card.channels)}, H, W) numbers: {', '.join(self.card.channels)}."
            raise ImageReadError(cause, fix, code="channels")
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            cause = "NaN or infinite pixels"
            raise ImageReadError(cause, "Fill them before.", code="nan")
        return probabilities(self, pixels)

    def decide(self, probability: np.ndarray) -> np.ndarray:
        """Return the class number of each pixel, (H, W), of probabilities (K, H, W)."""
        return decided(probability, self.card.limits)


def open_model(folder: Path, device: torch.device) -> BlocksModel:
    """Load a model folder of the task `blocks`; see `bagscope.load`."""
    network, card = load_network(folder, device, BlocksCard, build_network)
    return BlocksModel(folder, network, card, device)
