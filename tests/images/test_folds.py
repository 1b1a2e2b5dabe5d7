"""Is every labelled well scored by a model that has not seen it, however the work was interrupted?"""

import numpy as np
import pytest
import tifffile

import bagscope as bs
import toys
from bagscope.engine.card_file import load_card
from bagscope.engine.score_folder import read_scores
from bagscope.errors import SettingsError, TableError
from bagscope.files.run_names import CROSS_FITTED

FOLDED = {"folds": 2, "steps": 2}


@pytest.fixture(scope="module")
def folded(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folded") / "model"
    toys.quick(toy, folder, **FOLDED)
    return folder


def seen(folder):
    """Wells that a model trained on or watched."""
    return {row["well"] for row in toys.table_of(folder / "split.csv") if row["split"] in ("train", "validation")}


def scores(folder, level="images"):
    return toys.table_of(folder / CROSS_FITTED / f"{level}.csv")


def test_each_well_is_scored_by_the_model_that_has_not_seen_it(folded, toy, tmp_path):
    every = {row["well"] for row in toys.table_of(toy)}
    held_out = {k: every - seen(folded / f"fold_{k}") for k in range(2)}
    assert held_out[0] | held_out[1] == every
    assert not held_out[0] & held_out[1]
    assert {path.name for path in folded.glob("fold_*")} == {"fold_0", "fold_1"}
    rows = {row["well"]: row for row in scores(folded)}
    assert list(rows) == [row["well"] for row in toys.table_of(toy)]
    for k, wells in held_out.items():
        # On as many threads: rounding depends on them.
        own = bs.load(folded / f"fold_{k}").score(toy, tmp_path / str(k), threads=1).images.set_index("well")
        for well in wells:
            for name in ("mil_probability:ring", "probability:filled"):
                assert float(rows[well][name]) == own.loc[well, name]
    assert {row["split"] for row in rows.values()} == {"test"}


def test_each_fold_is_a_whole_model_and_the_scores_a_whole_score_folder(folded):
    for k in range(2):
        assert {"model.json", "model.safetensors", "history.csv", "split.csv", "README.md"} <= {
            path.name for path in (folded / f"fold_{k}").iterdir()
        }
        assert not (folded / f"fold_{k}" / "resume").exists()
        assert load_card(folded / f"fold_{k}").classes == ("filled", "ring")
    assert {"images.csv", "wells.parquet", "treatments.csv", "failures.csv", "run.json"} <= {
        path.name for path in (folded / CROSS_FITTED).iterdir()
    }


def test_classes_are_spread_over_the_folds(folded):
    for k in range(2):
        labels = [row["label"] for row in toys.table_of(folded / f"fold_{k}" / "split.csv")]
        assert (labels.count("filled"), labels.count("ring")) == (2, 2)


@pytest.mark.parametrize("moment", ["training fold 1", "scoring fold 1", "the tables"])
def test_interrupted_folds_are_gone_on_with_to_the_same_scores(moment, folded, toy, tmp_path, monkeypatch):
    place = {
        "training fold 1": "bagscope.engine.training.save_model",
        "scoring fold 1": "bagscope.images.folds.predict_fields",
        "the tables": "bagscope.images.folds.write_scores",
    }[moment]
    module, _, name = place.rpartition(".")
    kept = getattr(__import__(module, fromlist=[name]), name)
    calls = []

    def killed(*arguments, **options):
        calls.append(1)
        if len(calls) == {"training fold 1": 3, "scoring fold 1": 2, "the tables": 1}[moment]:
            message = "pulled the plug"
            raise RuntimeError(message)
        return kept(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(place, killed)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            toys.quick(toy, tmp_path / "model", **FOLDED)
    toys.quick(toy, tmp_path / "model", resume=True, **FOLDED)
    for level in ("images", "wells"):
        for kind in ("csv", "parquet"):
            name = f"{CROSS_FITTED}/{level}.{kind}"
            assert (tmp_path / "model" / name).read_bytes() == (folded / name).read_bytes()
    assert toys.weights(tmp_path / "model" / "fold_1") == toys.weights(folded / "fold_1")


def test_a_finished_cross_fit_is_not_done_again(folded, toy, monkeypatch):
    monkeypatch.setattr("bagscope.images.folds.train_one", pytest.fail)
    monkeypatch.setattr("bagscope.images.folds.predict_fields", pytest.fail)
    toys.quick(toy, folded, resume=True, **FOLDED)


def test_rows_kept_for_testing_are_scored_by_the_model_that_all_others_made(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=3)
    toys.rewrite(
        table, lambda rows: [row | {"split": "test" if row["well"] in ("A01", "A02") else "train"} for row in rows]
    )
    model = toys.quick(table, tmp_path / "model", **FOLDED)
    own = model.score(table, tmp_path / "scores", threads=1).images.set_index("well")
    rows = {row["well"]: row for row in scores(tmp_path / "model")}
    for well in ("A01", "A02"):
        assert not any(well in seen(tmp_path / "model" / f"fold_{k}") for k in range(2))
        assert float(rows[well]["probability:ring"]) == own.loc[well, "probability:ring"]
    assert len(rows) == 6


def test_all_folds_speak_of_the_same_classes_although_one_has_not_seen_a_pair(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=3)
    toys.rewrite(
        table, lambda rows: [row | {"label": "filled;ring" if row["well"] == "A01" else row["label"]} for row in rows]
    )
    toys.quick(table, tmp_path / "model", **FOLDED)
    assert all(load_card(tmp_path / "model" / f"fold_{k}").several_labels for k in range(2))
    assert all(row["call"] for row in scores(tmp_path / "model"))


def test_a_labelled_row_that_cannot_be_read_keeps_its_line(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=3)
    toys.rewrite(table, lambda rows: [row | {"label": "" if row["well"] == "C02" else row["label"]} for row in rows])
    (table.parent / "images" / "T1_B02_s1.ome.tif").write_bytes(b"<!doctype html>")
    toys.quick(table, tmp_path / "model", **FOLDED)
    rows = {row["well"]: row for row in scores(tmp_path / "model")}
    assert list(rows) == ["A01", "A02", "B01", "B02", "C01"]  # C02 has no label
    assert (rows["B02"]["call"], rows["B02"]["probability:ring"], rows["B02"]["n_fields"]) == ("", "", "0")
    assert all(np.isfinite(float(rows[well]["probability:ring"])) for well in rows if well != "B02")
    for failures in (tmp_path / "model" / "failures.csv", tmp_path / "model" / CROSS_FITTED / "failures.csv"):
        (failed,) = toys.table_of(failures)
        assert (failed["well"], failed["row"], failed["stage"]) == ("B02", "5", "check")


def test_cells_and_masks_are_their_own_fields_although_rows_without_a_label_stand_before_them(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=3)

    def change(rows):
        for at, row in enumerate(rows):
            labels = np.zeros((72, 72), np.uint16)
            labels[5:25, 5:25] = 100 + at
            tifffile.imwrite(table.parent / f"mask{at}.tif", labels)
            row["mask"] = f"mask{at}.tif"
        rows[0]["label"] = rows[2]["label"] = ""
        return rows

    toys.rewrite(table, change)
    toys.quick(table, tmp_path / "model", **FOLDED, **{"cells.source": "own", "cells.masks": True})
    found = read_scores(tmp_path / "model" / CROSS_FITTED)
    # The first row below the header is 2, and has the cell 100.
    assert found.cells[["row", "cell"]].to_numpy().tolist() == [[3, 101], [5, 103], [6, 104], [7, 105]]
    for row, name in zip(found.images["row"], found.images["mask_file"], strict=True):
        assert tifffile.imread(found.folder / name)[0].max() == 98 + row


def test_more_folds_than_wells_are_refused_before_anything_is_trained(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("bagscope.images.train.train_one", pytest.fail)
    with pytest.raises((SettingsError, TableError), match="9 folds of 8 labelled groups"):
        toys.quick(toy, tmp_path / "model", folds=9, steps=1)
    assert not (tmp_path / "model").exists()
