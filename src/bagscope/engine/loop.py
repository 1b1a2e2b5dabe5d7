"""The one training loop: any task, resumable at any step, with the same result as if never stopped."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from bagscope.engine import states
from bagscope.engine.compute import Execution, placed
from bagscope.engine.events import Events
from bagscope.engine.states import Checkpoints
from bagscope.engine.task import BatchT, Task, TrainingBatch
from bagscope.errors import Interrupted, TrainingError
from bagscope.settings.sections import LoopSection

# The first step is slower than the others; the mean of the next few predicts the duration.
_WARM, _TIMED = 1, 3

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)  # clusters warn by SIGTERM or SIGUSR1; Windows has no SIGUSR1


@dataclass
class Progress:
    """The state of a run that is not in the network or the optimiser."""

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_loss_se: float = 0.0
    best_step: int = -1
    best_weights: dict[str, Tensor] | None = None
    checks_without_improvement: int = 0
    stopped_early: bool = False


@dataclass(frozen=True)
class Fitted:
    """A finished run: its network in evaluation mode with the weights of the best step, and its history."""

    network: torch.nn.Module
    history: list[dict[str, float]]
    best_step: int
    stopped_early: bool


def fit(
    task: Task[BatchT], training: LoopSection, execution: Execution, checkpoints: Checkpoints, events: Events
) -> Fitted:
    """Train a task's network.

    Raises
    ------
    TrainingError : the loss is not finite. Interrupted : asked to stop; the state is saved.
    """
    loop = _Loop(task, training, execution, checkpoints, events)
    if checkpoints.resume:
        loop.restore(states.newest(checkpoints.folder, checkpoints.fingerprint, events))
    progress = loop.progress
    if progress.step < training.steps and not progress.stopped_early:
        # Dropout is seeded step by step; the caller's random state is restored afterwards.
        generators = [execution.device] if execution.device.type == "cuda" else []
        with _quiet(), torch.random.fork_rng(generators), _asked_to_stop(loop):
            _trainer(execution, training, training.steps - progress.step).fit(
                loop, train_dataloaders=_Steps(task, progress.step)
            )
        if loop.interrupted:
            loop.save()
            raise _stopped(loop)
    network, best_step = loop.network, progress.step
    if progress.best_weights is not None:
        network.load_state_dict(progress.best_weights)
        best_step = progress.best_step
    if progress.stopped_early:
        reason = f"{training.patience} evaluations without improvement on step {best_step}"
        events.say(f"stopped early after step {progress.step}: {reason}")
    return Fitted(network.eval(), progress.history, best_step, progress.stopped_early)


class _Steps:
    """The training batches from a step on, as an iterable that Lightning accepts."""

    def __init__(self, task: Task[Any], first_step: int):
        self.task, self.first_step = task, first_step

    def __iter__(self) -> Iterator[TrainingBatch]:
        return iter(self.task.feed("train", self.first_step))


class _Loop(lightning.LightningModule):
    def __init__(
        self, task: Task[Any], training: LoopSection, execution: Execution, checkpoints: Checkpoints, events: Events
    ):
        super().__init__()
        # A network that starts from earlier weights may come in evaluation mode.
        self.network = placed(task.network(), execution.device).train()
        self.task_, self.training_, self.execution = task, training, execution
        self.checkpoints, self.events = checkpoints, events
        self.progress = Progress()
        self.interrupted = False
        self._first, self._warm_at = 0, 0.0
        self._terms: dict[str, float] = {}
        self._optimiser, self._schedule = self._make_optimiser()
        self._validation = list(task.feed("validation"))

    def _make_optimiser(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        groups = self.task_.parameter_groups(self.network)
        rates = [self.training_.rate * factor for _, factor in groups]
        parameters: list[dict[str, Any]] = [
            {"params": group, "lr": rate} for (group, _), rate in zip(groups, rates, strict=True)
        ]
        if self.training_.optimiser == "rmsprop":
            optimiser: torch.optim.Optimizer = torch.optim.RMSprop(parameters)
            return optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0)
        optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=self.training_.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=self.training_.steps + 1)
        return optimiser, schedule

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return {"optimizer": self._optimiser, "lr_scheduler": {"scheduler": self._schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # the feed builds it there

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Dropout depends on the step alone, so that a resumed run is identical.
        # Not by torch.manual_seed, which stores a stack trace per kind of GPU that is absent: 1 % of a step.
        law = [self.execution.seed, self.execution.stream, self.progress.step]
        seed = int(np.random.SeedSequence(law).generate_state(1)[0])
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        terms = self.task_.losses(self.network, batch)
        losses = torch.stack(list(terms.values()))
        total = losses.sum()
        loss, *values = torch.cat([total[None], losses]).tolist()  # one transfer from the device
        if not math.isfinite(loss):
            lines = ", ".join(str(row) for row in sorted(set(batch.rows.tolist())) if row >= 0)
            cause = f"the loss is {loss} at step {self.progress.step + 1} (rows {lines} of the table)"
            fix = "Lower --set training.rate, or look at these rows' pixels; states saved before are kept."
            raise TrainingError(cause, fix, code="non_finite_loss")
        self._terms = {"loss": loss, **dict(zip(terms, values, strict=True))}
        return total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        progress, training = self.progress, self.training_
        progress.step += 1
        is_last = progress.step == training.steps
        row = {"step": float(progress.step), "rate": self._optimiser.param_groups[0]["lr"], **self._terms}
        if self._validation and (is_last or progress.step % training.check_every == 0):
            row["validation_loss"] = self._validate()
        progress.history.append(row)
        self._report(row["loss"])
        # The last state spares a further training of the same run, or the writing of the model, the first one.
        if is_last or progress.stopped_early or progress.step % training.save_every == 0:
            self.save()
        if self.interrupted or progress.stopped_early:
            self.trainer.should_stop = True

    def _report(self, loss: float) -> None:
        step, steps = self.progress.step, self.training_.steps
        if step == self._first + _WARM:
            self._warm_at = time.monotonic()
        if step == self._first + _WARM + _TIMED:
            seconds = (time.monotonic() - self._warm_at) / _TIMED
            left = max(1, round(seconds * (steps - step)))
            self.events.say(f"{seconds:.2g} s a step: about {left} s for the {steps} steps")
        self.events.progress("training", step, steps, f"loss {loss:.3f}")

    @torch.no_grad()
    def _validate(self) -> float:
        """Return the validation loss, and store the weights unless earlier ones were significantly better.

        A few wells cannot separate nearly equal losses, and weights after a falling learning rate vary less: later
        weights are preferred while their loss is within one standard error (over batches) of the smallest
        (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).
        """
        self.network.eval()
        sizes = np.array([len(batch.rows) for batch in self._validation])
        losses = np.array(
            [sum(t.item() for t in self.task_.losses(self.network, batch).values()) for batch in self._validation]
        )
        self.network.train()
        loss = float(np.average(losses, weights=sizes))
        progress = self.progress
        if loss < progress.best_loss:  # never true of NaN
            progress.best_loss = loss
            progress.best_loss_se = float(losses.std(ddof=1) / math.sqrt(len(losses))) if len(losses) > 1 else 0.0
        if loss <= progress.best_loss + progress.best_loss_se:
            progress.best_step, progress.checks_without_improvement = progress.step, 0
            progress.best_weights = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        else:
            progress.checks_without_improvement += 1
            progress.stopped_early = progress.checks_without_improvement >= self.training_.patience
        return loss

    def save(self) -> None:
        states.save(
            self.checkpoints.folder,
            {
                "fingerprint": self.checkpoints.fingerprint,
                "progress": vars(self.progress),
                "network": self.network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "schedule": self._schedule.state_dict(),
            },
            self.progress.step,
        )

    def restore(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        self.progress = Progress(**state["progress"])
        self._first = self.progress.step
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self.events.say(f"going on after step {self.progress.step} of {self.training_.steps}")


def _trainer(execution: Execution, training: LoopSection, steps: int) -> lightning.Trainer:
    device = execution.device
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if execution.bf16 else "32-true",
        max_steps=steps,
        max_epochs=1,
        gradient_clip_val=training.clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        # Else a cluster's variables make Lightning count tasks and hand the job back to the queue on its own.
        plugins=[LightningEnvironment()],
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's remarks on its files and workers, which a user of bagscope cannot change."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*(treespec|LeafSpec|lr_scheduler\.step).*")
        try:
            yield
        finally:
            logger.setLevel(level)


def _stopped(loop: _Loop) -> Interrupted:
    cause = f"interrupted after step {loop.progress.step} of {loop.training_.steps}"
    return Interrupted(cause, "Run the same command with --resume to go on.")


@contextmanager
def _asked_to_stop(loop: _Loop) -> Iterator[None]:
    """The first request to stop sets a flag that the loop reads after the step; the second acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def stop(number: int, frame: Any) -> None:
        if loop.interrupted:
            raise _stopped(loop)
        loop.interrupted = True

    def install() -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, stop)

    install()
    loop.on_train_start = install  # type: ignore[method-assign]  # after Lightning has put in its own
    try:
        yield
    except SystemExit:  # Lightning's own answer to a signal that came while it set itself up
        raise _stopped(loop) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
