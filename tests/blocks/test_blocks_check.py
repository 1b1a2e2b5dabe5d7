"""Is everything that can be wrong with blocks and their table said at once, with its place, cause and fix?"""

import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

from bagscope.blocks.check import check_blocks
from bagscope.errors import SettingsError
from bagscope.settings.jobs import BlocksJob, make_job
from tissue import EDGE, proportions, screen_of

GOOD = [
    ("little", "ground", 0.9, 0.1, 12),
    ("little", "spot", 0.1, 0.1, 12),
    ("much", "ground", 0.3, 0.1, 12),
    ("much", "spot", 0.7, 0.1, 12),
]


@pytest.fixture
def place(screen, tmp_path):
    shutil.copytree(screen, tmp_path / "s")
    return tmp_path / "s"


def problems(folder, **choices):
    given = {"proportions": str(folder / "p.csv")} | choices
    return check_blocks(folder / "s.csv", make_job(BlocksJob, None, given))


def said(report, code):
    (one,) = [problem for problem in report.problems if problem.code == code]
    assert one.fix or one.severity == "warn"
    return one


def with_row(at, **changed):
    names = ("coarse", "fine", "mean", "sd", "n")
    rows = [dict(zip(names, row, strict=True)) for row in GOOD]
    rows[at] |= changed
    return [tuple(row.values()) for row in rows]


