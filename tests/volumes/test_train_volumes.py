"""Does a screen of volumes become a model and scores, with every row told, and the same again?"""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

import bagscope as bs
from bagscope.errors import ModelError, SettingsError, TableError
from bagscope.settings.jobs import VolumesJob, make_job
from bagscope.settings.shape_sections import VolumesSection
from bagscope.volumes.shape_compare import area, comparison
from bagscope.volumes.shape_scores import judged_solids
from bagscope.volumes.solids import solids_of
from dangerous import LIMIT_S, let_drive_fail, let_names_be_dangerous
from solids_drawn import QUICK, ellipsoid, screen_of, write_stack


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    return screen_of(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def model(screen):
    return bs.train(screen, screen.parent / "model", task="volumes", folds=2, **QUICK)


@pytest.fixture(scope="module")
def scores(model, screen):
    return model.score(screen, screen.parent / "scores", threads=1, maps=True)


def test_equal_rows_settings_and_seed_give_equal_weights(screen, model, tmp_path):
    again = bs.train(screen, tmp_path / "again", task="volumes", **QUICK)
    assert again.card.weights_sha256 == model.card.weights_sha256
    assert bs.load(tmp_path / "again", device="cpu").classes == ("flat", "round")
    other = bs.train(screen, tmp_path / "other", task="volumes", seed=1, **QUICK)
    assert other.card.weights_sha256 != model.card.weights_sha256


def test_training_goes_on_where_it_stopped_with_the_same_result(screen, model, tmp_path, monkeypatch):
    from bagscope.engine import loop
    from bagscope.engine.events import Silent

    class Stopped(Exception):
        pass

    class Stopping(Silent):
        def progress(self, what, done, total, detail=""):
            if what == "training" and done == 2:
                raise Stopped

    with pytest.raises(Stopped):
        bs.train(screen, tmp_path / "m", task="volumes", events=Stopping(), **QUICK, **{"training.save_every": 1})
    resumed = bs.train(screen, tmp_path / "m", task="volumes", resume=True, **QUICK, **{"training.save_every": 1})
    assert loop is not None
    assert resumed.card.weights_sha256 == model.card.weights_sha256


def test_every_shape_has_a_row_and_every_row_its_image(scores, screen, model):
    table = pd.read_parquet(scores.folder / "volumes.parquet")
    assert table["row"].tolist() == list(range(2, 10))
    probability = table[[f"probability:{name}" for name in model.classes]].to_numpy()
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-6)
    # One shape per volume: the image says what its shape says.
    np.testing.assert_allclose(scores.images["probability:round"], table["probability:round"], atol=1e-6)
    assert table["volume_um3"].iloc[1] == pytest.approx(4 / 3 * np.pi * 6 * 3 * 3, rel=0.25)
    assert (scores.images["n_cells"] == 1).all()
    embeddings = pd.read_parquet(scores.folder / "embeddings.parquet")
    assert len(embeddings) == 8
    assert np.isfinite(embeddings.to_numpy()).all()


def test_a_shape_s_score_depends_on_itself_alone(model, screen, tmp_path, scores):
    alone = model.score(bs.read_screen(screen).take([3]), tmp_path / "one", threads=1)
    np.testing.assert_allclose(
        alone.images["probability:round"], scores.images["probability:round"].iloc[3:4], atol=1e-5
    )


def test_importance_lies_on_the_shape(scores, model):
    from bagscope.files.volume import VolumeFile, read_volume_header

    path = scores.folder / scores.images["map_file"].iloc[1]
    assert read_volume_header(VolumeFile(path)).spacing == pytest.approx((1.0, 0.5, 0.5))
    mask = ellipsoid((6, 6, 6), (20, 20, 20))
    told = model.predict(mask.astype(np.uint8), (1.0, 0.5, 0.5))
    map_ = told.importance(1, "round")
    box = tuple(slice(int(told.shapes[f"{a}0"].iloc[0]), int(told.shapes[f"{a}1"].iloc[0])) for a in "zyx")
    assert map_.max() == 1
    assert (map_[~mask[box]] == 0).all()


