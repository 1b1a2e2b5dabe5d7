"""Does the one training loop keep the best, stop when it should, and go on as if it had never stopped?"""

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import toys
from bagscope.engine import loop
from bagscope.engine.compute import Execution, threads
from bagscope.engine.states import Checkpoints
from bagscope.errors import Interrupted, TrainingError
from bagscope.feed.batch import Batch
from bagscope.settings.sections import TrainingSection


class Line:
    """A task whose samples, losses and looks are known by heart: three numbers in, one out, dropout between."""

    def __init__(self, looks=(), spoil=None):
        self.looks, self.spoil = list(looks), spoil

    def feed(self, part, first_step=0):
        if part == "validation":
            return [self.batch(-1)] if self.looks else []
        return (self.batch(step) for step in range(first_step, 10_000))

    def batch(self, step):
        x = torch.from_numpy(np.random.default_rng(step + 1).normal(size=(4, 3)).astype(np.float32))
        return Batch(x, torch.ones(4, dtype=torch.long), x.sum(1, keepdim=True), np.array([step + 10] * 3 + [-1]))

    def network(self):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))

    def losses(self, net, batch):
        if not net.training:
            return {"miss": torch.tensor(self.looks.pop(0))}
        return {"miss": ((net(batch.x) - batch.target) ** 2).mean() * (self.spoil(batch) if self.spoil else 1)}

    def parameter_groups(self, net):
        return [(list(net.parameters()), 1.0)]


def fit(task, folder, listener=None, resume=False, seed=0, stream=4, **choices):
    choices = {"steps": 6, "save_every": 1, "check_every": 1, "rate": 0.05, **choices}
    execution = Execution(torch.device("cpu"), seed=seed, stream=stream)
    with torch.random.fork_rng(), threads(1):
        return loop.fit(
            task,
            TrainingSection(**choices),
            execution,
            Checkpoints(folder, "plan", resume),
            listener or toys.Listener(),
        )


def values(fitted):
    return {name: value.numpy().tobytes() for name, value in fitted.network.state_dict().items()}


def at_step(step, act):
    """A factor of the loss that acts when the batch of a step (from 1) comes."""

    def spoil(batch):
        if int(batch.rows[0]) == step + 9:
            return act()
        return 1

    return spoil


def fail():
    message = "pulled the plug"
    raise RuntimeError(message)


@pytest.mark.parametrize("step", [1, 2, 4, 6])
def test_a_run_that_was_cut_off_at_any_step_ends_as_if_it_had_not_been(step, tmp_path):
    looks = [5.0, 3.0, 4.0, 2.0, 6.0, 7.0]
    whole = fit(Line(looks), tmp_path / "whole")
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(Line(looks, at_step(step, fail)), tmp_path / "cut")
    resumed = fit(Line(looks[step - 1 :]), tmp_path / "cut", resume=True)
    assert resumed.history == whole.history
    assert values(resumed) == values(whole)
    assert resumed.best_step == whole.best_step == 4


def test_states_that_are_not_kept_for_every_step_cost_steps_not_the_result(tmp_path):
    whole = fit(Line(), tmp_path / "whole")
    with pytest.raises(RuntimeError):
        fit(Line(spoil=at_step(6, fail)), tmp_path / "cut", save_every=2)
    listener = toys.Listener()
    resumed = fit(Line(), tmp_path / "cut", listener, resume=True, save_every=2)
    assert "going on after step 4 of 6" in listener.said
    assert (resumed.history, values(resumed)) == (whole.history, values(whole))


def test_the_weights_of_the_best_look_are_kept(tmp_path):
    best = fit(Line([5.0, 3.0, 1.0]), tmp_path / "a", steps=3)
    more = fit(Line([5.0, 3.0, 1.0, 4.0, 2.0]), tmp_path / "b", steps=3 + 2)
    assert (best.best_step, more.best_step) == (3, 3)
    assert [row["validation_loss"] for row in more.history] == [5.0, 3.0, 1.0, 4.0, 2.0]
    # The schedule of rates knows the number of steps, so weights are compared within one run: 3 of 5 against 5 of 5.
    last = fit(Line(), tmp_path / "c", steps=5)
    assert values(more) != values(last)
    assert values(fit(Line([9.0, 9.0, 9.0, 9.0, 1.0]), tmp_path / "d", steps=5)) == values(last)


