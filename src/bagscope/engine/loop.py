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
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from bagscope.engine import states
from bagscope.engine.compute import placed
from bagscope.engine.events import Events
from bagscope.engine.task import Task
from bagscope.errors import Interrupted, TrainingError
from bagscope.feed.batch import Batch
from bagscope.settings.sections import LoopSection

# The first steps are slower than the others; a few more tell how long all will take.
_WARM, _TIMED = 1, 3

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)  # clusters warn by SIGTERM or SIGUSR1; Windows has no SIGUSR1


@dataclass
class Progress:
    """All of a run that is not in the network or the optimiser."""

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_loss_se: float = 0.0
    kept_step: int = -1
    kept_weights: dict[str, Tensor] | None = None
    checks_without_improvement: int = 0
    stopped_early: bool = False


@dataclass(frozen=True)
class Fitted:
    """A finished run: its network in evaluation mode, history, and the step whose weights were kept."""

    network: torch.nn.Module
    history: list[dict[str, float]]
    kept_step: int
    stopped_early: bool


def fit(
    task: Task,
    training: LoopSection,
    seed: int,
    device: torch.device,
    bf16: bool,
    folder: Path,
    fingerprint: str,
    resume: bool,
    events: Events,
) -> Fitted:
    """Train a task's network.

    Parameters
    ----------
    folder : where states for a later resume go.
    fingerprint : of everything that decides the result; a state with another one is refused.
    resume : go on from the newest whole state in `folder`, if there is one.

    Raises
    ------
    TrainingError : the loss is no finite number. Interrupted : asked to stop; the state is saved.
    """
    network = placed(task.network(), device)
    loop = _Loop(task, network, training, seed, folder, fingerprint, events)
    if resume:
        loop.restore(states.newest(folder, fingerprint, events))
    if loop.done.step < training.steps and not loop.done.stopped_early:
        # Chance inside the network is set step by step; the caller's own is given back as it was.
        generators = [device] if device.type == "cuda" else []
        with _quiet(), torch.random.fork_rng(generators), _asked_to_stop(loop):
            _trainer(device, bf16, training, training.steps - loop.done.step).fit(
                loop, train_dataloaders=_Steps(task, loop.done.step)
            )
        if loop.interrupted:
            loop.save()
            raise _stopped(loop)
    done = loop.done
    if done.kept_weights is not None:
        network.load_state_dict(done.kept_weights)
    kept = done.kept_step if done.kept_weights is not None else done.step
    if done.stopped_early:
        events.say(f"stopped early after step {done.step}: {training.patience} looks brought no gain on step {kept}")
    return Fitted(network.eval(), done.history, kept, done.stopped_early)


class _Steps:
    """The training batches from a step on, as an iterable that Lightning accepts."""

    def __init__(self, task: Task, first_step: int):
        self.task, self.first_step = task, first_step

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.task.feed("train", self.first_step))


