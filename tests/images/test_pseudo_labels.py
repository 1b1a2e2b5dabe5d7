"""Self-training as a stage of training a model: when it happens, what it changes, and how it resumes."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import bagscope as bs
import toys
from bagscope.errors import Interrupted, SettingsError
from bagscope.images import pseudo_labels
from bagscope.images.self_training import PseudoLabels, SelfTrainingTask
from specimens import toy_screen

# Every cell is sure: what a few steps have learned is little.
SURE = {"self_training.steps": 3, "self_training.windows": 4, "self_training.sure": 0.0, "self_training.rejected": 1.0}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Fields with nuclei in `dna` and blobs of two shapes in `gfp`."""
    return toy_screen(tmp_path_factory.mktemp("toy"), px=160, blob_px=40)


def alternating(probability, sure, rejected):
    """Label every second cell with the one class and the others with the other one."""
    targets = np.zeros((len(probability), 2), np.float32)
    targets[np.arange(len(probability)), np.arange(len(probability)) % 2] = 1
    return PseudoLabels(np.arange(len(probability)), targets)


@pytest.fixture
def all_sure(monkeypatch):
    """Give every cell a label."""
    monkeypatch.setattr(pseudo_labels, "label_cells", alternating)


def train(table, out, **choices):
    return toys.quick(table, out, **{"cell_diameter": "40", **SURE, **choices})


def test_a_model_with_a_nuclear_channel_judges_cells_by_weights_of_their_own(table, all_sure, tmp_path):
    model = train(table, tmp_path / "model")
    assert model.card.cells.nuclei == "dna"
    assert model.card.cells.self_trained
    assert sum(model.card.cells.own_labels) > 10
    stored = load_file(tmp_path / "model" / "model.safetensors")
    body, cells = ({name: stored[name] for name in stored if name.startswith(part)} for part in ("body.", "cells."))
    assert [name.removeprefix("cells.") for name in cells] == [name.removeprefix("body.") for name in body]
    assert any(not torch.equal(stored[f"cells.{name[5:]}"], value) for name, value in body.items())
    pixels = np.random.default_rng(0).integers(90, 500, (2, 160, 160)).astype(np.uint16)
    labels = np.zeros((160, 160), int)
    labels[60:90, 60:90] = 1
    own = model.predict(pixels).segment(labels=labels).cells
    again = bs.load(tmp_path / "model", device="cpu").predict(pixels).segment(labels=labels).cells
    assert own.equals(again)
    model.network.cells = None
    without = model.predict(pixels).segment(labels=labels).cells
    assert own["mil_probability:ring"].tolist() != without["mil_probability:ring"].tolist()


def test_the_second_training_changes_nothing_of_the_first(table, all_sure, tmp_path):
    train(table, tmp_path / "with")
    train(table, tmp_path / "without", **{"self_training.steps": 0})
    both = [load_file(tmp_path / name / "model.safetensors") for name in ("with", "without")]
    assert {name for name in both[0] if not name.startswith("cells.")} == set(both[1])
    for name, value in both[1].items():
        assert torch.equal(value, both[0][name]), name


def test_equal_seeds_give_equal_cells_and_the_callers_chance_stays(table, all_sure, tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first = train(table, tmp_path / "one")
    assert torch.equal(torch.rand(3), wanted)
    train(table, tmp_path / "two")
    assert toys.weights(tmp_path / "one") == toys.weights(tmp_path / "two")
    other = train(table, tmp_path / "three", seed=1)
    assert first.card.cells != other.card.cells or toys.weights(tmp_path / "one") != toys.weights(tmp_path / "three")


def outcome(folder):
    """Return all that a training decides."""
    return toys.weights(folder), (folder / "history.csv").read_bytes()


def interrupt(monkeypatch, call):
    """Ask to stop while the losses of a step of self-training are computed, counted over all rounds."""
    calls, losses = [], SelfTrainingTask.losses

    def interrupted(self, net, batch):
        calls.append(batch)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return losses(self, net, batch)

    monkeypatch.setattr(SelfTrainingTask, "losses", interrupted)


# States of every third step: that of the fourth, last step of the first training is saved all the same.
ROUNDS = {"self_training.rounds": 2, "training.save_every": 3}


@pytest.fixture(scope="module")
def straight(table, tmp_path_factory):
    """A training that was never interrupted."""
    folder = tmp_path_factory.mktemp("straight") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pseudo_labels, "label_cells", alternating)
        train(table, folder, **ROUNDS)
    return folder


