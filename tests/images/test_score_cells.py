"""Do scores hold every cell once, joined with its well, its mask and its class, and nothing stale?"""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

import bagscope as bs
import toys
from bagscope.engine.cell_tables import with_shares
from bagscope.engine.score_folder import read_scores
from bagscope.errors import ModelError, SettingsError, TableError
from bagscope.files.names import field_name
from bagscope.images.centres import read_centres
from bagscope.tables.frames import read_csv, read_parquet
from bagscope.tables.levels import Levels
from bagscope.tables.table import read_screen
from dangerous import LIMIT_S, let_names_be_dangerous

CLASSES = ("filled", "ring")
NUMBERS = ("row", "cell", "y", "x", "area", "top", "left", "bottom", "right", "concentration", "confidence")


@pytest.fixture(scope="module")
def model(trained):
    return bs.load(trained, device="cpu")


@pytest.fixture
def screen(toy, tmp_path):
    shutil.copytree(toy.parent, tmp_path / "toy")
    return tmp_path / "toy" / "screen.csv"


@pytest.fixture
def masked(screen):
    """The toy screen with a segmentation of its own: per field the numbers 7 and 900 (a field has 72 pixels a side)."""
    labels = np.zeros((72, 72), np.uint16)
    labels[5:25, 5:25], labels[40:60, 30:70] = 7, 900

    def change(rows):
        for at, row in enumerate(rows):
            tifffile.imwrite(screen.parent / f"mask{at}.tif", labels)
            row["mask"] = f"mask{at}.tif"
            row["treatment"], row["concentration"] = ("drug", at // 2) if at < 6 else ("", "")
        return rows

    return toys.rewrite(screen, change)


def score(model, table, out, **choices):
    return model.score(table, out, threads=1, **{"cells": "own", **choices})


def images_of(screen):
    return [row["image"] for row in toys.table_of(screen)]


def test_every_cell_has_a_row_that_leads_to_its_well_and_to_its_pixels(model, masked, tmp_path):
    scores = score(model, masked, tmp_path / "scores", masks=True)
    cells = scores.cells
    assert len(cells) == 16
    assert cells.columns[:4].tolist() == ["plate", "well", "site", "row"]
    joined = cells.merge(scores.images, on=["plate", "well", "site", "row"], suffixes=("", "_image"))
    assert len(joined) == len(cells)
    for row in joined.to_dict("records"):
        mask = tifffile.imread(scores.folder / row["mask_file"])[0] == row["cell"]
        assert mask.sum() == row["area"]
        assert mask[row["top"] : row["bottom"], row["left"] : row["right"]].sum() == row["area"]
        assert mask[round(row["y"]), round(row["x"])]
    assert set(cells["cell"]) == {7, 900}
    assert cells["call"].isin([*CLASSES, "none"]).all()
    assert cells[["mil_probability:filled", "mil_probability:ring"]].to_numpy().min() >= 0


def test_cells_are_the_same_as_csv_and_when_read_again(model, masked, tmp_path):
    scores = score(model, masked, tmp_path / "scores")
    again = read_scores(tmp_path / "scores").cells
    pd.testing.assert_frame_equal(again, scores.cells)
    numbers = [*NUMBERS, *(f"mil_probability:{name}" for name in CLASSES)]
    told = read_csv(tmp_path / "scores" / "cells.csv", numbers=numbers)
    pd.testing.assert_frame_equal(told, scores.cells, check_dtype=False)


def test_shares_are_counts_of_called_cells_and_wells_pool_their_fields(model, masked, tmp_path):
    toys.rewrite(masked, lambda rows: [{**row, "well": "A01", "label": ""} for row in rows])
    scores = score(model, masked, tmp_path / "scores")
    called = scores.cells[scores.cells["call"] != "none"]
    for name in CLASSES:
        per_field = (called["call"] == name).groupby(called["row"]).mean()
        told = scores.images.set_index("row")[f"share:{name}"].dropna()
        pd.testing.assert_series_equal(told, per_field, check_names=False)
        well = scores.wells.iloc[0]
        if len(called):
            assert well[f"share:{name}"] == pytest.approx((called["call"] == name).mean())
            assert well[f"share_low:{name}"] <= well[f"share:{name}"] <= well[f"share_high:{name}"]
    assert scores.images["n_cells"].tolist() == [2] * 8
    assert scores.wells["n_cells"].tolist() == [16]


def test_columns_stand_in_their_order_and_treatments_have_shares_too(model, masked, tmp_path):
    scores = score(model, masked, tmp_path / "scores")
    names = scores.wells.columns.tolist()
    assert names.index("n_fields") < names.index("n_cells") < names.index("mil_probability:filled")
    assert names.index("probability:ring") < names.index("share:filled") < names.index("call") < names.index("split")
    assert not [name for name in names if name.startswith(("n_called", "mask_file"))]
    assert scores.treatments["n_cells"].tolist() == [4, 4, 4]
    assert {"share:ring", "share_low:ring", "share_high:ring"} <= set(scores.treatments.columns)


def test_without_cells_nothing_of_them_is_written(model, masked, tmp_path):
    scores = model.score(masked, tmp_path / "scores", threads=1)
    assert scores.cells.empty
    assert not [name for name in scores.wells.columns if name.startswith(("share", "n_cells"))]
    assert not {"cells.parquet", "masks", "maps", "names.csv"} & {path.name for path in scores.folder.iterdir()}


def test_the_models_own_cells_and_maps_are_written_for_every_field(model, screen, tmp_path):
    scores = score(model, screen, tmp_path / "scores", masks=True, maps=True)
    for row in scores.images.to_dict("records"):
        mask = tifffile.imread(scores.folder / row["mask_file"])
        assert mask.shape == (2, 72, 72)
        own = scores.cells[scores.cells["row"] == row["row"]]
        assert sorted(own["cell"]) == sorted(set(mask[0][mask[0] > 0].tolist()))
        assert len(own) == row["n_cells"]
        with tifffile.TiffFile(scores.folder / row["map_file"]) as maps:
            assert maps.asarray().shape == (5, 72, 72)
            for name in ("jacobian:filled", "class:ring", "foreground"):
                assert name in maps.ome_metadata
            assert 'PhysicalSizeX="0.65"' in maps.ome_metadata
    names = read_csv(scores.folder / "names.csv", numbers=["row"])
    assert names[["mask_file", "map_file"]].equals(scores.images[["mask_file", "map_file"]])


@pytest.mark.parametrize("hurt", ["mask", "map", "cells", "flip"])
def test_resume_makes_anew_what_is_gone_or_damaged_and_nothing_else(model, masked, tmp_path, hurt):
    out = tmp_path / "scores"
    before = score(model, masked, out, masks=True, maps=True)
    tables = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    first = before.images.iloc[0]
    gone = {
        "mask": out / first["mask_file"],
        "map": out / first["map_file"],
        "cells": out / "parts" / "00000" / "00000000.parquet",
        "flip": out / "parts" / "00000" / "00000000.parquet",
    }[hurt]
    content = gone.read_bytes()
    if hurt == "flip":
        gone.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    else:
        gone.unlink()
    others = {path: path.stat().st_mtime_ns for path in (out / "parts").rglob("*.json") if path.stem != "00000000"}
    score(model, masked, out, masks=True, maps=True, resume=True)
    assert gone.read_bytes() == content
    assert {path.name: path.read_bytes() for path in out.glob("*.parquet")} == tables
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_changed_mask_gives_other_cells_when_scoring_goes_on(model, masked, tmp_path):
    out = tmp_path / "scores"
    score(model, masked, out)
    labels = np.zeros((72, 72), np.uint16)
    labels[20:40, 20:40] = 3
    tifffile.imwrite(masked.parent / "mask2.tif", labels)
    cells = score(model, masked, out, resume=True).cells
    assert cells["cell"].value_counts().to_dict() == {7: 7, 900: 7, 3: 1}


def damage(path, kind):
    labels = np.zeros((72, 72), np.uint16)
    labels[5:25, 5:25] = 1
    if kind == "size":
        tifffile.imwrite(path, labels[:71])
    elif kind == "colour":
        tifffile.imwrite(path, np.stack([labels] * 3, -1).astype(np.uint8), photometric="rgb")
    elif kind == "specks":
        tifffile.imwrite(path, np.arange(72 * 72).reshape(72, 72).astype(np.uint16))
    elif kind == "fractions":
        tifffile.imwrite(path, labels / np.float32(3))
    else:
        path.unlink()


@pytest.mark.parametrize("kind", ["size", "colour", "specks", "fractions", "absent"])
def test_a_mask_that_cannot_be_used_costs_its_field_the_cells_alone(model, masked, tmp_path, kind):
    damage(masked.parent / "mask3.tif", kind)
    scores = score(model, masked, tmp_path / "scores")
    plain = model.score(masked, tmp_path / "plain", threads=1)
    pd.testing.assert_series_equal(scores.images["mil_probability:ring"], plain.images["mil_probability:ring"])
    assert scores.failures[["row", "stage"]].to_numpy().tolist() == [[5, "cells"]]
    assert scores.failures["cause"].iloc[0]
    assert scores.failures["fix"].iloc[0]
    assert scores.images["n_cells"].tolist() == [2, 2, 2, 0, 2, 2, 2, 2]
    assert np.isnan(scores.images["share:ring"].iloc[3])


@pytest.mark.parametrize("kind", ["size", "colour", "specks", "fractions", "absent"])
def test_a_check_of_pixels_tells_of_a_mask_that_cannot_be_used(masked, kind):
    damage(masked.parent / "mask3.tif", kind)
    found = [problem for problem in bs.check(masked, pixels=True) if problem.column == "mask"]
    assert [(problem.row, problem.severity) for problem in found] == [(5, "warn")]
    assert found[0].cause
    assert not [problem for problem in bs.check(masked.parent / "screen.csv") if problem.code == "mask_size"]


@pytest.fixture
def dangerous(masked, monkeypatch):
    """The masks of rows 3 and 5 crash and hang the process that decodes them."""
    let_names_be_dangerous(monkeypatch)

    def change(rows):
        for at, name in ((1, "crash.tif"), (3, "hang.tif")):
            (masked.parent / rows[at]["mask"]).rename(masked.parent / name)
            rows[at]["mask"] = name
        return rows

    return toys.rewrite(masked, change)


def test_masks_that_end_the_process_that_decodes_them_cost_their_fields_the_cells_alone(model, dangerous, tmp_path):
    scores = score(model, dangerous, tmp_path / "scores", **{"compute.io_timeout": LIMIT_S})
    told = scores.failures[["row", "stage", "code"]].to_numpy().tolist()
    assert told == [[3, "cells", "crashed"], [5, "cells", "timeout"]]
    assert scores.images["n_cells"].tolist() == [2, 0, 2, 0, 2, 2, 2, 2]
    assert scores.images["mil_probability:ring"].notna().all()


def test_a_check_of_pixels_goes_on_after_masks_that_end_the_process_that_decodes_them(dangerous):
    found = [
        problem
        for problem in bs.check(dangerous, pixels=True, **{"compute.io_timeout": LIMIT_S})
        if problem.column == "mask"
    ]
    assert [(problem.row, problem.severity, problem.code) for problem in found] == [
        (3, "warn", "crashed"), (5, "warn", "timeout")
    ]  # fmt: skip


def test_pieces_of_one_number_are_one_cell_and_are_told(model, masked, tmp_path):
    labels = np.zeros((72, 72), np.uint16)
    labels[2:20, 2:20] = labels[50:60, 50:60] = 4
    tifffile.imwrite(masked.parent / "mask0.tif", labels)
    listener = toys.Listener()
    cells = score(model, masked, tmp_path / "scores", events=listener).cells
    assert cells.loc[cells["row"] == 2, ["cell", "area"]].to_numpy().tolist() == [[4, 424]]
    assert [text for text in listener.warned if "separate regions" in text]


def test_numbers_beyond_16_bits_are_written_as_32(model, masked, tmp_path):
    labels = np.zeros((72, 72), np.uint32)
    labels[2:20, 2:20] = 70_000
    tifffile.imwrite(masked.parent / "mask0.tif", labels)
    scores = score(model, masked, tmp_path / "scores", masks=True)
    kinds = [tifffile.imread(scores.folder / name).dtype for name in scores.images["mask_file"]]
    assert kinds == [np.uint32, *[np.uint16] * 7]
    assert scores.cells["cell"].max() == 70_000


def test_a_mask_outside_the_tables_folder_is_refused(model, masked, tmp_path):
    tifffile.imwrite(tmp_path / "outside.tif", np.zeros((72, 72), np.uint8))
    toys.rewrite(masked, lambda rows: [{**row, "mask": "../outside.tif"} for row in rows])
    with pytest.raises(TableError, match="leads out of the folder"):
        score(model, masked, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


# Centres from another program --------------------------------------------------------------------------------------


def centres(path, rows, header="image,y,x"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_centres_of_another_program_become_cells_in_their_order(model, screen, tmp_path):
    names = images_of(screen)
    told = centres(tmp_path / "c.csv", [(names[1], 10, 60.5), (names[0], 20, 20), (names[1], 50, 12)])
    cells = score(model, screen, tmp_path / "scores", cells=str(told), masks=True).cells
    assert cells[["row", "cell", "y", "x"]].to_numpy().tolist() == [[2, 1, 20, 20], [3, 1, 10, 60.5], [3, 2, 50, 12]]
    scores = read_scores(tmp_path / "scores")
    assert scores.images["n_cells"].tolist() == [1, 2, 0, 0, 0, 0, 0, 0]
    mask = tifffile.imread(scores.folder / scores.images["mask_file"].iloc[1])[0]
    assert mask[50, 12] == 2
    moved = centres(tmp_path / "c.csv", [(names[1], 10, 60.5), (names[0], 21, 20), (names[1], 50, 12)])
    again = score(model, screen, tmp_path / "scores", cells=str(moved), masks=True, resume=True).cells
    assert again["y"].tolist() == [21, 10, 50]


def test_images_are_known_by_file_name_where_only_one_field_has_it(screen, tmp_path):
    toys.rewrite(screen, lambda rows: [{**row, "note": ""} for row in rows])
    table, names = read_screen(screen), images_of(screen)
    short = names[2].rsplit("/", 1)[-1]
    found, said = read_centres(centres(tmp_path / "c.csv", [(short, 1, 2), (f"other\\\\{short}", 3, 4)]), table)
    assert {at: points.tolist() for at, points in found.items()} == {2: [[1, 2], [3, 4]]}
    assert not said
    found, said = read_centres(centres(tmp_path / "d.csv", [(names[0], 1, 2), ("nothing.tif", 3, 4)]), table)
    assert list(found) == [0]
    assert "nothing.tif" in said[0].cause


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        ([("nothing.tif", 1, 2)], "image,y,x", "none of its images"),
        ([], "image,y,x", "none of its images"),
        ([("a", 1)], "image,y", "no column x"),
        ([("a", 1, 2), ("a", "", 2)], "image,y,x", "row 3.*no number"),
        ([("a", "nan", 2)], "image,y,x", "no number"),
    ],
)
def test_centres_that_mean_nothing_are_refused_before_any_work(model, screen, tmp_path, rows, header, said):
    told = centres(tmp_path / "c.csv", rows, header)
    with pytest.raises(TableError, match=said):
        score(model, screen, tmp_path / "scores", cells=str(told))
    with pytest.raises(TableError, match="cannot read"):
        score(model, screen, tmp_path / "scores", cells=str(tmp_path / "absent.csv"))


def test_a_centre_outside_its_image_costs_the_field_its_cells(model, screen, tmp_path):
    names = images_of(screen)
    told = centres(tmp_path / "c.csv", [(names[0], 20, 20), (names[1], 72, 5)])
    scores = score(model, screen, tmp_path / "scores", cells=str(told))
    assert scores.failures[["row", "stage", "code"]].to_numpy().tolist() == [[3, "cells", "cell_outside"]]
    assert len(scores.cells) == 1


# What is refused, and names ------------------------------------------------------------------------------------------


def test_masks_without_cells_and_models_that_know_nothing_of_them_are_refused(model, trained, screen, tmp_path):
    with pytest.raises(SettingsError, match="masks are wanted, but no cells"):
        score(model, screen, tmp_path / "scores", cells="none", masks=True)
    old = toys.copied(trained, tmp_path / "old")
    text = (old / "model.json").read_text()
    plain = bs.load(old, device="cpu")
    assert '"cells": {' in text
    plain.card = plain.card.model_copy(update={"cells": None})
    with pytest.raises(ModelError, match="knows nothing of cells"):
        score(plain, screen, tmp_path / "scores")
    with pytest.raises(SettingsError, match="no such channel"):
        score(model, screen, tmp_path / "scores", **{"cells.nuclei": "dapi"})


def test_files_of_a_field_stay_in_the_folder_whatever_it_is_called(model, screen, tmp_path):
    odd = ["P:1", "../../x", "CON", "a" * 300, "é", "A", "a", "="]
    toys.rewrite(screen, lambda rows: [{**row, "plate": odd[at]} for at, row in enumerate(rows)])
    scores = score(model, screen, tmp_path / "scores", masks=True)
    files = sorted(path.name for path in (scores.folder / "masks").iterdir())
    assert len(files) == 8
    assert sorted(name.removeprefix("masks/") for name in scores.images["mask_file"]) == files
    assert all(len(name) <= 120 and name.isascii() and ":" not in name for name in files)
    assert field_name(3, ["../..", "é"]) == "000003_e"


def test_cross_fitted_scores_have_cells_when_they_are_wanted(toy, tmp_path):
    model = toys.quick(toy, tmp_path / "model", folds=2, cells="own", **{"self_training.steps": 0})
    scores = read_scores(model.folder / "cross_fitted")
    assert scores.images["n_cells"].sum() == len(scores.cells)
    assert read_parquet(scores.folder / "cells.parquet").equals(scores.cells)


def test_cells_that_are_called_nothing_take_no_part_in_shares():
    frame = pd.DataFrame(
        {
            "plate": ["P"],
            "label": [""],
            "n_cells": [10],
            "n_called:a": [3],
            "n_called:b": [1],
            "call": ["a"],
            "split": [""],
        }
    )
    found = with_shares(Levels(frame, frame, frame), ["a", "b"])
    for table in (found.images, found.wells, found.treatments):
        assert table[["share:a", "share:b"]].to_numpy().tolist() == [[0.75, 0.25]]
        assert table["n_cells"].tolist() == [10]
