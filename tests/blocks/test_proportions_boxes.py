"""Does a model of images say of each tile what it says of that tile alone, in a table that blocks are drawn from?"""

import json
import shutil

import numpy as np
import pytest
import tifffile
from proportions_drawn import run, written

import bagscope
import toys
from bagscope.files.writer import write_ome_tiff


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model of images, and large images made of the pictures that it was trained on."""
    folder = tmp_path_factory.mktemp("boxes")
    table = toys.toy(folder / "train", px=72)
    toys.quick(table, folder / "model")
    files = sorted((folder / "train" / "images").glob("*.tif"))
    (folder / "large").mkdir()
    for at in range(3):
        tiles = [tifffile.imread(files[(at + k) % len(files)]) for k in range(4)]
        joined = np.concatenate([np.concatenate(tiles[:2], 2), np.concatenate(tiles[2:], 2)], 1)
        padded = np.pad(joined, ((0, 0), (0, 9), (0, 30)))
        write_ome_tiff(folder / "large" / f"l{at}.tif", padded, channel_names=bagscope.load(folder / "model").channels)
    rows = [{"image": f"large/l{at}.tif", "donor": "d1", "truth": "large/l0.tif"} for at in range(3)]
    written(folder / "screen.csv", rows)
    return folder


def test_a_box_holds_what_the_model_says_of_the_tile(place):
    words = ("boxes", "model", "screen.csv", "-o", "boxes", "--class", "ring", "--size", 72)
    code, out, said = run(place, *words, "--json")
    assert code == 0, said
    told = json.loads(out.splitlines()[-1])
    assert (told["boxes"], told["images"], told["failed"]) == (12, 3, 0)
    rows = toys.table_of(place / "boxes" / "table.csv")
    assert [row["donor"] for row in rows] == ["d1"] * 3
    model = bagscope.load(place / "model", device="cpu")
    pixels = tifffile.imread(place / "large" / "l1.tif")
    boxes = toys.table_of(place / "boxes" / rows[1]["coarse"])
    assert [(row["x"], row["y"], row["size"]) for row in boxes] == [
        (str(x), str(y), "72") for y in (0, 72) for x in (0, 72)
    ]
    for row in boxes:
        y, x = int(row["y"]), int(row["x"])
        alone = model.predict(pixels[:, y : y + 72, x : x + 72]).probability["ring"]
        # Threads may add in another order.
        assert float(row["probability"]) == pytest.approx(alone, abs=1e-5)
    # The table stands on its own: images and whatever else is a file are named in full.
    assert rows[0]["truth"] == str(place / "large" / "l0.tif")
    assert run(place, "sample", "boxes/table.csv", "-o", "sheet", "--fine", "rest,ring", "--quiet")[0] == 0
    assert toys.table_of(place / "sheet" / "form.csv")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--class", "rings"), "did you mean 'ring'"),
        (("--class", "ring", "--size", 1000), "no image is as large"),
        (("--class", "ring", "--size", 2), "size"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(words, told, place):
    code, _, said = run(place, "boxes", "model", "screen.csv", "-o", "new", *words)
    assert code == 2, said
    assert told in said
    assert not (place / "new").exists()


def test_an_image_that_fails_is_named(place, tmp_path):
    shutil.copy(place / "large" / "l0.tif", tmp_path / "a.tif")
    (tmp_path / "b.tif").write_bytes(b"<!doctype html>")
    written(tmp_path / "screen.csv", [{"image": "a.tif"}, {"image": "b.tif"}])
    words = ("boxes", place / "model", "screen.csv", "-o", "boxes", "--class", "ring", "--size", 72)
    code, _, said = run(tmp_path, *words)
    assert code == 3
    assert "1 of 2 failed" in said
    assert [bool(row["coarse"]) for row in toys.table_of(tmp_path / "boxes" / "table.csv")] == [True, False]
    assert toys.table_of(tmp_path / "boxes" / "failures.csv")[0]["image"] == "b.tif"
