"""What training costs at the least: the task's network, losses and rates in a plain PyTorch loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

import torch

from bagscope.engine.task import BatchT, Task
from bagscope.settings.sections import TrainingSection


class BareLoop(Generic[BatchT]):
    """Network, optimiser and schedule of a task; nothing of our engine.

    Parameters
    ----------
    bf16 : multiply in bfloat16, as the engine does where the hardware can.
    """

    def __init__(self, task: Task[BatchT], training: TrainingSection, device: torch.device, bf16: bool):
        self.task, self.training, self.device, self.bf16 = task, training, device, bf16
        self.network = task.network().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        groups = task.parameter_groups(self.network)
        rates = [training.rate * factor for _, factor in groups]
        self.optimiser = torch.optim.Adam([{"params": p} for p, _ in groups], lr=training.rate, betas=(0.9, 0.99))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, rates, total_steps=training.steps + 1)

    def learn(self, batch: BatchT) -> None:
        """Take one step, without the schedule."""
        self.optimiser.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = torch.stack(list(self.task.losses(self.network, batch).values())).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.training.clip)
        self.optimiser.step()

    def run(self, batches: Sequence[BatchT]) -> None:
        """Take one step per batch."""
        for batch in batches:
            self.learn(batch)
            self.schedule.step()
