"""What the training loop asks of a task: batches, a network, losses and learning rates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

Part = Literal["train", "validation"]


class TrainingBatch(Protocol):
    """What the loop itself reads of a batch; everything else is between a task's feed and its losses."""

    @property
    def rows(self) -> np.ndarray:
        """Row of the table of each sample that the losses average over, -1 for a sample without one.

        The loop names these rows when a loss is not finite, and weights validation losses by their number.
        """
        ...


BatchT = TypeVar("BatchT", bound=TrainingBatch)


class Task(Protocol[BatchT]):
    """A network and the batches that it learns from; the training loop knows no more of it."""

    def feed(self, part: Part, first_step: int = 0) -> Iterable[BatchT]:
        """Batches of a part; training goes on at `first_step` as if the steps before had been taken."""
        ...

    def network(self) -> nn.Module:
        """Return the network as training starts from it."""
        ...

    def losses(self, net: nn.Module, batch: BatchT) -> dict[str, Tensor]:
        """Named terms; the loop adds them."""
        ...

    def parameter_groups(self, net: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters and the factor of their learning rate."""
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
