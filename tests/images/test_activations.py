"""Is what a look shows what the network computes, and of the place that was named?"""

import numpy as np
import pytest
import tifffile
import torch

import bagscope as bs
import toys
from bagscope.errors import SettingsError
from bagscope.images import activations


@pytest.fixture(scope="module")
def model(trained):
    return bs.load(trained, device="cpu")


@pytest.fixture(scope="module")
def pixels(toy):
    return tifffile.imread(toy.parent / toys.table_of(toy)[1]["image"])


@torch.no_grad()
def test_the_last_layer_shown_leads_to_the_class_maps(model, pixels):
    *_, last = activations.layer_names(model)
    shown = torch.from_numpy(activations.activations(model, pixels, last).values)
    maps = torch.sigmoid(model.network.body.classifier(shown[None])[0]).numpy()
    # Predictions multiply batch norm into the weights: the same up to rounding.
    np.testing.assert_allclose(maps, model.predict(pixels).class_maps, atol=1e-5)


def test_a_cell_is_seen_in_its_own_window(model, pixels):
    whole = activations.activations(model, pixels, "conv1").seen
    y, x = 38, 34  # of the 72 pixels each way; the window of 64 begins 32 before its centre
    window = activations.activations(model, pixels, "conv1", (y, x)).seen
    np.testing.assert_array_equal(window, whole[:, y - 32 : y + 32, x - 32 : x + 32])


def test_the_row_that_is_named_is_looked_at(model, toy):
    for number, row in enumerate(toys.table_of(toy), start=2):
        found = activations.activations_of_row(model, toy, number, "conv1", None, toys.Listener())
        own = tifffile.imread(toy.parent / row["image"])
        np.testing.assert_array_equal(found.seen, activations.activations(model, own, "conv1").seen)
        assert row["well"] in found.where


def test_what_cannot_be_looked_at_is_refused_with_what_can(model, toy, pixels):
    with pytest.raises(SettingsError, match=r"no layer 'conv7'.*Layers: conv1, conv2"):
        activations.activations(model, pixels, "conv7")
    with pytest.raises(SettingsError, match="no row 99 that can be used; Usable rows are 2 to 9"):
        activations.activations_of_row(model, toy, 99, "conv1", None, toys.Listener())