def test_a_solid_that_comes_turned_is_judged_as_the_turned_solid(model):
    mask = ellipsoid((4, 7, 5), (20, 20, 20))
    mask[:, 10:, :8] = False  # no turn but the right one gives it back
    quarter = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    section = VolumesSection(content="mask")
    (own,), _ = solids_of(mask, (1, 1, 1), section)
    (turned,), _ = solids_of(np.rot90(mask, 1, (0, 2)), (1, 1, 1), section)
    by_matrix, by_voxels, given = (
        judged_solids(model.network, model.card, [solid], model.device, turn)[0]["network:round"].iloc[0]
        for solid, turn in ((own, quarter), (turned, None), (own, None))
    )
    assert by_matrix == pytest.approx(by_voxels, abs=1e-5)
    assert abs(given - by_voxels) > 1e-4


def test_methods_are_compared_on_bags_that_none_had_seen(model, screen, tmp_path):
    table = pd.read_csv(model.folder / "comparison.csv")
    assert table["method"].tolist() == ["default", "network", "measures", "six", "boosting"]
    folder = model.folder / "cross_fitted"
    scored = pd.read_csv(folder / "images.csv")
    assert scored["row"].tolist() == list(range(2, 10))
    assert set(scored["split"]) == {"test"}
    assert len(pd.read_csv(folder / "volumes.csv")) == 8
    halves = [bs.load(model.folder / f"fold_{k}", device="cpu") for k in (0, 1)]
    said = [half.score(screen, tmp_path / str(k), threads=1) for k, half in enumerate(halves)]
    # Each half of the rows has the scores of the model that was trained on the other half.
    same = np.stack([np.isclose(one.images["probability:round"], scored["probability:round"]) for one in said])
    assert (same.sum(1) == 4).all()
    assert (same.sum(0) == 1).all()
    # Flat and round solids are told apart by their measures at once.
    assert table.set_index("method")["auc"]["measures"] == 1


def test_the_area_under_the_curve_is_that_of_pairs():
    target = np.array([0, 1, 0, 1, 1])
    score = np.stack([np.zeros(5), [0.1, 0.3, 0.3, 0.9, 0.0]], 1)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[target == 1, 1] for b in score[target == 0, 1]]
    assert area(score, target, np.zeros(5)) == pytest.approx(np.mean(pairs))
    frame = pd.DataFrame({"group": list("abcde"), "target": target, "fold": 0})
    for name, sign in (("default", 1), ("network", -1)):
        frame[f"{name}:x"], frame[f"{name}:y"] = 0.0, sign * score[:, 1]
    found = comparison(frame, ("x", "y")).set_index("method")
    assert found["auc"]["network"] == pytest.approx(1 - np.mean(pairs))
    assert found["default_above"]["network"] == pytest.approx(2 * np.mean(pairs) - 1)


def test_only_scores_of_one_model_are_compared():
    target, fold = np.array([0, 1, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 2])
    score = np.stack([np.zeros(6), [0.1, 0.2, 5.0, 6.0, 4.0, -9.0]], 1)
    # One pair of fold 0 is in order, and one of two of fold 1; fold 2 has no pair.
    assert area(score, target, fold) == pytest.approx(2 / 3)
    assert np.isnan(area(score[target == 1], target[target == 1], fold[target == 1]))
    shifted = score + 100.0 * fold[:, None] * np.array([0, 1])
    assert area(shifted, target, fold) == area(score, target, fold)


def test_bad_volumes_are_listed_and_the_others_go_on(tmp_path):
    table = screen_of(tmp_path / "s", 9)
    folder = table.parent
    write_stack(folder / "v8.ome.tif", np.zeros((20, 20, 20), np.uint8), (1.0, 0.5, 0.5))
    write_stack(folder / "v0.ome.tif", ellipsoid((5, 5, 5), (20, 20, 20)).astype(np.uint8), None)
    model = bs.train(table, tmp_path / "m", task="volumes", **QUICK)
    listed = pd.read_csv(tmp_path / "m" / "failures.csv")
    assert listed["row"].tolist() == [2, 10]
    assert "nobody says how far apart" in listed["cause"][0]
    assert "--spacing" in listed["fix"][0]
    assert "0 voxels above 0" in listed["cause"][1]
    scores = model.score(table, tmp_path / "scores", threads=1)
    assert scores.images["probability:round"].isna().tolist() == [True, *[False] * 7, True]
    again = model.score(table, tmp_path / "again", threads=1, spacing="1,0.5,0.5")
    assert np.isfinite(again.images["probability:round"].iloc[0])


