"""A trained model that judges pixels in the hand: what it says of an array, of a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bagscope.blocks.tiles import decided, probabilities
from bagscope.engine.card import BlocksCard
from bagscope.engine.compute import device_of
from bagscope.engine.events import SILENT, Events
from bagscope.engine.model_folder import load_model
from bagscope.engine.score_folder import Scores
from bagscope.errors import ImageReadError
from bagscope.settings.jobs import ReadJob, make_job
from bagscope.tables.table import Screen


class BlocksModel:
    """A trained model that judges pixels: its folder, its card, and what it can be asked."""

    def __init__(self, folder: Path, network: torch.nn.Module, card: BlocksCard, device: torch.device):
        self.folder, self.network, self.card, self.device = folder, network, card, device

    def __repr__(self) -> str:
        return f"BlocksModel({str(self.folder)!r}, classes={list(self.card.classes)})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The fine classes, in the order of every array."""
        return self.card.classes

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that the network eats, in their order."""
        return self.card.channels

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Judge every pixel of an image: probabilities (K, H, W), float32.

        Parameters
        ----------
        pixels : (C, H, W) grey values as they are in the files; channels as `channels`.

        Raises
        ------
        ImageReadError : wrong number of channels, or pixels that are no numbers.
        """
        pixels = np.asarray(pixels)
        if pixels.ndim != 3 or len(pixels) != len(self.card.channels) or pixels.dtype.kind not in "buif":
            cause = f"an array of shape {pixels.shape} and type {pixels.dtype}"
            fix = f"Give ({len(self.card.channels)}, H, W) numbers: {', '.join(self.card.channels)}."
            raise ImageReadError(cause, fix, code="channels")
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            cause = "NaN or infinite pixels"
            raise ImageReadError(cause, "Fill them before.", code="nan")
        return probabilities(self.network, self.card, pixels, self.device)

    def decide(self, probability: np.ndarray) -> np.ndarray:
        """Return the class number of each pixel, (H, W), of probabilities (K, H, W)."""
        return decided(probability, self.card.limits)

    def score(
        self,
        screen: Screen | Path | str,
        out: Path | str,
        *,
        config: Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
        events: Events = SILENT,
        **choices: Any,
    ) -> Scores:
        """Map all images of a screen, and write a score folder; see `Model.score`.

        Each image becomes a map in `maps/` and outlines in `regions/`; the tables say how much of it is of each class.
        """
        from bagscope.blocks.score import score_blocks

        return score_blocks(
            self, screen, Path(out), config=config, resume=resume, overwrite=overwrite, events=events, choices=choices
        )


def open_blocks(folder: Path, device: str = "auto") -> BlocksModel:
    """Open a model folder of the task; see `bagscope.load`."""
    place = device_of(make_job(ReadJob, None, {"device": device}).compute)
    network, card = load_model(Path(folder), place, BlocksCard)
    return BlocksModel(Path(folder), network, card, place)
