"""Does every row get its own score, from its own pixels alone, and a line when it gets none?"""

import json
import shutil

import numpy as np
import pytest
import tifffile
import torch

import bagscope as bs
import toys
from bagscope.engine.score_folder import read_scores
from bagscope.errors import BagscopeError, FolderError, ModelError, SettingsError, TableError
from bagscope.feed.cache import PixelStore
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_ome_tiff
from bagscope.images import score as score_stage
from bagscope.images.task import intensity_of
from bagscope.nets.bagnet import BagNet
from bagscope.ops import intensity, windows
from specimens import toy_field

VALUES = [
    "mil_probability:filled",
    "mil_probability:ring",
    "probability:filled",
    "probability:ring",
    "probability:none",
]


@pytest.fixture(scope="module")
def model(trained):
    return bs.load(trained, device="cpu")


@pytest.fixture
def screen(toy, tmp_path):
    """A copy of the toy screen that a test may change."""
    shutil.copytree(toy.parent, tmp_path / "toy")
    return tmp_path / "toy" / "screen.csv"


def score(model, table, out, **choices):
    return model.score(table, out, threads=1, **choices)


def by_image(scores):
    """Scores of each image as bytes, so that equal means equal."""
    return {row["image"]: tuple(row[name] for name in VALUES) for row in scores.images.to_dict("records")}


