"""What a task is: the only thing that differs between images, blocks and volumes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from torch import Tensor, nn

from bagscope.engine.card import Card
from bagscope.feed.batch import Batch

Part = Literal["train", "validation"]


class Task(Protocol):
    """Rows in, batches, losses and scores out; the engine and the stages know no more of it."""

    @property
    def card(self) -> Card:
        """What is known of the model."""
        ...

    def feed(self, part: Part, first_step: int = 0) -> Iterable[Batch]:
        """Batches of a part; training goes on at `first_step` as if the steps before had been taken."""
        ...

    def network(self) -> nn.Module:
        """Return a freshly initialised network."""
        ...

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Named terms; the engine adds them."""
        ...

    def parameter_groups(self, net: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters and the factor of their learning rate."""
        ...

    def learned(self, net: nn.Module) -> Card:
        """Return the card with what training found out."""
        ...