def test_one_donor_stays_on_one_side(tmp_path):
    rows = {at: {"group": f"donor{at // 2}", "label": ("flat", "round")[at // 2 % 2]} for at in range(16)}
    table = screen_of(tmp_path / "s", 16, rows=rows)
    bs.train(table, tmp_path / "m", task="volumes", **QUICK)
    split = pd.read_csv(tmp_path / "m" / "split.csv")
    assert (split.groupby("group")["split"].nunique() == 1).all()


def test_shapes_of_a_well_are_a_bag_with_one_label(tmp_path):
    rows = {at: {"well": f"A{at // 2 + 1:02d}", "label": ("flat", "round")[at // 2 % 2]} for at in range(12)}
    table = screen_of(tmp_path / "s", 12, rows=rows)
    model = bs.train(table, tmp_path / "m", task="volumes", pooling="noisy_and", **QUICK, **{"bags.by": "well"})
    assert model.card.thresholds is not None
    assert len(model.card.thresholds) == 2
    scores = model.score(table, tmp_path / "scores", threads=1)
    assert len(scores.wells) == 6
    assert np.isfinite(scores.wells["mil_probability:round"]).all()
    # A well is judged as the bag that it was in training: as if all its shapes lay in one volume.
    first = scores.wells.iloc[0]
    voxels = [tifffile.imread(table.parent / name) > 0 for name in pd.read_csv(table)["image"][:2]]
    both = np.concatenate([voxels[0] * 1, voxels[1] * 2])
    together = model.predict(both.astype(np.uint8), spacing=(1.0, 0.5, 0.5))
    assert first["probability:round"] == pytest.approx(together.probability["round"], abs=1e-6)
    apart = scores.images["mil_probability:round"][:2]
    log_odds = np.log(apart / (1 - apart)).mean()
    assert abs(first["mil_probability:round"] - 1 / (1 + np.exp(-log_odds))) > 1e-6


def test_a_failed_row_of_a_cross_fit_was_trained_on_by_none(tmp_path):
    table = screen_of(tmp_path / "s", 9, rows={at: {"split": "train"} for at in range(9)})
    write_stack(table.parent / "v8.ome.tif", np.zeros((9, 9, 9), np.uint8), (1.0, 0.5, 0.5))
    bs.train(table, tmp_path / "m", task="volumes", folds=2, **QUICK)
    images = pd.read_csv(tmp_path / "m" / "cross_fitted" / "images.csv")
    assert images["probability:flat"].isna().sum() == 1
    assert set(images["split"]) == {"test"}


@pytest.mark.parametrize("gone", ["maps/*.ome.tif", "parts/00000/*.solids.json"])
def test_maps_and_surfaces_that_are_gone_are_made_again(model, screen, scores, tmp_path, gone):
    shutil.copytree(scores.folder, tmp_path / "scores")
    first = sorted((tmp_path / "scores").glob(gone))[0]
    kept = first.read_bytes()
    first.unlink()
    model.score(screen, tmp_path / "scores", threads=1, maps=True, resume=True)
    assert first.read_bytes() == kept


def test_the_longest_edge_of_a_shape_is_told_whole(model, tmp_path):
    table = screen_of(tmp_path / "s", 2)
    mask = np.zeros((60, 60, 120), bool)
    mask[:50, 5:55, 5:55] = ellipsoid((24, 24, 24), (50, 50, 50))
    mask[25, 30, 30:115] = True  # a spike of single voxels: few of its surface are drawn
    for at in range(2):
        write_stack(table.parent / f"v{at}.ome.tif", mask.astype(np.uint8), (1.0, 1.0, 1.0))
    scores = model.score(table, tmp_path / "scores", threads=1)
    shapes = [one for of in json.loads((scores.folder / "solids.json").read_text()).values() for one in of]
    x = np.flatnonzero(mask.any((0, 1)))
    assert {one["across_um"] for one in shapes} == {x[-1] - x[0] + 1}


@pytest.mark.parametrize("damage", [lambda was: was[:40], lambda was: was[:-200] + bytes(100) + was[-100:]])
@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".solids.json"])
def test_a_kept_part_whose_files_are_damaged_is_made_again(model, screen, scores, tmp_path, suffix, damage):
    shutil.copytree(scores.folder, tmp_path / "scores")
    (part,) = (tmp_path / "scores" / "parts").rglob(f"00000001{suffix}")
    was = part.read_bytes()
    part.write_bytes(damage(was))
    again = model.score(screen, tmp_path / "scores", threads=1, maps=True, resume=True)
    pd.testing.assert_frame_equal(again.images, scores.images)
    assert part.read_bytes() == was


def test_a_model_of_images_is_no_model_of_volumes(model, trained, tmp_path):
    card = json.loads((model.folder / "model.json").read_text())
    assert card["task"] == "volumes"
    (tmp_path / "model.json").write_text(json.dumps(card | {"task": "nothing"}))
    with pytest.raises(ModelError, match="does not know"):
        bs.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(card | {"task": "images"}))
    with pytest.raises(ModelError):
        bs.load(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"described": 1},
        {"turns": {"range": "sideways"}},
        {"turns": {}},
        {"bags": {"by": "heap"}},
        {"volumes": {"odd": 1}},
    ],
)
def test_a_card_that_was_changed_or_is_of_another_version_is_refused(model, tmp_path, changed):
    card = json.loads((model.folder / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(card | changed))
    with pytest.raises(ModelError, match=rf"{next(iter(changed))}.*train again"):
        bs.load(tmp_path)


def test_labels_are_asked_for_before_anything_is_read(tmp_path):
    table = screen_of(tmp_path / "s", 4, rows={at: {"label": "flat"} for at in range(4)})
    with pytest.raises(TableError, match="1 class"):
        bs.train(table, tmp_path / "m", task="volumes", **QUICK)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("by", ["well", "group"])
def test_a_bag_has_one_label(tmp_path, by):
    rows = {at: {"group": f"donor{at // 2}", "well": f"A{at // 2 + 1:02d}"} for at in range(8)}
    table = screen_of(tmp_path / "s", 8, rows=rows)  # flat and round in turns, two to a donor and well
    with pytest.raises(TableError, match="4 bags have several labels"):
        bs.train(table, tmp_path / "m", task="volumes", **QUICK, **{"bags.by": by, "table.label_level": "image"})
    assert not (tmp_path / "m" / "model.json").exists()


def test_a_class_that_only_the_test_rows_have_is_not_learned_and_nothing_breaks(tmp_path):
    rows = {
        at: {"label": ("flat", "round", "third")[at // 4], "split": ("train", "train", "test")[at // 4]}
        for at in range(12)
    }
    table = screen_of(tmp_path / "s", 12, rows=rows)
    model = bs.train(table, tmp_path / "m", task="volumes", **QUICK)
    scores = model.score(table, tmp_path / "scores", threads=1)
    assert np.isfinite(scores.images["probability:flat"]).all()


def test_scores_know_what_is_asked_for_by_hand(model, screen, scores, tmp_path):
    unsure = model.score(screen, tmp_path / "a", threads=1, **{"calls.confidence": 0.99999})
    assert set(pd.read_csv(unsure.folder / "volumes.csv")["call"].fillna("unsure")) == {"unsure"}
    still = model.score(screen, tmp_path / "b", threads=1, **{"turns.range": "none"})
    assert not np.allclose(still.images["probability:round"], scores.images["probability:round"], atol=1e-9)
    with pytest.raises(SettingsError, match="model learned from"):
        model.score(screen, tmp_path / "c", threads=1, **{"volumes.size": "unit"})


def test_a_shape_far_larger_than_the_training_s_is_listed_and_the_others_go_on(model, tmp_path):
    table = screen_of(tmp_path / "s", 4, rows={1: {"spacing_um": "100;50;50"}})
    scores = model.score(table, tmp_path / "scores", threads=1)
    assert scores.images["probability:round"].isna().tolist() == [False, True, False, False]
    assert "Check its spacing" in scores.failures["fix"][0]


def test_a_changed_spacing_is_no_finished_training(tmp_path):
    table = screen_of(tmp_path / "s", 6, rows={at: {"spacing_um": "1;1;1"} for at in range(6)})
    bs.train(table, tmp_path / "m", task="volumes", **QUICK)
    table.write_text(table.read_text().replace("1;1;1", "2;1;1"))
    with pytest.raises(ModelError, match="trained on other rows or files"):
        bs.train(table, tmp_path / "m", task="volumes", resume=True, **QUICK)


def test_looking_at_voxels_lists_volumes_without_a_shape(model, tmp_path):
    from bagscope.volumes.check import check_volumes
    from bagscope.volumes.rows import with_shapes

    table = screen_of(tmp_path / "s", 4)
    write_stack(table.parent / "v2.ome.tif", np.zeros((20, 20, 20), np.uint8), (1.0, 0.5, 0.5))
    section = VolumesSection()
    report = check_volumes(table, make_job(VolumesJob), section)
    assert not report.listed
    found = with_shapes(report, section, 60)
    assert found.listed == {2}
    assert [(one.row, one.severity) for one in found.problems if "0 voxels" in one.cause] == [(4, "list")]


def test_a_page_says_that_the_shapes_of_a_folder_are_of_no_use_and_shows_the_rest(scores, tmp_path):
    shutil.copytree(scores.folder, tmp_path / "scores")
    kept = tmp_path / "scores" / "solids.json"
    whole = bs.report(tmp_path / "scores", tmp_path / "whole.html").read_text("utf-8")
    kept.write_text(kept.read_text().replace("across_um", "um"))
    page = bs.report(tmp_path / "scores", tmp_path / "page.html").read_text("utf-8")
    assert "data-solid=" in whole
    assert "data-solid=" not in page
    assert "of another version" in page
    assert page.count("No shape can be shown") == 2
    for both in ("its network alone", "gradient boosting on all measures"):
        assert both in page
        assert both in whole


def with_arrays(folder, *names):
    """Write a screen whose first volumes are arrays with these names."""
    table = screen_of(folder, rows={at: {"image": f"{name}.npz"} for at, name in enumerate(names)})
    for at, name in enumerate(names):
        np.savez(folder / f"{name}.npz", a=tifffile.imread(folder / f"v{at}.ome.tif"), spacing=[1.0, 0.5, 0.5])
    return table


def test_arrays_that_end_the_process_that_decodes_them_cost_their_rows_alone(model, tmp_path, monkeypatch):
    let_names_be_dangerous(monkeypatch)
    table, limit = with_arrays(tmp_path / "s", "crash", "hang", "whole"), {"compute.io_timeout": LIMIT_S}
    trained = bs.train(table, tmp_path / "m", task="volumes", **QUICK, **limit)
    scores = model.score(table, tmp_path / "scores", threads=1, **limit)
    for folder, stage in ((trained.folder, "read"), (scores.folder, "score")):
        failed = pd.read_csv(folder / "failures.csv")
        told = failed[["image", "stage", "code"]].to_numpy().tolist()
        assert told == [["crash.npz", stage, "crashed"], ["hang.npz", stage, "timeout"]]
    assert scores.images["probability:round"].notna().tolist() == [False, False, *[True] * 6]


def test_a_file_that_the_drive_does_not_give_while_it_is_signed_costs_its_row_alone(tmp_path, monkeypatch):
    table = screen_of(tmp_path / "s")
    let_drive_fail(monkeypatch, "v3.ome.tif")
    trained = bs.train(table, tmp_path / "m", task="volumes", **QUICK)
    failed = pd.read_csv(trained.folder / "failures.csv")
    assert failed[["image", "stage", "code"]].to_numpy().tolist() == [["v3.ome.tif", "read", "io"]]