def drawn(path, *, seed=0, shape=(72, 72), names=("dna", "gfp"), pixel_um=0.65):
    """Write a field of two channels."""
    pixels = toy_field(np.random.default_rng(seed), "ring", 0.9, px=max(shape), blob_px=24, channels=max(2, len(names)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ome_tiff(path, pixels[: len(names), : shape[0], : shape[1]], channel_names=names, pixel_um=pixel_um)
    return path


def table_for(folder, images, **columns):
    """Write a table of images, one well each."""
    lines = [",".join(["image", "well", *columns])]
    for at, name in enumerate(images):
        lines.append(",".join([name, f"A{at + 1:02d}", *(values[at] for values in columns.values())]))
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "table.csv"


def test_every_row_has_a_row_in_the_order_of_the_table_with_all_its_columns(model, screen, tmp_path):
    def change(rows):
        return [row | {"note": f"n{at}", "treatment": "t", "label": ""} for at, row in enumerate(reversed(rows))]

    toys.rewrite(screen, change)
    scores = score(model, screen, tmp_path / "scores")
    assert scores.images["row"].tolist() == list(range(2, 10))
    for name in ("image", "plate", "well", "site", "note", "treatment"):
        assert scores.images[name].tolist() == [row[name] for row in toys.table_of(screen)]
    assert np.isfinite(scores.images[VALUES].to_numpy()).all()
    assert len(scores.failures) == 0
    names = {f"{level}.{kind}" for level in ("images", "wells", "treatments") for kind in ("csv", "parquet")}
    assert names | {"run.json", "failures.csv", "parts", ".lock", ".bagscope.json"} == {
        path.name for path in (tmp_path / "scores").iterdir()
    }
    assert len(toys.table_of(tmp_path / "scores" / "images.csv")) == 8


BAD = {
    "empty.tif": b"",
    "page.tif": b"<!doctype html>",
    "pickle.tif": b"PK\x03\x04" + bytes(300),
    "text.tif": b"version https://git-lfs.github.com/spec/v1\n",
}


def test_bad_files_change_no_bit_of_the_others(model, screen, tmp_path):
    clean = by_image(score(model, screen, tmp_path / "clean"))
    images = screen.parent / "images"
    for name, content in BAD.items():
        (images / name).write_bytes(content)
    whole = (images / "T1_A01_s1.ome.tif").read_bytes()
    (images / "cut.tif").write_bytes(whole[: len(whole) * 3 // 4])
    tifffile.imwrite(images / "nan.tif", np.full((2, 72, 72), np.nan, np.float32), metadata={"axes": "CYX"}, ome=True)
    drawn(images / "small.tif", shape=(40, 90))
    bad = [f"images/{name}" for name in [*BAD, "cut.tif", "nan.tif", "small.tif", "gone.tif"]]
    good = list(clean)
    order = [*bad[:2], *good[:3], *bad[2:4], *good[3:6], bad[4], good[6], bad[5], good[7], *bad[6:]]
    mixed = score(model, table_for(screen.parent, order), tmp_path / "mixed")
    assert mixed.images["image"].tolist() == order
    assert {name: values for name, values in by_image(mixed).items() if name in good} == clean
    failed = mixed.images[~mixed.images["image"].isin(good)]
    assert failed[VALUES].isna().all().all()
    assert failed["call"].eq("").all()
    assert failed["n_fields"].eq(0).all()
    failures = toys.table_of(tmp_path / "mixed" / "failures.csv")
    assert [row["image"] for row in failures] == [name for name in order if name in bad]
    assert all(row["cause"] and row["fix"] and row["code"] for row in failures)
    assert {row["stage"] for row in failures} == {"check", "score"}
    assert json.loads((tmp_path / "mixed" / "run.json").read_text())["failed"] == 8


def test_a_score_depends_on_no_other_row_and_no_order(model, screen, tmp_path):
    every = by_image(score(model, screen, tmp_path / "every"))
    for at, name in enumerate(reversed(list(every))):
        if at in (0, 5):
            alone = by_image(score(model, table_for(screen.parent, [name]), tmp_path / str(at)))
            assert alone == {name: every[name]}
    turned = by_image(score(model, table_for(screen.parent, list(every)[::-1]), tmp_path / "turned"))
    assert turned == every


def test_a_well_or_treatment_of_which_nothing_is_left_keeps_its_row(model, screen, tmp_path):
    toys.rewrite(screen, lambda rows: [row | {"treatment": "bad" if row["well"] == "A02" else "t"} for row in rows])
    (screen.parent / "images" / "T1_A02_s1.ome.tif").write_bytes(b"")
    scores = score(model, screen, tmp_path / "scores")
    well = scores.wells.set_index("well").loc["A02"]
    assert (len(scores.wells), well["n_fields"], well["call"]) == (8, 0, "")
    assert np.isnan(well["mil_probability:ring"])
    treatment = scores.treatments.set_index("treatment").loc["bad"]
    assert (treatment["n_wells"], treatment["call"]) == (0, "")
    assert scores.treatments.set_index("treatment").loc["t", "n_wells"] == 7


def test_a_score_that_is_no_number_is_a_failure_and_takes_part_in_nothing(model, screen, tmp_path, monkeypatch):
    clean = by_image(score(model, screen, tmp_path / "clean"))
    judge, calls = BagNet.pool_and_classify, []

    def third_is_nan(self, logits, lengths):
        calls.append(1)
        log_odds, head = judge(self, logits, lengths)
        return (log_odds * torch.nan if len(calls) == 3 else log_odds), head

    monkeypatch.setattr(BagNet, "pool_and_classify", third_is_nan)
    scores = score(model, screen, tmp_path / "scores")
    (failed,) = toys.table_of(tmp_path / "scores" / "failures.csv")
    assert (failed["row"], failed["stage"], failed["code"]) == ("4", "score", "non_finite_score")
    lost = scores.images["image"][2]
    assert scores.images[VALUES].isna().all(axis=1).tolist() == [False, False, True] + [False] * 5
    kept = {name: values for name, values in by_image(scores).items() if name != lost}
    assert kept == {name: values for name, values in clean.items() if name != lost}
    assert (scores.wells["call"] == "").sum() == 1


def test_so_many_failures_stop_the_work_and_what_was_scored_stays(model, screen, tmp_path):
    names = [row["image"] for row in toys.table_of(screen)]
    bad = [f"images/bad{at}.tif" for at in range(11)]
    for name in bad:  # a header that is fine, and pixels that are no numbers
        pixels = np.full((2, 72, 72), np.inf, np.float32)
        pixels[0, 0, 0] = bad.index(name)
        tifffile.imwrite(screen.parent / name, pixels, metadata={"axes": "CYX"}, ome=True)
    table = table_for(screen.parent, [*names, *bad])
    with pytest.raises(BagscopeError, match=r"11 of 19 fields have failed already.*compute\.max_failures") as caught:
        score(model, table, tmp_path / "scores")
    assert caught.value.exit_code == 2
    assert len(list((tmp_path / "scores" / "parts").rglob("*.json"))) == 8
    assert not (tmp_path / "scores" / "run.json").exists()
    scores = score(model, table, tmp_path / "scores", resume=True, **{"compute.max_failures": 0.6})
    assert (len(scores.images), len(scores.failures)) == (19, 11)


def test_files_that_are_missing_count_among_the_failures(model, screen, tmp_path):
    names = [row["image"] for row in toys.table_of(screen)]
    table = table_for(screen.parent, [*names, *(f"images/gone{at}.tif" for at in range(11))])
    with pytest.raises(BagscopeError, match="11 of 19 fields have failed already"):
        score(model, table, tmp_path / "scores")
    ten = table_for(screen.parent, [*names, *(f"images/gone{at}.tif" for at in range(10))])
    assert len(score(model, ten, tmp_path / "ten").failures) == 10  # a small table is allowed ten


def test_nothing_that_can_be_scored_is_refused(model, screen, tmp_path):
    table = table_for(screen.parent, ["images/gone.tif"])
    with pytest.raises(TableError, match="none of the 1 rows can be used"):
        score(model, table, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("tile", [16, 17])
def test_a_large_field_is_scored_in_tiles_as_if_it_were_whole(tile, model, tmp_path, monkeypatch):
    drawn(tmp_path / "large.tif", shape=(640, 900))
    table = table_for(tmp_path, ["large.tif"])
    whole = score(model, table, tmp_path / "whole").images[VALUES].to_numpy()
    monkeypatch.setattr("bagscope.images.inference.WHOLE_BYTES", 0)
    asked = []
    window = PixelStore.window
    monkeypatch.setattr(PixelStore, "window", lambda self, i, *where: asked.append(where) or window(self, i, *where))
    tiled = score(model, table, tmp_path / "tiled", **{"compute.tile": tile}).images[VALUES].to_numpy()
    assert len(asked) > 1
    np.testing.assert_allclose(tiled, whole, rtol=1e-5)  # float32 sums in another order


def test_the_split_says_what_the_model_has_seen(model, trained, screen, tmp_path):
    drawn(screen.parent / "images" / "new.tif", seed=5)
    shutil.copy(screen.parent / "images" / "T1_A01_s1.ome.tif", screen.parent / "images" / "renamed.tif")
    names = [row["image"] for row in toys.table_of(screen)]
    table = table_for(screen.parent, [*names, "images/new.tif", "images/renamed.tif"])
    told = score(model, table, tmp_path / "scores").images.set_index("image")["split"]
    parts = {row["row"]: row["split"] for row in toys.table_of(trained / "split.csv")}
    for row, name in enumerate(names, 2):
        assert told[name] == parts[str(row)]
    assert (told["images/new.tif"], told["images/renamed.tif"]) == ("", parts["2"])


def test_where_the_scores_come_from_is_written_down(model, trained, screen, tmp_path):
    score(model, screen, tmp_path / "scores", seed=3)
    run = json.loads((tmp_path / "scores" / "run.json").read_text("utf-8"))
    card = json.loads((trained / "model.json").read_text("utf-8"))
    assert run["model"]["weights_sha256"] == card["weights_sha256"]
    assert (run["rows"], run["scored"], run["failed"]) == (8, 8, 0)
    assert (run["settings"]["seed"], run["settings"]["compute"]["threads"]) == (3, 1)
    assert run["table"] == str(screen)
    assert {"bagscope", "torch", "python", "time", "command", "table_sha256", "warnings", "seconds"} <= set(run)
    assert run["megapixels"] == pytest.approx(8 * 2 * 72 * 72 / 1e6, abs=1e-3)


def test_labels_that_the_model_does_not_know_are_said(model, screen, tmp_path):
    toys.rewrite(screen, lambda rows: [row | {"label": "new" if row["well"] < "B" else "ring"} for row in rows])
    listener = toys.Listener()
    scores = score(model, screen, tmp_path / "scores", events=listener)
    assert any("labels that the model does not know: new (2 rows); it knows filled, ring" in s for s in listener.warned)
    assert any(
        "new (2 rows)" in said for said in json.loads((tmp_path / "scores" / "run.json").read_text())["warnings"]
    )
    assert np.isfinite(scores.images[VALUES].to_numpy()).all()


def test_a_device_that_is_not_there_is_refused_before_any_image(model, screen, tmp_path, monkeypatch):
    monkeypatch.setattr("bagscope.images.check.check_fields", lambda *_, **__: pytest.fail("a table was looked at"))
    with pytest.raises(SettingsError, match="no device cuda:99"):
        score(model, screen, tmp_path / "scores", device="cuda:99")
    assert not (tmp_path / "scores").exists()


def test_a_folder_that_cannot_be_written_to_is_told_before_any_image(model, screen, tmp_path, monkeypatch):
    monkeypatch.setattr("bagscope.images.check.check_fields", lambda *_, **__: pytest.fail("a table was looked at"))
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper", "/proc/nothing"):
        with pytest.raises(FolderError) as caught:
            score(model, screen, place)
        assert caught.value.exit_code == 4


def test_finished_scores_are_kept_unless_their_end_is_asked_for(model, screen, tmp_path):
    out = tmp_path / "scores"
    score(model, screen, out)
    before = {path.name: path.read_bytes() for path in out.glob("*.*") if path.name != ".bagscope.json"}
    with pytest.raises(FolderError, match="finished work is there already"):
        score(model, screen, out)
    listener = toys.Listener()
    score(model, screen, out, resume=True, events=listener)
    assert f"{out} is finished already, and nothing has changed" in listener.said
    assert {path.name: path.read_bytes() for path in out.glob("*.*") if path.name != ".bagscope.json"} == before
    (out / "notes.txt").write_text("mine")
    score(model, screen, out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_half_made_scores_are_not_taken_for_whole(model, screen, tmp_path, monkeypatch):
    score(model, screen, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("bagscope.engine.score_folder.write_json", lambda *_: (_ for _ in ()).throw(RuntimeError))
        with pytest.raises(RuntimeError):
            score(model, screen, tmp_path / "scores")
    with pytest.raises(ModelError, match="unfinished: add --resume"):
        read_scores(tmp_path / "scores")
    score(model, screen, tmp_path / "scores", resume=True)
    assert read_scores(tmp_path / "scores").images.equals(read_scores(tmp_path / "whole").images)


def test_a_rescaled_field_is_scored_at_the_models_pixel_size(model, tmp_path):
    drawn(tmp_path / "fine.tif", shape=(150, 180), pixel_um=0.325)
    table = table_for(tmp_path, ["fine.tif"])
    scores = score(model, table, tmp_path / "scores", **{"images.rescale": True}).images
    pixels = tifffile.imread(tmp_path / "fine.tif").astype(np.float32)
    normal = windows.rescale(intensity.apply(torch.from_numpy(pixels), intensity_of(model.card)), 0.5)
    with torch.inference_mode():
        log_odds, _ = model.network(normal[None])
    expected = torch.sigmoid(log_odds)[0].numpy()
    np.testing.assert_allclose(
        scores[["mil_probability:filled", "mil_probability:ring"]].to_numpy()[0], expected, rtol=1e-5
    )


@pytest.mark.parametrize(("side", "pixel_um", "fits"), [(40, 1.3, True), (30, 1.3, False), (120, 0.325, False)])
def test_whether_a_rescaled_field_is_too_small_is_told_after_rescaling(side, pixel_um, fits, model, tmp_path):
    drawn(tmp_path / "good.tif")
    drawn(tmp_path / "other.tif", shape=(side, side), pixel_um=pixel_um)
    scores = score(model, table_for(tmp_path, ["good.tif", "other.tif"]), tmp_path / "s", **{"images.rescale": True})
    assert scores.failures["code"].tolist() == ([] if fits else ["too_small"])


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("moment", ["after the check", "while it is read"])
@pytest.mark.parametrize("shape", [(70, 72), (90, 90), (72, 72)])
def test_a_file_that_changes_meanwhile_is_listed(large, moment, shape, model, screen, tmp_path, monkeypatch):
    clean = by_image(score(model, screen, tmp_path / "clean"))
    path, read = screen.parent / "images" / "T1_B01_s1.ome.tif", DecodingWorker.read
    if large:
        monkeypatch.setattr("bagscope.images.inference.WHOLE_BYTES", 0)

    def read_then_change(self, field, window=None):
        pixels = read(self, field, window)
        if path in field.paths:
            drawn(path, seed=1, shape=shape)
        return pixels

    with monkeypatch.context() as patch:
        if moment == "while it is read":
            patch.setattr(DecodingWorker, "read", read_then_change)
        else:
            make = score_stage.make_source
            patch.setattr(score_stage, "make_source", lambda *what: drawn(path, seed=1, shape=shape) and make(*what))
        scores = score(model, screen, tmp_path / "scores")
    kept = {name: values for name, values in by_image(scores).items() if "B01" not in name}
    assert kept == {name: values for name, values in clean.items() if "B01" not in name}
    if moment == "after the check" and shape == (72, 72):
        assert len(scores.failures) == 0  # another picture of the same kind, seen in time
    else:
        assert scores.failures["row"].tolist() == [4]
    again = score(model, screen, tmp_path / "scores", resume=True)
    anew = score(model, screen, tmp_path / "anew")
    assert by_image(again) == by_image(anew)


def test_pages_of_a_file_are_told_apart_by_what_the_model_has_seen(tmp_path):
    pages = np.stack([toy_field(np.random.default_rng(at), "ring", 0.9, px=72, channels=1)[0] for at in range(10)])
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    lines = ["image,page,well,label", *(f"stack.tif,{at},A{at + 1:02d},{'xy'[at % 2]}" for at in range(8))]
    table = tmp_path / "screen.csv"
    table.write_text("\n".join([*lines, "stack.tif,8,A09,", "stack.tif,9,A10,"]) + "\n")
    trained_on = toys.quick(table, tmp_path / "model", steps=1)
    told = score(trained_on, table, tmp_path / "scores").images["split"].tolist()
    assert (told.count("train"), told.count("validation"), told[8:]) == (6, 2, ["", ""])
