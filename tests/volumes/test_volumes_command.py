"""Does the command line take a screen of volumes to scores and a page, and say what is wrong in words?"""

import json

import pytest

import bagscope as bs
import toys
from bagscope.errors import SettingsError
from solids_drawn import QUICK, screen_of

SETS = ["--set", "training.batch=4", "--set", "network.cells=12", "--set", "turns.views=2", "--threads", "1"]


def test_a_stranger_gets_from_volumes_to_a_page(tmp_path):
    table = screen_of(tmp_path / "s", rows={3: {"image": "gone.tif"}})
    code, out, said = toys.command("check", table, "--task", "volumes")
    assert code == 2  # training goes on without a file only where that is said
    assert "1 of 8 rows are missing" in out + said
    code, out, said = toys.command("check", table, "--task", "volumes", "--set", "table.max_missing=0.2")
    assert code == 3  # a row would be left out
    assert "gone.tif" in out + said
    table = screen_of(tmp_path / "t")
    assert toys.command("check", table, "--task", "volumes")[0] == 0
    words = ("train", table, "-o", tmp_path / "m", "--task", "volumes", "--steps", 3, "--json", *SETS)
    code, out, said = toys.command(*words)
    assert code == 0, said
    assert json.loads(out.splitlines()[-1])["shapes"] == 8
    assert "a label belongs to each shape" in toys.command("info", tmp_path / "m")[1]
    code, _, said = toys.command("score", tmp_path / "m", table, "-o", tmp_path / "scores", "--maps")
    assert code == 0, said
    assert (tmp_path / "scores" / "volumes.parquet").is_file()
    code, _, said = toys.command("report", tmp_path / "scores", "-o", tmp_path / "page.html")
    assert code == 0, said
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "data-solid=" in page
    assert "shapes of each class" in page


def test_tasks_and_spacings_that_are_none_are_refused_in_words(tmp_path):
    table = screen_of(tmp_path / "s", 2)
    assert "did you mean 'volumes'" in toys.command("check", table, "--task", "volume")[2]
    words = ("train", table, "-o", tmp_path / "m", "--task", "volumes", "--spacing", "1,1")
    code, _, said = toys.command(*words)
    assert code == 2
    assert "three numbers of micrometres" in said


@pytest.mark.parametrize(
    "asked",
    [{"channels": "DNA"}, {"cells": "own"}, {"masks": True}, {"compute.precision": "bf16"}, {"compute.tile": 32}],
)
def test_what_volumes_do_not_know_is_refused_and_not_ignored(tmp_path, asked):
    with pytest.raises(SettingsError, match="of no effect for volumes"):
        bs.train(screen_of(tmp_path / "s", 4), tmp_path / "m", task="volumes", **QUICK, **asked)
    assert not (tmp_path / "m").exists()