class _Loop(lightning.LightningModule):
    def __init__(
        self,
        task: Task,
        network: torch.nn.Module,
        training: LoopSection,
        seed: int,
        folder: Path,
        fingerprint: str,
        events: Events,
    ):
        super().__init__()
        self.network = network
        self.task_, self.training_, self.seed = task, training, seed
        self.folder, self.fingerprint, self.events = folder, fingerprint, events
        self.done = Progress()
        self.interrupted = False
        self._first, self._warm_at = 0, 0.0
        self._terms: dict[str, float] = {}
        self._optimiser, self._schedule = self._make_optimiser()
        self._watch = list(task.feed("validation"))

    def _make_optimiser(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        groups = self.task_.parameter_groups(self.network)
        rates = [self.training_.rate * factor for _, factor in groups]
        every = [{"params": p} for p, _ in groups]
        if self.training_.optimiser == "rmsprop":
            for group, rate in zip(every, rates, strict=True):
                group["lr"] = rate  # type: ignore[assignment]
            optimiser: torch.optim.Optimizer = torch.optim.RMSprop(every, lr=self.training_.rate)
            return optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0)
        decay = self.training_.weight_decay
        optimiser = torch.optim.AdamW(every, lr=self.training_.rate, betas=(0.9, 0.99), weight_decay=decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=self.training_.steps + 1)
        return optimiser, schedule

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return {"optimizer": self._optimiser, "lr_scheduler": {"scheduler": self._schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # the feed builds it there

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Chance inside the network (dropout) depends on the step alone, so that a resumed run meets the same.
        # Not by torch.manual_seed, which keeps a stack trace per kind of GPU that is not there: 1 % of a step.
        seed = int(np.random.SeedSequence([self.seed, 4, self.done.step]).generate_state(1)[0])
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self.task_.losses(self.network, batch)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            rows = sorted({int(r) for r in batch.rows if r >= 0})
            lines = ", ".join(map(str, rows))
            cause = f"the loss is {total.item()} at step {self.done.step + 1} (rows {lines} of the table)"
            fix = "Lower --set training.rate, or look at these rows' pixels; states saved before are kept."
            raise TrainingError(cause, fix, code="non_finite_loss")
        self._terms = {"loss": total.item(), **{name: t.item() for name, t in terms.items()}}
        return total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        done = self.done
        done.step += 1
        row = {"step": float(done.step), "rate": self._optimiser.param_groups[0]["lr"], **self._terms}
        if self._watch and (done.step % self.training_.check_every == 0 or done.step == self.training_.steps):
            row["validation_loss"] = self._validate()
        done.history.append(row)
        if done.step == self._first + _WARM:
            self._warm_at = time.monotonic()
        if done.step == self._first + _WARM + _TIMED:
            each = (time.monotonic() - self._warm_at) / _TIMED
            left = each * (self.training_.steps - done.step)
            self.events.say(f"{each:.2g} s a step: about {max(1, round(left))} s for the {self.training_.steps} steps")
        self.events.progress("training", done.step, self.training_.steps, f"loss {row['loss']:.3f}")
        if done.step % self.training_.save_every == 0 or done.stopped_early:
            self.save()
        if self.interrupted or done.stopped_early:
            self.trainer.should_stop = True

    @torch.no_grad()
    def _validate(self) -> float:
        """Measure the loss on the rows that watch, and keep the weights unless earlier ones were surely better.

        A few wells cannot tell nearly equal losses apart, and the weights after a falling rate are the calmer ones:
        so later ones are kept as long as their loss is within one standard error (over batches) of the least
        (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).
        """
        self.network.eval()
        sizes = np.array([len(batch.lengths) for batch in self._watch])
        losses = np.array([sum(t.item() for t in self.task_.losses(self.network, b).values()) for b in self._watch])
        self.network.train()
        loss = float(np.average(losses, weights=sizes))
        done = self.done
        if loss < done.best_loss:  # never true of NaN
            done.best_loss = loss
            done.best_loss_se = float(losses.std(ddof=1) / math.sqrt(len(losses))) if len(losses) > 1 else 0.0
        if loss <= done.best_loss + done.best_loss_se:
            done.kept_step, done.checks_without_improvement = done.step, 0
            done.kept_weights = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        else:
            done.checks_without_improvement += 1
            done.stopped_early = done.checks_without_improvement >= self.training_.patience
        return loss

    def save(self) -> None:
        states.save(
            self.folder,
            {
                "fingerprint": self.fingerprint,
                "progress": vars(self.done),
                "network": self.network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "schedule": self._schedule.state_dict(),
            },
            self.done.step,
        )

    def restore(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        self.done = Progress(**state["progress"])
        self._first = self.done.step
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self.events.say(f"going on after step {self.done.step} of {self.training_.steps}")


def _trainer(device: torch.device, bf16: bool, training: LoopSection, steps: int) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if bf16 else "32-true",
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
    """Lightning's remarks are about its own files and workers, which a user of bagscope cannot change."""
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
    cause = f"interrupted after step {loop.done.step} of {loop.training_.steps}"
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
