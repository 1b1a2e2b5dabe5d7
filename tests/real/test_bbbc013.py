"""Does the main job work on a real plate: BBBC013, one seed, few steps?"""

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
from bagscope.reproduce import run_experiment
from bagscope.reproduce.probes import blank_patches

DATA = Path(os.environ.get("BAGSCOPE_DATA", "/nowhere"))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (DATA / "bbbc013").is_dir(), reason="BBBC013 is not there: name the folder that holds it in $BAGSCOPE_DATA"
    ),
]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Run the experiment with one seed and few steps, and return its folder."""
    out = tmp_path_factory.mktemp("bbbc013")
    return run_experiment(
        "bbbc013",
        data=DATA,
        out=out,
        seeds=None,
        only=None,
        quick=True,
        test_data=None,
        device="cpu",
        threads=None,
        events=SILENT,
    )


@pytest.fixture(scope="module")
def measured(quick):
    with (quick / "results.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["experiment"] for row in rows} == {"bbbc013"}
    return {(row["setting"], row["measure"]): float(row["value"]) for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["quick/ACEG", "quick/BDFH"])
def test_every_held_out_control_is_called_right_after_a_quarter_of_the_steps(measured, setting):
    assert measured[setting, "control_wells_wrong"] == 0
    assert measured[setting, "zprime_well"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["quick/ACEG", "quick/BDFH"])
def test_images_without_cells_show_no_class(measured, setting):
    for probe in ("blank", "noise", "blank_patch"):
        assert measured[setting, f"{probe}_max_probability"] < 0.5
    assert measured[setting, "blank_patches"] > 20  # the probe was asked of something


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["quick/ACEG", "quick/BDFH"])
def test_half_of_the_effect_lies_near_the_published_doses(measured, setting):
    # Doses lie a factor of two apart; the plate's classical analysis has 8.2 nM and 3.3 uM.
    assert 8.2 / 2 < measured[setting, "ec50:wortmannin"] < 8.2 * 2
    assert 3.3 / 2 < measured[setting, "ec50:LY294002"] < 3.3 * 2


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["quick/ACEG", "quick/BDFH"])
def test_cells_that_nobody_labelled_agree_with_the_classical_pipeline(measured, setting):
    assert measured[setting, "cells_found_share"] > 0.99
    assert measured[setting, "cell_balanced_accuracy"] > 0.85
    assert measured[setting, "region_iou"] > 0.7 > measured[setting, "rms_share"]
    assert measured["classical", "zprime_share"] == pytest.approx(0.963, abs=0.002)
    assert measured["classical", "nuclei"] == pytest.approx(18_603, abs=20)


@pytest.mark.slow
def test_an_experiment_that_is_done_is_not_measured_again(quick, measured):
    before = {path: path.stat().st_mtime_ns for path in quick.rglob("measured.json")}
    assert len(before) == 3
    run_experiment(
        "bbbc013",
        data=DATA,
        out=quick,
        seeds=None,
        only=None,
        quick=True,
        test_data=None,
        device="cpu",
        threads=None,
        events=SILENT,
    )
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
