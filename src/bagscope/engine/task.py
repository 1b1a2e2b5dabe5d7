"""What the training loop asks of a task: batches, a network, losses and learning rates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from torch import Tensor, nn

from bagscope.engine.card import Card
from bagscope.feed.batch import Batch

Part = Literal["train", "validation"]


class Task(Protocol):
    """A network and the batches that it learns from; the training loop knows no more of it."""

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
        """Return the card with the results of training that it stores."""
        ...


def pooling_groups(net: nn.Module, threshold_rate: float) -> list[tuple[list[nn.Parameter], float]]:
    """Let the thresholds of the pooling learn faster than the weights: they have few gradients and far to go.

    Parameters
    ----------
    net : with a `pooling`. threshold_rate : factor of the learning rate of the pooling's parameters.
    """
    thresholds = list(net.pooling.parameters())  # type: ignore[union-attr]
    numbers = {id(parameter) for parameter in thresholds}
    weights = [parameter for parameter in net.parameters() if id(parameter) not in numbers]
    groups = [(weights, 1.0), (thresholds, threshold_rate)]
    return [(parameters, rate) for parameters, rate in groups if parameters]