def test_a_good_screen_has_no_more_than_warnings(place):
    assert problems(place).exit_code == 0


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        (with_row(1, mean=0.3), "no_sum", "the means of coarse class 'little' add up to 1.2"),
        (with_row(0, sd=0), "no_spread", "sd of 0"),
        (with_row(0, mean=-0.1), "bad_number", "mean = -0.1"),
        (with_row(0, mean=90), "bad_number", "mean = 90"),
        (with_row(2, mean="nan"), "bad_number", "mean = nan"),
        (GOOD[:2], "no_proportions", "coarse class 'much', of which the table has no row"),
        (GOOD[:3], "no_pair", "coarse class 'much' has no row for fine class 'spot'"),
        ([*GOOD, GOOD[0]], "pair_twice", "stand there twice"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_row(place, rows, code, words):
    proportions(place / "p.csv", rows)
    report = problems(place)
    assert report.exit_code == 2
    one = said(report, code)
    assert words in one.cause
    assert one.fix
    assert str(place) in one.file


def test_a_coarse_class_without_blocks_is_warned_of(place):
    proportions(place / "p.csv", [*GOOD, ("middle", "ground", 0.5, 0.1, 9), ("middle", "spot", 0.5, 0.1, 9)])
    report = problems(place)
    assert report.exit_code == 0
    assert "'middle'" in said(report, "absent_class").cause


def test_blocks_of_one_class_alone_are_refused(place):
    for at in range(4):
        boxes = pd.read_csv(place / f"b{at}.csv")
        boxes.assign(**{"class": "little"}).to_csv(place / f"b{at}.csv", index=False)
    assert "nothing tells fine classes apart" in said(problems(place), "one_class").cause


def boxes(place, **columns):
    table = pd.read_csv(place / "b0.csv")
    for name, values in columns.items():
        table[name] = values(table)
    table.to_csv(place / "b0.csv", index=False)


def test_boxes_outside_the_image_are_left_out_and_named_never_clipped(place):
    boxes(place, x=lambda table: table["x"].where(table.index > 1, 120))
    one = said(problems(place), "outside")
    assert "2 boxes are left out (lines 2, 3)" in one.cause
    assert "96x128" in one.cause
    assert "never clipped" in one.fix


def test_boxes_with_x_and_y_swapped_are_refused(tmp_path):
    screen_of(tmp_path, 3, sizes=[(64, 256)])
    table = pd.read_csv(tmp_path / "b0.csv").rename(columns={"x": "y", "y": "x"})
    table.to_csv(tmp_path / "b0.csv", index=False)
    report = problems(tmp_path)
    one = said(report, "swapped")
    assert (report.exit_code, one.row) == (2, 2)
    assert "x counts columns from the left" in one.fix


def test_overlaps_and_boxes_without_a_size_are_said(place):
    boxes(place, x=lambda table: table["x"].where(table.index != 1, 8), size=lambda table: table["size"].where(
        table.index != 5, 0))  # fmt: skip
    report = problems(place)
    assert report.exit_code == 0
    assert "overlap" in said(report, "overlap").cause
    assert "size is not above 0" in said(report, "bad_box").cause


@pytest.mark.parametrize(("values", "code"), [([0.5, 0.7, 70, 0.2], "mixed"), ([50, 70, 20, 0], "per_cent")])
def test_probabilities_in_per_cent_are_read_as_such_and_mixed_ones_refused(place, values, code):
    table = pd.read_csv(place / "b0.csv").drop(columns="class")
    table["probability"] = np.resize(values, len(table))
    table.to_csv(place / "b0.csv", index=False)
    (one,) = [problem for problem in problems(place).problems if problem.code == code]
    assert one.severity == ("refuse" if code == "mixed" else "warn")


def test_a_comma_as_decimal_point_is_read_and_a_negative_probability_left_out(place):
    table = pd.read_csv(place / "b0.csv").drop(columns="class")
    table["probability"] = np.resize(["0,25", "0,75", "-0,1", "nan"], len(table))
    table.to_csv(place / "b0.csv", index=False)
    one = said(problems(place), "bad_probability")
    assert "24 boxes are left out" in one.cause


@pytest.mark.parametrize("size", [(7, 8), (5, 9)])
def test_a_coarse_label_image_that_does_not_fit_is_listed_with_both_sizes(place, size):
    tifffile.imwrite(place / "c.tif", np.ones(size, np.uint8))
    screen = pd.read_csv(place / "s.csv")
    screen.loc[0, "coarse"] = "c.tif"
    screen.to_csv(place / "s.csv", index=False)
    one = said(problems(place), "coarse_size")
    assert f"{size[0]}x{size[1]}" in one.cause
    assert "96x128" in one.cause
    assert (one.severity, one.row) == ("list", 2)


def codes(place, nodata):
    grid = np.tile(np.array([[1, 2], [255, 2]], np.uint8), (3, 4))
    tifffile.imwrite(place / "c.tif", grid)
    screen = pd.read_csv(place / "s.csv").assign(coarse="c.tif")
    screen.to_csv(place / "s.csv", index=False)
    rows = [(str(1 + (name == "much")), *rest) for name, *rest in GOOD]
    proportions(place / "p.csv", rows)
    return problems(place, **({"blocks.nodata": nodata} if nodata else {}))


def test_codes_beyond_the_table_are_refused_unless_they_are_said_to_be_no_data(place):
    refused = codes(place, None)
    assert refused.exit_code == 2
    assert "'255'" in said(refused, "no_proportions").cause
    found = codes(place, 255)
    assert found.exit_code == 0
    assert "72 blocks of 2 images: 1 24, 2 48" in found.notes


def test_pixel_labels_beyond_the_classes_name_value_count_and_file(place):
    labels = tifffile.imread(place / "t0.tif")
    labels[:3, 0] = 9
    tifffile.imwrite(place / "t0.tif", labels)
    report = problems(place, **{"blocks.pixels": "truth"})
    one = said(report, "label_range")
    assert "t0.tif: numbers 9 on 3 pixels; there are 2 classes" in one.cause
    assert report.exit_code == 3


def test_blocks_are_of_the_size_that_their_table_says(place):
    from bagscope.blocks.check import check_blocks as checked

    known = checked(place / "s.csv", make_job(BlocksJob, None, {"proportions": str(place / "p.csv")})).known
    assert {int(size) for one in known.values() for size in one.blocks.size} == {EDGE}


def test_missing_files_stop_training_unless_it_is_said_how_many_may_be_missing(place):
    table = pd.read_csv(place / "s.csv", dtype=str)
    (place / table["image"].iloc[0]).unlink()
    assert f"1 of {len(table)} rows" in said(problems(place), "files_missing").cause
    assert problems(place, **{"table.max_missing": 0.9}).exit_code == 3


@pytest.mark.parametrize(
    "asked", [{"cells": "own"}, {"images.pad": "zero"}, {"images.rescale": True}, {"compute.tile": 32}]
)
def test_what_blocks_do_not_know_is_refused_and_not_ignored(asked):
    with pytest.raises(SettingsError, match="of no effect for blocks"):
        make_job(BlocksJob, None, asked)
