"""Are cluttered digits drawn, learned from and judged as the experiment says?"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bagscope.api import load
from bagscope.engine.events import SILENT
from bagscope.errors import BagscopeError, ImageReadError
from bagscope.reproduce import digits, run_experiment
from bagscope.reproduce import digits_measures as measures
from bagscope.reproduce import digits_protocol as protocol
from bagscope.reproduce.digits_text import KEYS, PUBLISHED, curve_table, key_table, pooling_table
from bagscope.synth.digits import CLASSES, Clutter, Glyphs, read_glyphs

DATA = Path(os.environ.get("BAGSCOPE_DATA", "/nowhere"))
needs_mnist = pytest.mark.skipif(
    not (DATA / "mnist").is_dir(), reason="MNIST is not there: name the folder that holds it in $BAGSCOPE_DATA"
)


def run(out, data):
    """Run the experiment with one seed and few steps, and return its folder."""
    some = {"seeds": None, "only": None, "test_data": None, "device": "cpu", "threads": None}
    return run_experiment("digits", data=data, out=out, quick=True, events=SILENT, **some)


@pytest.fixture
def glyphs():
    rng = np.random.default_rng(0)
    return Glyphs(rng.integers(0, 256, (200, 28, 28)).astype(np.uint8), np.repeat(np.arange(10, dtype=np.uint8), 20))


def test_every_model_of_the_paper_and_the_rivals_are_there():
    known = protocol.all_settings()
    assert [name for name in known if name.startswith("default/")] == ["default/set1", "default/set2", "default/set3"]
    assert {known[f"paper/set{n}"].negatives for n in (1, 2, 3)} == {0}
    assert set(PUBLISHED) < {"noisy_and_10", *known}
    assert {"noisy_or", "isr", "attention", "curve_5/set1", "curve_10/set1", "curve_25/set1"} < set(known)


def test_rivals_differ_from_ours_by_pooling_and_by_the_place_of_a_grid_that_all_have():
    ours = protocol.Setting("noisy_and_10", 1).choices()
    free = {key for place in protocol.GRID.values() for key in place}
    for name, setting in protocol.all_settings().items():
        if name in protocol.POOLINGS:
            theirs = setting.choices()
            changed = {key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)}
            assert changed <= free | {"pooling.name", "pooling.a", "pooling.r"}, name
    tuned = protocol.tuning_settings()
    assert len(tuned) == len(protocol.POOLINGS) * len(protocol.GRID)
    assert {setting.number for setting in tuned.values()} == {protocol.TUNING_SET}
    assert protocol.TUNING_SET not in protocol.SETS


def test_the_choice_of_each_rival_is_a_place_of_the_grid():
    assert set(protocol.CHOSEN) == set(protocol.POOLINGS)
    assert set(protocol.CHOSEN.values()) <= set(protocol.GRID)


def test_fields_are_drawn_once_and_read_as_a_screen(glyphs, tmp_path):
    setting = protocol.Setting("noisy_and_10", 1, per_class=1, negatives=2)
    screen = protocol.fields_to_learn(setting, glyphs, tmp_path)
    assert screen.rows["label"].tolist() == [*CLASSES, "none", "none"]
    files = sorted(tmp_path.rglob("*.tif"))
    before = [file.stat().st_mtime_ns for file in files]
    again = protocol.fields_to_learn(setting, glyphs, tmp_path)
    assert again.rows.equals(screen.rows)
    assert [file.stat().st_mtime_ns for file in files] == before


def test_what_is_learned_from_and_judged_is_drawn_apart(glyphs):
    judged = protocol.fields_to_judge(1, glyphs, 1)
    spaced = protocol.fields_to_judge(1, glyphs, 1, spaced=True)
    other = protocol.fields_to_judge(2, glyphs, 1)
    assert not np.array_equal(judged[0].pixels, spaced[0].pixels)
    assert not np.array_equal(judged[0].pixels, other[0].pixels)
    assert [one.label for one in protocol.fields_of_zeros(1, glyphs, 2)] == ["none", "none"]


def clutter(label, digits, corners):
    glyph = np.full((28, 28), 200, np.uint8)
    pixels = np.zeros((200, 200), np.uint8)
    for y, x in corners:
        pixels[y : y + 28, x : x + 28] = 200
    return Clutter(label, pixels, np.array(digits, np.uint8), np.array(corners), np.stack([glyph] * len(digits)))


class Said:
    """A model that marks the left half of every field for its class."""

    def __init__(self, pixels, probability):
        self.pixels, self.probability, self.mil_probability = pixels, probability, probability

    def region(self, name, *, brightness=True):
        found = np.zeros(self.pixels.shape[1:], bool)
        found[:, :100] = True
        return found & (self.pixels[0] > 64) if brightness else found

    def speaks(self, name):
        return np.tile(np.linspace(1, 0, self.pixels.shape[2]), (self.pixels.shape[1], 1))


def test_places_are_held_against_the_pixels_of_the_digits_of_the_class():
    fields = [clutter("3", [3, 0], [(20, 20), (20, 150)]), clutter("4", [4, 4, 0], [(20, 20), (20, 150), (90, 90)])]
    model = SimpleNamespace(predict=lambda pixels: Said(pixels, {}))
    found = measures.place_measures(model, fields, fields)
    own = 28 * 28
    assert found["segment_iou:3"] == 1
    assert found["segment_iou:4"] == pytest.approx(own / (own * 2 + 10 * 28))
    assert found["segment_iou"] == pytest.approx((1 + found["segment_iou:4"]) / 2)
    assert found["segment_iou_spaced"] == found["segment_iou"]
    assert found["segment_iou_map_only"] < found["segment_iou"]
    assert found["detection_auc"] == pytest.approx((1 + 0.5) / 2)
    assert found["detection_auc_worst_class"] == pytest.approx(0.5)


def test_errors_count_fields_whose_most_probable_class_is_wrong():
    fields = [clutter(label, [1], [(20, 20)]) for label in ("1", "2", "2")]
    said = iter([{"1": 0.6, "2": 0.2, "none": 0.1}, {"1": 0.2, "2": 0.3, "none": 0.5}, {"1": 0.1, "2": 0.2, "none": 0}])
    model = SimpleNamespace(predict=lambda pixels: Said(pixels, next(said)))
    found = measures.image_measures(model, fields)
    assert found["image_errors"] == 1


def test_the_table_of_poolings_is_ordered_by_errors_and_holds_what_was_published():
    others = {"crop_accuracy": 0.5, "blank_max_probability": 0.1, "zeros_max_probability": 0.2}
    done = {("default/set1", 0): {"image_errors": 0.0, "crop_accuracy_field": 0.4, **others}}
    done |= {("max", seed): {"image_errors": 60.0 - 20 * seed, **others} for seed in (0, 1)}
    done |= {("gm_1", 0): {"image_errors": 0.0, **others}}
    lines = pooling_table(done).splitlines()
    assert [line.split("|")[1].strip() for line in lines[3:6]] == ["gm_1", "noisy_and_10", "max"]
    assert lines[5] == "| max | 60, 40 | 0.500 | 0.100 | 0.200 | 0.125 | 0.452 |"
    assert "| noisy_and_10 | 0 | 0.400 |" in lines[4]
    assert pooling_table({("max", 0): {"image_errors": 1.0, **others}}) == ""


def test_the_first_table_holds_means_and_the_worst_run():
    good = {"image_errors": 0.0, "segment_iou": 0.8, "blank_max_probability": 0.1}
    bad = {"image_errors": 3.0, "segment_iou": 0.6, "blank_max_probability": 0.3}
    every = dict.fromkeys((measure for _, measure in KEYS), 0.5)
    done = {("default/set1", 0): every | good, ("default/set2", 0): every | bad}
    row = key_table(done).splitlines()[3]
    assert row.startswith("| bagscope, 2 runs | 1.5 (3) | 0.700 (0.600) |")
    assert row.split(" | ")[-2] == "0.200 (0.300)"


def test_the_curve_tells_the_errors_of_few_fields():
    done = {("curve_5/set1", 0): {"fields_per_class": 5.0, "image_errors": 9.0}}
    assert curve_table(done) == ""
    done[("default/set1", 0)] = {"fields_per_class": 50.0, "image_errors": 0.0}
    assert curve_table(done).splitlines()[3:5] == ["| 5 | 9 |", "| 50 | 0 |"]


@pytest.mark.parametrize(("data", "word"), [("nowhere", "no folder 'mnist'"), ("empty", "no such file")])
def test_data_that_are_not_there_are_named(data, word, tmp_path):
    (tmp_path / "empty" / "mnist").mkdir(parents=True)
    with pytest.raises(BagscopeError, match=word):
        run(tmp_path / "out", tmp_path / data)


def test_a_damaged_file_is_named(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\0\0\0\x01" * 3 + b"x")
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + b"\0\0\0\x01" + b"x")
    with pytest.raises(ImageReadError, match=r"MNIST's train part has \(60000, 28, 28\)"):
        run(tmp_path / "out", tmp_path)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A quick run on half of its fields, with a tenth of its crops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "QUICK_PER_CLASS", 3)
        patch.setattr(digits, "CROPS_PER_DIGIT", 20)
        patch.setattr("bagscope.images.pseudo_labels.FIELDS_FOR_MAPS", 4)
        return run(tmp_path_factory.mktemp("digits"), DATA)


@needs_mnist
@pytest.mark.real
@pytest.mark.slow
def test_a_quick_run_measures_what_is_promised(quick):
    with (quick / "results.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    found = {(row["setting"], row["measure"]): float(row["value"]) for row in rows}
    for name in (
        "image_errors", "train_seconds", "segment_iou", "segment_iou_map_only", "segment_iou_spaced", "detection_auc",
        "detection_auc_worst_class", "crop_accuracy", "crop_accuracy_worst_class", "zero_crop_probability",
        "blank_max_probability", "zeros_max_probability", "b:1",
    ):  # fmt: skip
        assert ("quick/set1", name) in found, name
        assert ("paper/set1", name) in found, name
    assert found["quick/set1", "image_errors"] < 8  # of 9, after a few steps
    assert found["quick/set1", "segment_iou_spaced"] > found["quick/set1", "segment_iou_map_only"]
    for picture in ("pooling_curves.png", "sample.png"):
        assert (quick / picture).read_bytes()[:4] == b"\x89PNG"


@needs_mnist
@pytest.mark.real
@pytest.mark.slow
def test_a_crop_is_judged_as_the_window_of_a_cell_is(quick):
    model = load(quick / "runs" / "quick_set1" / "seed_0" / "model", device="cpu")
    glyphs = read_glyphs(DATA / "mnist", "test")
    crop = np.zeros((1, 1, 64, 64), np.uint8)
    crop[0, 0, 18:46, 18:46] = glyphs.of(8)[0]
    own = measures.crop_logits(model, model.network.cell_maps, crop)[0]
    said = model.predict(crop[0]).segment(centres=np.array([[31.5, 31.5]])).cells
    columns = [f"mil_probability:{name}" for name in CLASSES]
    assert said[columns].to_numpy()[0] == pytest.approx(torch.sigmoid(torch.from_numpy(own)).numpy(), abs=1e-6)