def test_training_stops_when_so_many_looks_brought_nothing(tmp_path):
    fitted = fit(Line([3.0, 2.0, 4.0, 5.0, 1.0, 1.0]), tmp_path, patience=2)
    assert fitted.stopped_early
    assert (len(fitted.history), fitted.best_step) == (4, 2)


def test_a_run_that_stopped_early_is_not_taken_up_again(tmp_path):
    first = fit(Line([3.0, 4.0, 5.0]), tmp_path, patience=2)
    again = fit(Line([0.0]), tmp_path, resume=True, patience=2)
    assert (again.history, again.best_step, values(again)) == (first.history, 1, values(first))


def test_a_look_that_is_no_number_is_never_the_best(tmp_path):
    fitted = fit(Line([math.nan, 2.0, math.nan, 3.0, math.nan, math.nan]), tmp_path, patience=9)
    assert fitted.best_step == 2
    none_good = fit(Line([math.nan] * 6), tmp_path / "b", patience=9)
    assert none_good.best_step == 6


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_the_step_and_names_rows(value, tmp_path):
    with pytest.raises(TrainingError) as caught:
        fit(Line(spoil=at_step(3, lambda: value)), tmp_path)
    said = str(caught.value)
    assert caught.value.exit_code == 1
    assert "step 3" in said
    assert "rows 12 of the table" in said  # once each, and not the -1 of background
    # The state of step 2 is good: from it the run ends as if nothing had been.
    whole = fit(Line(), tmp_path / "whole")
    assert values(fit(Line(), tmp_path, resume=True)) == values(whole)


def test_without_a_validation_part_all_steps_are_taken(tmp_path):
    fitted = fit(Line(), tmp_path)
    assert (len(fitted.history), fitted.best_step, fitted.stopped_early) == (6, 6, False)
    assert not any("validation_loss" in row for row in fitted.history)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_request_to_stop_is_met_after_the_step_with_its_state_saved(name, tmp_path):
    signal = pytest.importorskip("signal")
    number = getattr(signal, name, None) or pytest.skip(f"no {name} here")
    before = signal.getsignal(number)

    def ask():
        signal.raise_signal(number)
        return 1

    with pytest.raises(Interrupted) as caught:
        fit(Line(spoil=at_step(3, ask)), tmp_path, save_every=100)
    assert caught.value.exit_code == 130
    assert "after step 3 of 6" in str(caught.value)
    assert signal.getsignal(number) == before
    listener = toys.Listener()
    resumed = fit(Line(), tmp_path, listener, resume=True)
    assert "going on after step 3 of 6" in listener.said
    assert values(resumed) == values(fit(Line(), tmp_path / "whole"))


def test_a_second_request_to_stop_acts_at_once(tmp_path):
    signal = pytest.importorskip("signal")

    def ask_twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        return fail()

    with pytest.raises(Interrupted, match="after step 2 of 6"):
        fit(Line(spoil=at_step(3, ask_twice)), tmp_path)
    assert values(fit(Line(), tmp_path, resume=True)) == values(fit(Line(), tmp_path / "whole"))


def test_clusters_variables_change_nothing(tmp_path, monkeypatch):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "x", "SLURM_JOB_ID": "7", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert len(fit(Line(), tmp_path).history) == 6


class Watched(Line):
    """The same, watched by two batches whose losses are the look minus and plus a spread."""

    def __init__(self, looks, spread):
        super().__init__([value for look in looks for value in (look - spread, look + spread)])

    def feed(self, part, first_step=0):
        return [self.batch(-1)] * 2 if part == "validation" else super().feed(part, first_step)


def test_later_weights_are_kept_while_their_look_is_within_one_standard_error_of_the_best(tmp_path):
    # Two batches at +- 0.5 have a standard deviation of 0.5 sqrt 2, so a standard error of 0.5.
    looks = [5.0, 3.0, 2.0, 2.4, 2.6, 2.45]
    surely = fit(Watched(looks, 0.5), tmp_path / "a")
    assert surely.best_step == 6
    assert fit(Watched(looks[:5], 0.5), tmp_path / "b", steps=5).best_step == 4
    assert fit(Watched(looks, 0.0), tmp_path / "c").best_step == 3
    stopped = fit(Watched([2.0, 2.4, 2.6, 2.7, 1.0, 1.0], 0.5), tmp_path / "d", patience=2)
    assert (stopped.stopped_early, stopped.best_step) == (True, 2)


