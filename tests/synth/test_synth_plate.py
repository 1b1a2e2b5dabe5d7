"""A simulated plate on disk: whole but for the one file, the truth apart, the same from the same seed."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from bagscope.errors import ImageReadError, SettingsError
from bagscope.files.reader import open_image, read_header
from bagscope.synth.plate import image_name, simulate_plate

ODD = {"A03": "empty", "A04": "corrupt file", "B03": "out of focus", "B04": "debris"}
SMALL = {"rows": 2, "columns": 6, "field_px": 128, "fields_per_well": 2, "odd": ODD}


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    return simulate_plate(tmp_path_factory.mktemp("plate"), seed=3, **SMALL)


def test_every_field_is_an_image_of_two_named_channels_with_its_pixel_size(plate):
    wells = [f"{row}{column:02d}" for row in "AB" for column in range(1, 7)]
    assert [path.name for path in plate.images] == [
        f"demo01_{well}_s{site}.ome.tif" for well in wells for site in (1, 2)
    ]
    assert sorted(plate.images) == sorted((plate.folder / "images").iterdir())
    for path in plate.images:
        if "A04" not in path.name:
            header = read_header(path)
            assert header.channel_names == ("dna", "gfp")
            assert header.pixel_um == pytest.approx(0.65)
            pixels = open_image(path)
            assert (pixels.shape, pixels.dtype) == ((2, 128, 128), np.uint16)


def test_the_corrupt_file_cannot_be_read_and_its_truth_is_kept(plate):
    for site in (1, 2):
        broken = plate.folder / "images" / image_name("demo01", "A04", site)
        with pytest.raises(ImageReadError):
            open_image(broken)
        assert open_image(plate.folder / "truth" / "masks" / broken.name).any()


def test_no_two_fields_hold_the_same_cells(plate):
    assert len({pixels.tobytes() for pixels in pixels_of(plate).values()}) == 22
    masks = [open_image(plate.folder / "truth" / "masks" / path.name) for path in plate.images]
    assert len({mask.tobytes() for mask in masks if mask.any()}) == 22  # 24 fields without the two empty ones


def test_the_table_of_cells_names_the_labels_of_the_masks(plate):
    cells = rows_of(plate.folder / "truth" / "cells.csv")
    for path in plate.images:
        mine = {int(row["cell"]): row for row in cells if row["image"] == path.name}
        mask = open_image(plate.folder / "truth" / "masks" / path.name)[0]
        nuclei = open_image(plate.folder / "truth" / "nuclei" / path.name)[0]
        assert set(np.unique(mask)) - {0} == set(mine)
        assert np.all(mask[nuclei > 0] == nuclei[nuclei > 0])
        for number, row in mine.items():
            place = round(float(row["y"])), round(float(row["x"]))
            if np.sum(nuclei == number) > 60:  # whole enough to hold its own centre
                assert nuclei[place] == number


def test_the_table_of_wells_counts_the_table_of_cells(plate):
    cells = rows_of(plate.folder / "truth" / "cells.csv")
    for row in rows_of(plate.folder / "truth" / "wells.csv"):
        mine = [c for c in cells if f"_{row['well']}_" in c["image"]]
        visible = [c for c in mine if c["visible"] == "yes"]
        assert int(row["n_cells"]) == len(mine)
        assert int(row["n_positive"]) == sum(c["class"] == "positive" for c in mine)
        assert int(row["n_visible"]) == len(visible)
        assert row["odd"] == ODD.get(row["well"], "")
        if mine:
            share = np.mean([c["class"] == "positive" for c in mine])
            assert float(row["share_positive"]) == pytest.approx(share, abs=1e-6)
        if visible:
            share = np.mean([c["class"] == "positive" for c in visible])
            assert float(row["share_visible_positive"]) == pytest.approx(share, abs=1e-6)


def test_the_empty_well_has_no_cells_and_no_share(plate):
    truth = {well.well: well for well in plate.wells}["A03"]
    assert truth.n_cells == 0
    assert np.isnan(truth.share_positive)
    written = {row["well"]: row for row in rows_of(plate.folder / "truth" / "wells.csv")}
    assert written["A03"]["share_positive"] == ""


def test_the_plate_map_tells_what_was_pipetted_and_nothing_that_came_of_it(plate):
    rows = rows_of(plate.folder / "platemap.csv")
    assert list(rows[0]) == ["plate", "well", "label", "treatment", "concentration", "unit", "replicate"]
    assert Counter(row["label"] for row in rows) == {"positive": 4, "negative": 4, "": 4}
    assert all(float(row["concentration"]) > 0 for row in rows if not row["label"])


def test_the_true_curves_are_written(plate):
    rows = rows_of(plate.folder / "truth" / "treatments.csv")
    assert {(row["treatment"], row["unit"]) for row in rows} == {("compound A", "nM"), ("compound B", "uM")}
    assert [float(row["ec50"]) for row in rows] == [t.ec50 for t in plate.treatments]


def pixels_of(plate):
    return {path.name: open_image(path) for path in plate.images if "A04" not in path.name}


def test_the_same_seed_gives_the_same_plate_whatever_the_threads(plate, tmp_path):
    again = simulate_plate(tmp_path, seed=3, threads=1, **SMALL)
    assert again.wells == plate.wells
    for name, pixels in pixels_of(plate).items():
        np.testing.assert_array_equal(pixels_of(again)[name], pixels)
    for table in ("platemap.csv", "truth/cells.csv", "truth/wells.csv", "truth/treatments.csv"):
        assert (tmp_path / table).read_bytes() == (plate.folder / table).read_bytes()


def test_another_seed_gives_other_cells(plate, tmp_path):
    other = simulate_plate(tmp_path, seed=4, **SMALL)
    assert all(np.any(pixels != pixels_of(other)[name]) for name, pixels in pixels_of(plate).items())


def test_what_happens_to_one_well_changes_no_other(plate, tmp_path):
    spoilt = simulate_plate(tmp_path, seed=3, **(SMALL | {"odd": ODD | {"B06": "empty"}}))
    new = pixels_of(spoilt)
    changed = {name for name, pixels in pixels_of(plate).items() if np.any(pixels != new[name])}
    assert changed == {"demo01_B06_s1.ome.tif", "demo01_B06_s2.ome.tif"}


def test_shares_of_cells_follow_the_curve(tmp_path):
    clean = simulate_plate(tmp_path, seed=1, rows=6, columns=10, field_px=224, odd={}, well_spread=0.0)
    z, surplus, variance = [], 0.0, 0.0
    for well in clean.wells:
        assert well.share_well == pytest.approx(well.share_curve)
        difference = well.n_positive - well.share_curve * well.n_cells
        binomial = well.share_curve * (1 - well.share_curve) * well.n_cells
        z.append(difference / np.sqrt(binomial))
        surplus, variance = surplus + difference, variance + binomial
    # Binomial around the curve: no surplus over all wells, and squares that add up to chi-square.
    assert abs(surplus) < 4 * np.sqrt(variance)
    assert 1e-3 < stats.chi2.sf(np.sum(np.square(z)), len(z)) < 1 - 1e-3
    positive = [w.share_positive for w in clean.wells if w.label == "positive"]
    negative = [w.share_positive for w in clean.wells if w.label == "negative"]
    assert min(positive) > max(negative) + 0.4


def test_progress_counts_every_well_once(tmp_path):
    seen = []
    simulate_plate(
        tmp_path, rows=2, columns=5, field_px=64, odd={}, progress=lambda done, all_: seen.append((done, all_))
    )
    assert seen == [(i, 10) for i in range(1, 11)]


def test_by_default_four_things_go_wrong_on_a_whole_plate(tmp_path):
    plate = simulate_plate(tmp_path, field_px=64)
    assert len(plate.wells) == 96
    assert Counter(w.odd for w in plate.wells if w.odd) == dict.fromkeys(ODD.values(), 1)


@pytest.mark.slow
def test_a_whole_plate_takes_less_than_120_megabytes(tmp_path):
    # Two of its eight rows, one of each compound.
    simulate_plate(tmp_path, rows=2)
    assert 4 * sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 120e6


@pytest.mark.parametrize(
    "wrong",
    [
        {"plate": "a_b"},
        {"plate": ""},
        {"plate": "../up"},
        {"fields_per_well": 0},
        {"seed": -1},
        {"odd": {"Z99": "empty"}},
        {"odd": {"A03": "lost"}},
        {"rows": 1},
        {"field_px": 30},
    ],
)
def test_plates_that_cannot_be_made_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(SettingsError):
        simulate_plate(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
