"""A trained model in memory: its folder, network, card and device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch

from bagscope.engine.card import Card

CardT = TypeVar("CardT", bound=Card)


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