@pytest.mark.parametrize(("steps", "told"), [(3, 0), (4, 1), (6, 1)])
def test_a_training_tells_once_after_its_first_steps_how_long_it_will_take(tmp_path, steps, told):
    listener = toys.Listener()
    fit(Line(), tmp_path, listener, steps=steps)
    said = [text for text in listener.said if "s a step" in text]
    assert len(said) == told
    assert all(f"for the {steps} steps" in text for text in said)


def test_a_finished_run_is_restored_without_another_step_however_rarely_states_are_saved(tmp_path):
    first = fit(Line(), tmp_path, save_every=100)
    again = fit(Line(spoil=lambda batch: fail()), tmp_path, resume=True, save_every=100)
    assert (again.history, values(again)) == (first.history, values(first))


@contextmanager
def gradient_norms():
    """List the norm of the whole gradient at each step of an optimiser."""
    norms = []

    def measure(optimiser, *_):
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"]]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

    handle = register_optimizer_step_post_hook(measure)
    try:
        yield norms
    finally:
        handle.remove()


def test_no_step_has_a_longer_gradient_than_the_clip(tmp_path):
    with gradient_norms() as free:
        fit(Line(), tmp_path / "free", clip=1e9)
    clip = min(free) / 2
    with gradient_norms() as clipped:
        fit(Line(), tmp_path / "clipped", clip=clip)
    assert clipped == pytest.approx([clip] * 6, rel=1e-4)  # torch divides by the norm + 1e-6
    assert clipped != free


def test_a_clip_that_no_gradient_reaches_changes_nothing(tmp_path):
    free = fit(Line(), tmp_path / "free", clip=1e9)
    assert values(fit(Line(), tmp_path / "wide", clip=1e6)) == values(free)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_weights_without_a_gradient_shrink_by_rate_times_weight_decay_a_step(decay, tmp_path):
    fitted = fit(Line(spoil=lambda batch: 0.0), tmp_path, weight_decay=decay, rate=0.2)
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.2, total_steps=7)
    left = 1.0
    for _ in range(6):
        left *= 1 - decay * schedule.get_last_lr()[0]
        optimiser.step()
        schedule.step()
    trained = dict(fitted.network.named_parameters())
    for name, start in Line().network().named_parameters():
        torch.testing.assert_close(trained[name], start * left)


def test_dropout_depends_on_the_seed_and_the_stream(tmp_path):
    runs = [fit(Line(), tmp_path / f"{seed}{stream}", seed=seed, stream=stream) for seed, stream in
            ((0, 4), (0, 4), (1, 4), (0, 8))]  # fmt: skip
    first, again, seeded, streamed = map(values, runs)
    assert first == again
    assert first != seeded
    assert first != streamed


class Frozen(Line):
    """The same, its network in evaluation mode, as one that has been trained before."""

    def network(self):
        return super().network().eval()


def test_a_network_that_comes_in_evaluation_mode_is_trained_all_the_same(tmp_path):
    assert values(fit(Frozen(), tmp_path / "a")) == values(fit(Line(), tmp_path / "b"))


def test_the_validation_loss_weights_batches_by_their_rows(tmp_path):
    class Uneven(Watched):
        def feed(self, part, first_step=0):
            if part != "validation":
                return super().feed(part, first_step)
            batch = self.batch(-1)
            half = Batch(batch.x[:2], batch.lengths[:2], batch.target[:2], batch.rows[:2])
            return [half, batch]

    fitted = fit(Uneven([2.0], 1.0), tmp_path, steps=1)
    assert fitted.history[0]["validation_loss"] == pytest.approx((2 * 1.0 + 4 * 3.0) / 6)


def test_states_of_a_further_training_are_apart_and_belong_to_the_same_run(tmp_path):
    further = Checkpoints(tmp_path, "plan", resume=True).below("cells-0")
    assert further == Checkpoints(tmp_path / "cells-0", "plan cells-0", resume=True)
