"""Does the main job work on a real plate: BBBC013, one seed, half of the steps?"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bagscope.cli.app import app
from bagscope.engine.events import SILENT
from bagscope.files.reader import open_image
from bagscope.importers import import_screen
from bagscope.reproduce import bbbc013, run_experiment
from bagscope.reproduce.probes import blank_patches

DATA = Path(os.environ.get("BAGSCOPE_DATA", "/nowhere"))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (DATA / "bbbc013").is_dir(), reason="BBBC013 is not there: name the folder that holds it in $BAGSCOPE_DATA"
    ),
]


# A model of the controls of rows B, D, F and H is judged on a replicate of each dose of both compounds, rows A and E.
SETTING = "quick/BDFH"


@pytest.fixture(scope="module")
def small_plate():
    """The plate without the wells that are neither learned from nor judged, and half of the steps.

    A quarter of the steps, the experiment's own quick run, is too early: rounding decides which wells are called.
    """

    def needed(*source):
        screen = import_screen(*source)
        row, label = screen.rows["well"].str[0], screen.rows["label"]
        return screen.take((row.isin(["A", "E"]) | (row.isin(["B", "D", "F", "H"]) & (label != ""))).to_numpy())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bbbc013, "import_screen", needed)
        patch.setattr(bbbc013, "QUICK_STEPS", 60)
        yield


def run(out):
    asked = {"seeds": None, "only": SETTING, "quick": True, "test_data": None, "device": "cpu", "threads": None}
    return run_experiment("bbbc013", data=DATA, out=out, events=SILENT, **asked)


@pytest.fixture(scope="module")
def quick(small_plate, tmp_path_factory):
    """Run the experiment with one seed and half of the steps, and return its folder."""
    return run(tmp_path_factory.mktemp("bbbc013"))


@pytest.fixture(scope="module")
def measured(quick):
    with (quick / "results.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["experiment"] for row in rows} == {"bbbc013"}
    return {(row["setting"], row["measure"]): float(row["value"]) for row in rows}


@pytest.mark.slow
def test_every_held_out_control_is_called_right_after_half_of_the_steps(measured):
    assert measured[SETTING, "control_wells_wrong"] == 0
    assert measured[SETTING, "zprime_well"] > 0


@pytest.mark.slow
def test_images_without_cells_show_no_class(measured):
    for probe in ("blank", "noise", "blank_patch"):
        assert measured[SETTING, f"{probe}_max_probability"] < 0.5
    assert measured[SETTING, "blank_patches"] > 20  # the probe was asked of something


@pytest.mark.slow
def test_half_of_the_effect_lies_near_the_published_doses(measured):
    # Doses lie a factor of two apart; the plate's classical analysis has 8.2 nM and 3.3 uM.
    assert 8.2 / 2 < measured[SETTING, "ec50:wortmannin"] < 8.2 * 2
    assert 3.3 / 2 < measured[SETTING, "ec50:LY294002"] < 3.3 * 2


@pytest.mark.slow
def test_cells_that_nobody_labelled_agree_with_the_classical_pipeline(measured):
    assert measured[SETTING, "cells_found_share"] > 0.99
    assert measured[SETTING, "cell_balanced_accuracy"] > 0.85
    assert measured[SETTING, "region_iou"] > 0.7 > measured[SETTING, "rms_share"]
    assert measured["classical", "zprime_share"] == pytest.approx(0.974, abs=0.002)
    # 18,603 nuclei on the whole plate.
    assert measured["classical", "nuclei"] == pytest.approx(7257, abs=8)


@pytest.mark.slow
def test_an_experiment_that_is_done_is_not_measured_again(quick, measured):
    before = {path: path.stat().st_mtime_ns for path in quick.rglob("measured.json")}
    assert len(before) == 2
    run(quick)
    assert {path: path.stat().st_mtime_ns for path in quick.rglob("measured.json")} == before


def test_the_plate_is_read_whole_with_both_controls():
    screen = import_screen("bbbc013", DATA / "bbbc013")
    assert len(screen) == 96
    assert screen.channels == ("gfp", "dna")
    assert screen.rows["label"].value_counts().to_dict() == {"": 72, "negative": 16, "positive": 8}


def test_the_same_pixels_come_out_of_palette_tiffs_and_bitmaps(tmp_path):
    source = DATA / "bbbc013" / "images" / "Channel1-01-A-01.png"
    pixels = open_image(source)
    ramp = np.repeat((np.arange(256, dtype=np.uint16) * 257)[None], 3, axis=0)
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], photometric="palette", colormap=ramp)
    assert np.array_equal(open_image(tmp_path / "a.tif"), pixels)


def test_patches_of_background_hold_no_cell():
    crowded = open_image(DATA / "bbbc013" / "images" / "Channel2-04-A-04.png")
    patches = blank_patches(crowded, 48)
    assert all(patch.max() < np.quantile(crowded, 0.9) for patch in patches)


def test_check_finds_nothing_to_refuse_in_the_real_plate(tmp_path):
    from typer.testing import CliRunner

    table = tmp_path / "screen.csv"
    runner = CliRunner()
    made = runner.invoke(app, ["import", "bbbc013", str(DATA / "bbbc013"), "-o", str(table)])
    assert made.exit_code == 0, made.output
    checked = runner.invoke(app, ["check", str(table)])
    assert checked.exit_code == 0, checked.output
    assert "positive 8 wells" in checked.output
