"""Self-training on cells: labels, windows, and a training that clips, stops and resumes like every other."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.optimizer import register_optimizer_step_post_hook

import toys
from bagscope.engine.compute import Execution, threads
from bagscope.engine.states import Checkpoints
from bagscope.errors import Interrupted, TrainingError
from bagscope.feed.augment import UNCHANGED
from bagscope.images.cell_windows import EDGE, judge_windows
from bagscope.images.self_training import (
    DROPOUT_STREAM,
    LARGE,
    CellCrops,
    SelfTrainingTask,
    label_cells,
    train_on_pseudo_labels,
)
from bagscope.nets.kraus import KrausNet
from bagscope.settings.sections import SelfTrainingSection, TrainingSection

CPU = torch.device("cpu")


def squares(count, seed):
    """Windows of a bright square in one channel or the other, or of nothing, and their classes."""
    rng = np.random.default_rng(seed)
    large = rng.normal(0, 0.1, (count, 2, LARGE, LARGE)).astype(np.float32)
    targets = np.zeros((count, 2), np.float32)
    for i in range(count):
        if i % 3 < 2:
            large[i, i % 3, 38:58, 38:58] += 2
            targets[i, i % 3] = 1
    return torch.from_numpy(large), targets


def crops_of(large, targets, seed=0, others=False, **choices):
    section = SelfTrainingSection(**{"alone": 0.0, "jitter": 2, "mix": 0.0, "windows": 8, "steps": 4, **choices})
    masks = torch.full((len(large), LARGE, LARGE), others)
    rows = np.arange(len(large)) + 20
    return CellCrops(large, masks, targets, rows, UNCHANGED, section, seed)


def body():
    torch.manual_seed(1)
    return KrausNet(2, 2, bias=-1.0).eval()


def train(crops, folder, *, resume=False, listener=None, bf16=False, **choices):
    training = TrainingSection(**{"clip": 1e9, "save_every": 100, **choices})
    execution, checkpoints = Execution(CPU, bf16, seed=5), Checkpoints(folder, "plan", resume)
    with torch.random.fork_rng(), threads(1):
        task = SelfTrainingTask(body(), crops)
        return train_on_pseudo_labels(task, training, execution, checkpoints, listener or toys.Listener())


def values(network):
    return {name: value.numpy().tobytes() for name, value in network.state_dict().items()}


def test_a_cell_gets_a_label_where_one_class_or_none_is_beyond_doubt():
    probability = np.array([[0.95, 0.02], [0.95, 0.2], [0.05, 0.01], [0.5, 0.05], [0.95, 0.95], [0.02, 0.91]])
    labels = label_cells(probability, sure=0.9, rejected=0.1)
    assert labels.positions.tolist() == [0, 2, 5]
    assert labels.targets.tolist() == [[1, 0], [0, 0], [0, 1]]


def test_windows_of_a_step_are_balanced_and_the_same_whenever_they_are_asked_for():
    large, targets = squares(30, 0)
    targets[0:27] = 0  # few cells of a class do not drown
    targets[0, 0] = targets[1, 1] = 1
    crops = crops_of(large, targets, seed=1, others=True, jitter=3, alone=0.5, windows=30)
    batch, again = crops.step(4), crops.step(4)
    assert torch.equal(batch.x, again.x)
    assert not torch.equal(batch.x, crops.step(5).x)
    assert batch.target.sum(0).tolist() == [10, 10]
    assert 5 < sum(not window.any() for window in batch.x) < 25  # about half with all other cells blanked out


def test_a_window_is_a_bag_of_one_that_names_the_row_of_its_cell():
    large, targets = squares(12, 0)
    batch = crops_of(large, targets, windows=9).step(0)
    assert batch.lengths.tolist() == [1] * len(batch.x) == [1] * 9
    for target, row in zip(batch.target.numpy(), batch.rows, strict=True):
        assert np.array_equal(target, targets[row - 20])


def test_mixtures_lie_between_two_windows_and_so_do_their_targets():
    large = torch.zeros(8, 1, LARGE, LARGE)
    large[:4] = 1.0
    targets = np.repeat(np.eye(2, dtype=np.float32), 4, 0)
    unmixed, mixed = (crops_of(large, targets, jitter=0, mix=mix, windows=16).step(0) for mix in (0.0, 1.0))
    assert set(unmixed.target.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(mixed.x.mean((1, 2, 3)), mixed.target[:, 0])
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(16))
    assert ((mixed.target > 0.05) & (mixed.target < 0.95)).any(1).sum() >= 3


def test_a_network_learns_from_pseudo_labels(tmp_path):
    listener = toys.Listener()
    network = train(crops_of(*squares(60, 1), steps=12, windows=24, rate=5e-3), tmp_path, listener=listener)
    assert listener.steps == [("training", step, 12) for step in range(1, 13)]
    unseen, truth = squares(30, 2)
    middle = slice((LARGE - EDGE) // 2, (LARGE + EDGE) // 2)
    logits = judge_windows(network, unseen[:, :, middle, middle], 2)
    assert ((logits > 0) == (truth > 0)).mean() > 0.9


@pytest.mark.parametrize("bf16", [False, True])
def test_self_training_is_adam_on_the_windows_of_each_step(bf16, tmp_path):
    """A bare loop with the published optimiser and the same dropout gives the same weights to the last bit."""
    crops, training = crops_of(*squares(30, 1), rate=5e-3), {"weight_decay": 0.1, "optimiser": "rmsprop"}
    network = copy.deepcopy(body()).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=5)
    with torch.random.fork_rng(), threads(1):
        for step in range(4):
            torch.manual_seed(int(np.random.SeedSequence([5, DROPOUT_STREAM, step]).generate_state(1)[0]))
            batch = crops.step(step)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = network(batch.x)[:, :, 0, 0].float()
            loss = binary_cross_entropy_with_logits(logits, batch.target, reduction="none").sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    assert values(train(crops, tmp_path, bf16=bf16, **training)) == values(network)


def test_gradients_are_clipped_as_in_the_first_training(tmp_path):
    norms = []

    def measure(optimiser, *_):
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"]]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

    handle = register_optimizer_step_post_hook(measure)
    try:
        train(crops_of(*squares(12, 1)), tmp_path, clip=1e-3)
    finally:
        handle.remove()
    assert norms == pytest.approx([1e-3] * 4, rel=2e-3)


def test_a_loss_that_is_no_number_is_refused_with_the_rows_of_its_cells(tmp_path):
    large, targets = squares(12, 1)
    large[:] = torch.nan
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1 \(rows .*2\d"):
        train(crops_of(large, targets), tmp_path)


@pytest.mark.parametrize("step", [1, 3])
def test_an_interrupted_self_training_resumes_to_identical_weights(step, tmp_path, monkeypatch):
    signal = pytest.importorskip("signal")
    crops, real = crops_of(*squares(12, 1)), SelfTrainingTask.losses
    whole = train(crops, tmp_path / "whole")
    calls = []

    def losses(self, net, batch):
        calls.append(batch)
        if len(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return real(self, net, batch)

    with monkeypatch.context() as patch:
        patch.setattr(SelfTrainingTask, "losses", losses)
        with pytest.raises(Interrupted, match=f"after step {step} of 4"):
            train(crops, tmp_path / "cut")
    listener = toys.Listener()
    resumed = train(crops, tmp_path / "cut", resume=True, listener=listener)
    assert f"going on after step {step} of 4" in listener.said
    assert [done for _, done, _ in listener.steps] == list(range(step + 1, 5))
    assert values(resumed) == values(whole)
