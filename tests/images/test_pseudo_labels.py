"""Does a trained network learn once more from cells that it is sure of, the same each time, and only then?"""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import bagscope as bs
import toys
from bagscope.errors import SettingsError
from bagscope.images import pseudo_labels
from bagscope.images.self_training import LARGE, CellCrops, OwnLabels
from specimens import toy_screen

# Every cell is sure: what a few steps have learned is little.
SURE = {"self_training.steps": 3, "self_training.windows": 4, "self_training.sure": 0.0, "self_training.rejected": 1.0}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Fields with nuclei in `dna` and blobs of two shapes in `gfp`."""
    return toy_screen(tmp_path_factory.mktemp("toy"), px=160, blob_px=40)


@pytest.fixture
def all_sure(monkeypatch):
    """Let the network be sure of every second cell for the one class and of the others for the other one."""

    def labels(probability, sure, rejected):
        targets = np.zeros((len(probability), 2), np.float32)
        targets[np.arange(len(probability)), np.arange(len(probability)) % 2] = 1
        return OwnLabels(np.arange(len(probability)), targets)

    monkeypatch.setattr(pseudo_labels, "own_labels", labels)


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


def test_a_training_killed_between_its_two_parts_ends_the_same(table, all_sure, tmp_path, monkeypatch):
    train(table, tmp_path / "straight")
    real = pseudo_labels.train_on_own_labels

    def interrupted(*what, **how):
        signal.raise_signal(signal.SIGINT)
        return real(*what, **how)

    monkeypatch.setattr(pseudo_labels, "train_on_own_labels", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(table, tmp_path / "broken")
    assert not (tmp_path / "broken" / "model.json").exists()
    monkeypatch.setattr(pseudo_labels, "train_on_own_labels", real)
    train(table, tmp_path / "broken", resume=True)
    assert toys.weights(tmp_path / "broken") == toys.weights(tmp_path / "straight")


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


def test_mixtures_lie_between_two_windows_and_so_do_their_targets():
    large = torch.zeros(8, 1, LARGE, LARGE)
    large[:4] = 1.0
    targets = np.repeat(np.eye(2, dtype=np.float32), 4, 0)
    nowhere = torch.zeros(8, LARGE, LARGE, dtype=torch.bool)
    plain = CellCrops(large, nowhere, targets, pseudo_labels.Augmentation(False, 0.0, 0.0), 0.0, 0.0, seed=0)
    mixed = CellCrops(large, nowhere, targets, pseudo_labels.Augmentation(False, 0.0, 0.0), 0.0, 0.0, seed=0, mix=1.0)
    assert set(plain.step(0, 16)[1].unique().tolist()) == {0.0, 1.0}
    x, wanted = mixed.step(0, 16)
    torch.testing.assert_close(x.mean((1, 2, 3)), wanted[:, 0])
    torch.testing.assert_close(wanted.sum(1), torch.ones(16))
    assert ((wanted > 0.05) & (wanted < 0.95)).any(1).sum() >= 3
