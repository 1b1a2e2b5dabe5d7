"""Are things that stand alone found, and labelled with no more than their image's label allows?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bagscope as bs
import toys
from bagscope.engine.card import CallCard
from bagscope.engine.loaded import TrainedNetwork
from bagscope.files.writer import write_ome_tiff
from bagscope.images.card import CellCard, IntensityCard, ModelCard, ScaleCard
from bagscope.images.class_regions import bright, class_region, present_regions
from bagscope.images.field_view import FieldView
from bagscope.images.objects import parts
from bagscope.images.self_training import label_cells_within

CPU = torch.device("cpu")
CARD = ModelCard(
    task="images",
    classes=("a", "b"),
    several_labels=False,
    none_trained=True,
    channels=("grey",),
    network={"name": "kraus"},
    pooling={"name": "noisy_and"},
    grid={"jump": 32, "offset": 31.0, "field": 135, "smallest": 63},
    intensity=IntensityCard(dark=(0.0,), background=(0.0,), spread=(8.0,)),
    scale=ScaleCard(cell_diameter_px=None, source="off", factor=1.0),
    calls=CallCard(threshold=0.5, confidence=0.6),
    cells=CellCard(background=1e-4, foreground=1e-2, coupling=1.0, blank_pixels=9, from_parts=True),
    training={},
    created={},
)


def drawn():
    """Three bars of 20 pixels, a clump of two, a speck, and a bar that the edge cuts."""
    pixels = np.zeros((1, 160, 160), np.uint8)
    for y, x in ((20, 20), (20, 100), (100, 20)):
        pixels[0, y : y + 20, x : x + 8] = 200
    pixels[0, 60:80, 60:68] = pixels[0, 72:92, 66:74] = 200
    pixels[0, 130:133, 130:133] = 200
    pixels[0, 150:160, 90:98] = 200
    return pixels


@pytest.fixture(scope="module")
def net():
    return toys.speaking_net(channels=1)


def test_parts_are_neither_specks_nor_clumps_nor_cut(net):
    found = parts(FieldView(TrainedNetwork(net, CARD, CPU), drawn()))
    assert sorted(map(tuple, found.centres.tolist())) == [(29.5, 23.5), (29.5, 103.5), (109.5, 23.5)]
    assert found.labels.max() == 6  # the others are there, to be blanked out


@pytest.mark.parametrize(("y", "x"), [(0, 60), (140, 60), (60, 0), (60, 152)])
def test_a_part_that_touches_an_edge_of_the_image_is_left_out_whatever_its_length(net, y, x):
    pixels = drawn()
    before = parts(FieldView(TrainedNetwork(net, CARD, CPU), pixels)).centres
    pixels[0, 60:92, 60:74] = 0
    pixels[0, y : y + 20, x : x + 8] = 200
    assert np.array_equal(parts(FieldView(TrainedNetwork(net, CARD, CPU), pixels)).centres, before)


def test_windows_hold_the_thing_and_others_mask_all_else(net):
    view = FieldView(TrainedNetwork(net, CARD, CPU), drawn())
    found = parts(view)
    large, others = found.windows(view), found.others(view)
    assert large.shape == (3, 1, 96, 96)
    for one, other in zip(large, others, strict=True):
        assert (one[0] > 0).sum() > 160  # more than the bar itself lies in the window
        assert (one[0].masked_fill(other, 0) > 0).sum() == 160


def test_a_black_image_has_no_parts(net):
    assert len(parts(FieldView(TrainedNetwork(net, CARD, CPU), np.zeros((1, 100, 100), np.uint8))).numbers) == 0


def test_a_thing_is_of_its_images_label_or_of_none():
    probability = np.array([[0.9, 0.95], [0.6, 0.1], [0.2, 0.99], [0.05, 0.99]])
    found = label_cells_within(probability, np.array([1.0, 0.0]), sure=0.5, rejected=0.1)
    assert found.positions.tolist() == [0, 1, 3]
    assert found.targets.tolist() == [[1, 0], [1, 0], [0, 0]]
    assert label_cells_within(probability, np.array([1.0, 0.0]), sure=0.5, rejected=0.0).positions.tolist() == [0, 1]


def test_in_an_image_of_none_everything_is_none():
    found = label_cells_within(np.array([[0.9, 0.2], [0.4, 0.4]]), np.zeros(2), sure=0.5, rejected=0.0)
    assert found.positions.tolist() == [0, 1]
    assert not found.targets.any()


def test_with_two_labels_a_thing_that_may_be_both_is_left_out():
    found = label_cells_within(np.array([[0.9, 0.9], [0.9, 0.1]]), np.ones(2), sure=0.5, rejected=0.1)
    assert found.positions.tolist() == [1]


def test_a_class_region_is_bright_and_speaks(net):
    pixels = drawn()
    view = FieldView(TrainedNetwork(net, CARD, CPU), pixels, np.array([2.0, -2.0]))
    region, alone = class_region(view, 0), class_region(view, 0, brightness=False)
    assert (region == (alone & (pixels[0] > 100))).all()
    shown = present_regions(view)
    assert set(np.unique(shown)) <= {0, 1}  # the second class is not there
    assert ((shown == 1) == region).all()
    assert not present_regions(FieldView(TrainedNetwork(net, CARD, CPU), pixels, np.array([-2.0, -2.0]))).any()


def test_brightness_knows_no_unit():
    grey = drawn().astype(np.uint16)
    assert (bright(grey) == bright(grey * 100 + 500)).all()
    assert not bright(np.full((2, 9, 9), 7)).any()


def test_a_model_without_a_channel_of_nuclei_learns_from_parts(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["image,plate,well,label"]
    for at, label in enumerate(["bar", "square", "none"] * 3):
        pixels = np.zeros((1, 200, 200), np.uint8)
        for y, x in rng.integers(0, 4, (9, 2)) * 48 + 12:
            pixels[0, y : y + 20, x : x + (20 if label == "square" else 6)] = 0 if label == "none" else 220
        pixels += rng.integers(0, 9, pixels.shape).astype(np.uint8)
        write_ome_tiff(tmp_path / f"{at}.tif", pixels, channel_names=("grey",))
        lines.append(f"{at}.tif,P,B{at + 1:02d},{label}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    own = {"self_training.cells": "parts", "self_training.within_label": True, "self_training.sure": 0.0}
    own |= {"self_training.steps": 2, "self_training.windows": 4, "self_training.rounds": 2, "validation": 0}
    said = []

    class Heard:
        def __getattr__(self, name):
            return lambda *told, **_: said.append(told) if name == "say" else None

    toys.quick(tmp_path / "t.csv", tmp_path / "model", events=Heard(), **own)
    model = bs.load(tmp_path / "model", device="cpu")
    assert model.card.cells.self_trained
    assert model.card.cells.from_parts
    assert sum("self-training on" in told[0] for told in said) == 2
    assert model.predict(np.zeros((1, 120, 120), np.uint8)).segment().cells.empty
