"""Toy screens: shapes differ by class, places do not."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict

import numpy as np
import pytest

from bagscope.errors import SettingsError
from bagscope.files.reader import open_image, read_header
from specimens import SHAPES, toy_field, toy_screen


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def gfp_at_the_middles(pixels):
    """Mean GFP where DNA is brightest: the middle of every blob."""
    return pixels[1][pixels[0] > 250].mean()


def test_rings_are_dark_in_the_middle_and_discs_are_bright(tmp_path):
    table = toy_screen(tmp_path, wells_per_class=3, classes=("filled", "ring"), px=192)
    values = defaultdict(list)
    for row in rows_of(table):
        values[row["label"]].append(gfp_at_the_middles(open_image(tmp_path / row["image"])))
    assert len(values["ring"]) == len(values["filled"]) == 3
    assert max(values["ring"]) < 200  # of a background of 100
    assert min(values["filled"]) > 400


def test_rows_and_columns_hold_all_classes_alike(tmp_path):
    table = toy_screen(tmp_path, wells_per_class=6, classes=("a", "b", "none"), fields=1, px=64)
    for place in (slice(0, 1), slice(1, None)):
        counts = defaultdict(Counter)
        for row in rows_of(table):
            counts[row["well"][place]][row["label"]] += 1
        assert all(len(set(count.values())) == 1 and len(count) == 3 for count in counts.values())


def test_files_fields_and_plates_are_as_many_as_asked(tmp_path):
    table = toy_screen(tmp_path, wells_per_class=2, fields=3, px=64, plates=2, channels=("one",))
    rows = rows_of(table)
    assert len(rows) == len({row["image"] for row in rows}) == 2 * 2 * 3 * 2
    assert Counter(row["plate"] for row in rows) == {"T1": 12, "T2": 12}
    assert open_image(tmp_path / rows[0]["image"]).shape == (1, 64, 64)
    assert read_header(tmp_path / rows[0]["image"]).channel_names == ("one",)


def test_the_same_seed_gives_the_same_pixels_and_every_field_its_own(tmp_path):
    tables = [toy_screen(tmp_path / name, 2, px=64, seed=seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))]
    images = [[open_image(t.parent / row["image"]) for row in rows_of(t)] for t in tables]
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    assert len({image.tobytes() for image in images[0]}) == 4


def test_none_is_dots_alone(tmp_path):
    table = toy_screen(tmp_path, wells_per_class=2, classes=("none", "filled"), px=128)
    lit = defaultdict(list)
    for row in rows_of(table):
        lit[row["label"]].append(np.mean(open_image(tmp_path / row["image"])[1] > 200))
    assert max(lit["none"]) < 0.5 * min(lit["filled"])


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_the_share_of_shaped_blobs_is_the_share_asked_for(share):
    rng = np.random.default_rng(0)
    shaped = []
    for _ in range(20):
        pixels = toy_field(rng, "filled", share, px=256, blob_px=32).astype(float)
        block = 256 / 6  # blobs stand on a grid of 6 x 6
        for i in range(36):
            rows, cols = (slice(round(k * block), round((k + 1) * block)) for k in divmod(i, 6))
            shaped.append(np.sum(pixels[1, rows, cols] > 200) > 300)  # a dot covers about 80 pixels
    assert np.mean(shaped) == pytest.approx(share, abs=4 * np.sqrt(0.16 / 720))


def test_classes_named_like_shapes_get_them_and_the_others_what_is_left(tmp_path):
    table = toy_screen(tmp_path, 1, classes=("treated", "ring"), px=192)
    values = {row["label"]: gfp_at_the_middles(open_image(tmp_path / row["image"])) for row in rows_of(table)}
    assert values["ring"] < values["treated"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": ("a", "a")},
        {"classes": ()},
        {"classes": tuple("abcde")[: len(SHAPES) + 1]},
        {"wells_per_class": 0},
        {"wells_per_class": 200},
    ],
)
def test_screens_that_cannot_be_drawn_are_refused(tmp_path, wrong):
    with pytest.raises(SettingsError):
        toy_screen(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
