"""Does the command line take a screen of volumes to scores and a page, and say what is wrong in words?"""

import json
import subprocess
import sys

import pytest

import bagscope as bs
from bagscope.errors import SettingsError
from solids_drawn import QUICK, screen_of

SETS = ["--set", "training.batch=4", "--set", "network.cells=12", "--set", "turns.views=2", "--threads", "1"]


def bagscope(*words):
    return subprocess.run(
        [sys.executable, "-m", "bagscope", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_stranger_gets_from_volumes_to_a_page(tmp_path):
    table = screen_of(tmp_path / "s", rows={3: {"image": "gone.tif"}})
    checked = bagscope("check", table, "--task", "volumes")
    assert checked.returncode == 2  # training goes on without a file only where that is said
    assert "1 of 8 rows are missing" in checked.stdout + checked.stderr
    checked = bagscope("check", table, "--task", "volumes", "--set", "table.max_missing=0.2")
    assert checked.returncode == 3  # a row would be left out
    assert "gone.tif" in checked.stdout + checked.stderr
    table = screen_of(tmp_path / "t")
    assert bagscope("check", table, "--task", "volumes").returncode == 0
    trained = bagscope("train", table, "-o", tmp_path / "m", "--task", "volumes", "--steps", 3, "--json", *SETS)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout.splitlines()[-1])["shapes"] == 8
    assert "a label belongs to each shape" in bagscope("info", tmp_path / "m").stdout
    scored = bagscope("score", tmp_path / "m", table, "-o", tmp_path / "scores", "--maps")
    assert scored.returncode == 0, scored.stderr
    assert (tmp_path / "scores" / "volumes.parquet").is_file()
    done = bagscope("report", tmp_path / "scores", "-o", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "data-solid=" in page
    assert "shapes of each class" in page


def test_tasks_and_spacings_that_are_none_are_refused_in_words(tmp_path):
    table = screen_of(tmp_path / "s", 2)
    assert "did you mean 'volumes'" in bagscope("check", table, "--task", "volume").stderr
    wrong = bagscope("train", table, "-o", tmp_path / "m", "--task", "volumes", "--spacing", "1,1")
    assert wrong.returncode == 2
    assert "three numbers of micrometres" in wrong.stderr


@pytest.mark.parametrize(
    "asked",
    [{"channels": "DNA"}, {"cells": "own"}, {"masks": True}, {"compute.precision": "bf16"}, {"compute.tile": 32}],
)
def test_what_volumes_do_not_know_is_refused_and_not_ignored(tmp_path, asked):
    with pytest.raises(SettingsError, match="of no effect for volumes"):
        bs.train(screen_of(tmp_path / "s", 4), tmp_path / "m", task="volumes", **QUICK, **asked)
    assert not (tmp_path / "m").exists()
