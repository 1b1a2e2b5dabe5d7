"""Does the command line take a screen of blocks to maps, and say what is wrong in words, place and fix?"""

import json

import pandas as pd
import pytest
import tifffile

import toys
from bagscope.files.writer import write_ome_tiff
from tissue import TINY, proportions, screen_of

# Settings as a person types them.
TYPED = {name: list(value) if isinstance(value, tuple) else value for name, value in TINY.items() if "." in name}
SETS = [word for name, value in TYPED.items() for word in ("--set", f"{name}={value}")]


def test_a_stranger_gets_from_blocks_to_maps(tmp_path):
    table, shares = screen_of(tmp_path / "s", 3)
    common = ("--task", "blocks", "--proportions", shares)
    assert toys.command("check", table, *common)[0] == 0
    code, _, said = toys.command("train", table, "-o", tmp_path / "m", *common, "--steps", 4, "--threads", 1, *SETS)
    assert code == 0, said
    assert toys.command("check", table, "--model", tmp_path / "m")[0] == 0
    words = ("score", tmp_path / "m", table, "-o", tmp_path / "o", "--threads", 1, "--json")
    code, out, said = toys.command(*words, "--set", "images.pixel_um=0.5", "--set", "blocks.truth=truth")
    assert code == 0, said
    lines = out.splitlines()
    assert lines[0].split() == ["image", "ground", "spot", "unsure"]
    assert lines[1].startswith("i0.tif  ")
    assert "um2, " in lines[1]
    told = json.loads(lines[-1])
    assert sum(told["share"].values()) == pytest.approx(1)
    files = {path.name for path in (tmp_path / "o").iterdir()}
    assert {"maps", "regions", "regions.parquet", "regions.geojson", "images.csv", "evaluation.csv", "consistency.csv",
            "failures.csv", "run.json", "parts"} <= files  # fmt: skip
    assert "QuPath" in said
    assert toys.command(*words)[0] == 4
    code, _, said = toys.command(*words, "--resume", "--set", "images.pixel_um=0.5", "--set", "blocks.truth=truth")
    assert code == 0
    assert "nothing has changed" in said


def test_what_is_wrong_with_a_table_of_shares_is_said_with_place_and_fix(tmp_path):
    table, shares = screen_of(tmp_path / "s", 2)
    words = ("check", table, "--task", "blocks", "--proportions", shares)
    rows = [("little", "ground", 0.9, 0.1, 12), ("little", "spot", 0.4, 0, 12)]
    proportions(shares, rows)
    code, out, said = toys.command(*words)
    assert code == 2
    text = " ".join((out + said).split())
    assert "p.csv, row 3, column 'sd': coarse class 'little' has an sd of 0 for 'spot'" in text
    proportions(shares, [rows[0], (*rows[1][:3], 0.1, 12)])
    text = " ".join(toys.command(*words)[1].split())
    assert "the means of coarse class 'little' add up to 1.3" in text
    proportions(shares, [rows[0], ("little", "spot", 0.1, 0.1, 12)])
    code, out, _ = toys.command(*words)
    assert "blocks of coarse class 'much', of which the table has no row" in " ".join(out.split())
    assert code == 2
    assert toys.command("check", table, "--task", "blocks")[0] == 2


def test_areas_without_a_pixel_size_end_with_the_fix(tmp_path, model):
    table, _ = screen_of(tmp_path / "s", 2)
    code, out, said = toys.command("check", table, "--model", model.folder, "--set", "maps.area=um2")
    assert code == 2
    assert "--set images.pixel_um=0.5" in out + said
    # One image knows: the other is a line in failures.csv.
    pixels = tifffile.imread(tmp_path / "s" / "i0.tif")
    write_ome_tiff(tmp_path / "s" / "i0.tif", pixels[None], channel_names=["c"], pixel_um=0.5)
    words = ("score", model.folder, table, "-o", tmp_path / "o", "--set", "maps.area=um2")
    assert toys.command(*words)[0] == 3
    assert pd.read_csv(tmp_path / "o" / "failures.csv")["row"].tolist() == [3]
