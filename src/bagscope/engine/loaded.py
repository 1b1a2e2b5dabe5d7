"""A trained model in memory: its network, card and device, and the folder that it was loaded from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from bagscope.engine.card import Card

CardT = TypeVar("CardT", bound=Card)
CardT_co = TypeVar("CardT_co", bound=Card, covariant=True)


class Predictor(Protocol[CardT_co]):
    """What prediction needs of a model: a network in evaluation mode on a device, and its card."""

    @property
    def network(self) -> Any:
        """The network."""
        ...

    @property
    def card(self) -> CardT_co:
        """Classes, channels, normalisation and all else that prediction needs."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        ...


@dataclass(frozen=True)
class TrainedNetwork(Generic[CardT]):
    """A predictor without a folder, such as a model that has just been trained; see `Predictor`."""

    network: Any
    card: CardT
    device: torch.device


class LoadedModel(Generic[CardT]):
    """A trained model.

    Parameters
    ----------
    folder : the model folder.
    network : in evaluation mode, on `device`.
    card : classes, channels, normalisation and all else that prediction needs.
    """

    def __init__(self, folder: Path, network: Any, card: CardT, device: torch.device):
        self.folder, self.network, self.card, self.device = folder, network, card, device

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}, classes={list(self.card.classes)})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of every array."""
        return self.card.classes

    @contextmanager
    def moved_to(self, device: torch.device) -> Iterator[Self]:
        """Lend the network to another device; afterwards it is back where it was."""
        if device == self.device:
            yield self
            return
        lent = copy(self)
        lent.network, lent.device = self.network.to(device), device
        try:
            yield lent
        finally:
            self.network.to(self.device)