@pytest.mark.parametrize(
    ("call", "step", "rounds"),
    [(2, "after step 2 of 3", ["0"]), (4, "after step 1 of 3", ["0", "1"]), (6, "after step 3 of 3", ["0", "1"])],
)
def test_an_interrupted_self_training_resumes_to_the_same_model(
    call, step, rounds, table, straight, all_sure, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        interrupt(patch, call)
        with pytest.raises(Interrupted, match=step):
            train(table, tmp_path / "cut", **ROUNDS)
    assert sorted(path.name for path in (tmp_path / "cut" / "resume").glob("cells-*")) == [f"cells-{n}" for n in rounds]
    listener = toys.Listener()
    train(table, tmp_path / "cut", resume=True, events=listener, **ROUNDS)
    assert {"going on after step 4 of 4", f"going on {step}"} <= set(listener.said)
    assert (len([done for what, done, _ in listener.steps if what == "training"])) == 6 - call
    assert outcome(tmp_path / "cut") == outcome(straight)
    assert not (tmp_path / "cut" / "resume").exists()


def test_a_training_killed_between_its_two_parts_ends_the_same(table, straight, all_sure, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pseudo_labels, "train_on_pseudo_labels", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train(table, tmp_path / "broken", **ROUNDS)
    assert not (tmp_path / "broken" / "model.json").exists()
    train(table, tmp_path / "broken", resume=True, **ROUNDS)
    assert outcome(tmp_path / "broken") == outcome(straight)


@pytest.mark.parametrize("choices", [{"self_training.steps": 0}, {"cells.nuclei": "none"}])
def test_there_is_no_second_training_without_steps_or_a_nuclear_channel(table, all_sure, tmp_path, choices):
    model = train(table, tmp_path / "model", **choices)
    assert not model.card.cells.self_trained
    assert model.network.cells is None


def test_there_is_none_where_the_network_is_sure_of_no_cell_of_a_class(table, tmp_path):
    model = train(table, tmp_path / "model", **{"self_training.sure": 1.0, "self_training.rejected": 0.0})
    assert not model.card.cells.self_trained
    assert model.card.cells.own_labels == ()


def test_a_nuclear_channel_that_is_not_there_is_refused_before_training(table, tmp_path):
    listener = toys.Listener()
    with pytest.raises(SettingsError, match="no such channel"):
        train(table, tmp_path / "model", events=listener, **{"cells.nuclei": "dapi"})
    assert "training" not in {what for what, _, _ in listener.steps}


def test_what_maps_show_on_blank_places_is_measured_there(table, tmp_path):
    card = train(table, tmp_path / "model").card.cells
    assert card.blank_pixels > pseudo_labels.LEAST_BLANK
    assert 0 <= card.background <= card.foreground


def test_without_a_blank_place_one_limit_stands_for_both(table, tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_labels, "blank_places", lambda grey, limits: np.zeros(grey.shape[1:], bool))
    card = train(table, tmp_path / "model").card.cells
    assert card.blank_pixels == 0
    assert card.background == card.foreground > 0


@pytest.mark.parametrize("most", [7, 30, 100])
def test_at_most_so_many_are_kept_of_each_kind_alike(most):
    targets = np.zeros((60, 2), np.float32)
    targets[:40, 0] = targets[40:50, 1] = 1
    kept = pseudo_labels._at_most(targets, most, np.random.default_rng(0))
    assert len(kept) == len(set(kept.tolist())) == min(most, 60)
    counts = sorted([(kept < 40).sum(), ((kept >= 40) & (kept < 50)).sum(), (kept >= 50).sum()])
    assert counts == {7: [2, 2, 3], 30: [10, 10, 10], 100: [10, 10, 40]}[most]
