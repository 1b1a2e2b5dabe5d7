"""What does training make of a table, and is it the same whenever it is made?"""

import json

import numpy as np
import pytest
import tifffile
import torch

import bagscope as bs
import toys
from bagscope.engine.card_file import load_card
from bagscope.errors import BagscopeError, SettingsError, TableError
from bagscope.files.writer import write_ome_tiff
from specimens import toy_field


def labelled(table, **labels):
    """Change the labels of some wells."""

    def change(rows):
        return [row | {"label": labels.get(row["well"], row["label"])} for row in rows]

    return toys.rewrite(table, change)


def test_equal_rows_settings_and_seed_give_equal_weights_bit_for_bit(toy, trained, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(99)  # the caller's own chance plays no part
        toys.quick(toy, tmp_path / "again")
    assert toys.weights(tmp_path / "again") == toys.weights(trained)
    assert (tmp_path / "again" / "history.csv").read_text() == (trained / "history.csv").read_text()
    toys.quick(toy, tmp_path / "other", seed=1)
    assert toys.weights(tmp_path / "other") != toys.weights(trained)


def test_a_model_folder_holds_what_it_promises_and_nothing_else(trained):
    names = {"model.safetensors", "model.json", "history.csv", "split.csv", "README.md", ".lock", ".bagscope.json"}
    assert {path.name for path in trained.iterdir()} == names


def test_the_card_tells_all_that_prediction_needs_and_where_the_model_comes_from(trained):
    card = json.loads((trained / "model.json").read_text("utf-8"))
    assert (card["format_version"], card["task"], card["classes"]) == (1, "images", ["filled", "ring"])
    assert card["channels"] == ["dna", "gfp"]
    assert (card["network"]["name"], card["pooling"]["name"], card["pooling"]["a"]) == ("kraus", "noisy_and", 10)
    assert card["scale"] == {"cell_diameter_px": None, "source": "off", "factor": 1, "pixel_um": 0.65}
    assert len(card["thresholds"]) == 2
    assert card["calls"] == {"threshold": 0.5, "confidence": 0.6}
    assert {"bagscope", "torch", "python", "time", "seed", "command", "device"} <= set(card["created"])
    assert [len(card["training"]["rows"][part]) for part in ("train", "validation")] == [6, 2]
    assert (card["training"]["steps"], card["training"]["kept_step"] in (2, 4)) == (4, True)


def test_history_has_a_line_per_step_and_the_looks_at_the_validation_part(trained):
    rows = toys.table_of(trained / "history.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert [bool(row["validation_loss"]) for row in rows] == [False, True, False, True]
    assert all(np.isfinite(float(row["loss"])) and float(row["rate"]) > 0 for row in rows)
    looks = {int(row["step"]): float(row["validation_loss"]) for row in rows if row["validation_loss"]}
    assert load_card(trained).training["kept_step"] == min(looks, key=looks.get)


def test_the_split_names_every_labelled_row_and_cuts_no_group(trained, tmp_path):
    rows = toys.table_of(trained / "split.csv")
    assert [row["row"] for row in rows] == [str(line) for line in range(2, 10)]
    assert {row["split"] for row in rows} == {"train", "validation"}
    toys.quick(toys.toy(tmp_path / "toy", fields=2), tmp_path / "model", steps=1)
    rows = toys.table_of(tmp_path / "model" / "split.csv")
    assert len(rows) == 16
    assert len({(row["group"], row["split"]) for row in rows}) == 8


def test_a_group_column_keeps_its_wells_together(tmp_path):
    table = toys.toy(tmp_path / "toy")
    donors = {"A01": "ann", "A02": "ann", "B01": "bob", "B02": "bob", "C01": "cid", "C02": "cid"}
    toys.rewrite(table, lambda rows: [row | {"group": donors.get(row["well"], "dan")} for row in rows])
    toys.quick(table, tmp_path / "model", steps=1)
    rows = toys.table_of(tmp_path / "model" / "split.csv")
    assert len({(row["group"], row["split"]) for row in rows}) == 4


@pytest.mark.parametrize("names", [("dna",), ("dna", "gfp", "actin")])
def test_any_number_of_channels_is_learned_and_judged(names, tmp_path):
    table = toys.toy(tmp_path / "toy", channels=names)
    model = toys.quick(table, tmp_path / "model", steps=2)
    assert model.channels == names
    first = model.network.state_dict()["body.trunk.1.weight"]
    assert first.shape[1] == len(names)
    assert len(model.score(table, tmp_path / "scores").failures) == 0


def test_channels_are_chosen_and_ordered_by_name(toy, tmp_path):
    assert toys.quick(toy, tmp_path / "one", steps=1, channels="gfp").channels == ("gfp",)
    assert toys.quick(toy, tmp_path / "two", steps=1, channels="gfp,dna").channels == ("gfp", "dna")
    for wrong in ("gfp,rfp", "gfp,gfp"):
        with pytest.raises(BagscopeError, match="channel"):
            toys.quick(toy, tmp_path / "three", steps=1, channels=wrong)
    assert not (tmp_path / "three").exists()


def test_several_labels_are_learned_as_such(tmp_path):
    table = labelled(toys.toy(tmp_path / "toy"), A01="filled;ring", B01="ring;filled")
    model = toys.quick(table, tmp_path / "model", steps=2)
    assert model.classes == ("filled", "ring")
    assert model.card.several_labels
    assert model.network.head.out_features == 2
    images = model.score(table, tmp_path / "scores").images
    own = images[["probability:filled", "probability:ring"]].to_numpy()
    assert not np.allclose(own.sum(1), 1)  # sigmoids, no softmax


@pytest.mark.parametrize(
    ("label", "background", "outputs"), [("none", 0, 3), ("none", 0.2, 3), ("", 0.2, 3), ("", 0, 2)]
)
def test_none_has_an_output_where_something_teaches_it(label, background, outputs, tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=3)
    if label:
        labelled(table, A01=label, B01=label)
    model = toys.quick(table, tmp_path / "model", steps=1, **{"augment.background": background})
    assert (model.classes, model.card.none_trained) == (("filled", "ring"), outputs == 3)
    assert model.network.head.out_features == outputs


def test_a_class_that_only_tests_is_unknown_to_the_model(tmp_path):
    table = toys.toy(tmp_path / "toy", classes=("filled", "ring", "bar"), wells_per_class=3)

    def change(rows):
        parts = {"bar": ("test", "validation", "test")}
        seen = dict.fromkeys(("filled", "ring", "bar"), -1)
        for row in rows:
            seen[row["label"]] += 1
            row["split"] = parts.get(row["label"], ("train", "train", "validation"))[seen[row["label"]]]
        return rows

    model = toys.quick(toys.rewrite(table, change), tmp_path / "model", steps=2)
    assert model.classes == ("filled", "ring")
    split = toys.table_of(tmp_path / "model" / "split.csv")
    assert {row["split"] for row in split if row["label"] == "bar"} == {"test"}  # nor can it watch
    assert sorted(row["split"] for row in split if row["label"] == "ring") == ["train", "train", "validation"]


def test_the_smallest_batch_learns_although_it_may_be_background_alone(toy, tmp_path):
    toys.quick(toy, tmp_path / "model", batch=2, **{"augment.background": 0.5})


def test_images_of_unequal_sizes_learn_together_and_small_ones_are_listed_or_enlarged(tmp_path):
    table = toys.toy(tmp_path / "toy")
    rng = np.random.default_rng(0)
    for well, shape in (("A01", (72, 110)), ("B02", (90, 64)), ("C01", (62, 100))):
        drawn = toy_field(rng, "filled", 0.9, px=128, blob_px=24)[:, : shape[0], : shape[1]]
        write_ome_tiff(table.parent / f"images/T1_{well}_s1.ome.tif", drawn, channel_names=("dna", "gfp"))
    listener = toys.Listener()
    toys.quick(table, tmp_path / "model", events=listener)
    (failed,) = toys.table_of(tmp_path / "model" / "failures.csv")
    assert (failed["row"], failed["well"], failed["code"]) == ("6", "C01", "too_small")
    assert "image 62x100, the model needs >= 63" in failed["cause"]
    assert "images.pad=reflect" in failed["fix"]
    assert any("1 of 8 failed" in said for said in listener.warned)
    padded = toys.quick(table, tmp_path / "padded", **{"images.pad": "reflect"})
    assert not (tmp_path / "padded" / "failures.csv").exists()
    scores = padded.score(table, tmp_path / "scores", **{"images.pad": "reflect"})
    assert len(scores.failures) == 0


def test_a_network_that_is_not_there_is_refused_before_any_image_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("bagscope.images.check.check_fields", lambda *_, **__: pytest.fail("a table was looked at"))
    wrong = [{"device": "cuda:99"}, {"batch": 1}, {"pooling": "nosy_and"}, {"network": "x"}, {"task": "image"}]
    wrong += [{"stebs": 3}, {"pooling.a": 0}, {"pooling.b": 1}, {"pooling.r": -1}, {"pooling.c": 1}]
    for choices in wrong:
        with pytest.raises(SettingsError) as caught:
            toys.quick(tmp_path / "none.csv", tmp_path / "out", **choices)
        assert caught.value.exit_code == 2
    with pytest.raises(SettingsError, match=r"no device cuda:99.*--device cpu"):
        toys.quick(tmp_path / "none.csv", tmp_path / "out", device="cuda:99")
    assert not (tmp_path / "out").exists()


def test_a_diameter_is_given_estimated_or_impossible(toy, tmp_path):
    def scale(**choices):
        return toys.quick(toy, tmp_path / "model", overwrite=True, steps=1, **choices).card.scale

    given = scale(cell_diameter="24")
    assert (given.cell_diameter_px, given.source) == (24, "given")
    assert given.factor == pytest.approx(56 / 24)
    assert scale(cell_diameter="13um").cell_diameter_px == pytest.approx(20)
    assert scale(cell_diameter="auto").source == "estimated"
    for wrong in ("0", "-3", "0um", "big"):
        with pytest.raises(SettingsError, match="diameter"):
            scale(cell_diameter=wrong)


def test_micrometres_need_a_pixel_size(tmp_path):
    table = toys.toy(tmp_path / "toy")
    for path in (table.parent / "images").iterdir():
        tifffile.imwrite(path, tifffile.imread(path), photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(SettingsError, match=r"images\.pixel_um"):
        toys.quick(table, tmp_path / "model", cell_diameter="20um")
    scale = toys.quick(table, tmp_path / "model", steps=1, cell_diameter="20um", **{"images.pixel_um": 0.5}).card.scale
    assert (scale.cell_diameter_px, scale.pixel_um) == (40, 0.5)


def test_a_table_that_cannot_be_trained_on_is_refused_with_all_that_is_wrong_and_leaves_nothing(tmp_path):
    table = toys.toy(tmp_path / "toy")
    labelled(table, A01="alone")
    toys.rewrite(table, lambda rows: [row | {"concentration": "high" if row["well"] == "C01" else "1"} for row in rows])
    with pytest.raises(TableError) as caught:
        toys.quick(table, tmp_path / "deep" / "model")
    assert {problem.code for problem in caught.value.problems} == {"lonely_class", "bad_number"}
    assert not (tmp_path / "deep").exists()


def test_a_plate_that_tells_the_class_is_said_and_never_split_by(tmp_path):
    table = toys.toy(tmp_path / "toy", plates=2)
    toys.rewrite(table, lambda rows: [row | {"label": "x" if row["plate"] == "T1" else "y"} for row in rows])
    listener = toys.Listener()
    toys.quick(table, tmp_path / "model", steps=1, events=listener)
    assert any("plate" in said and "predicts the label: 1.00" in said for said in listener.warned)
    with pytest.raises(TableError, match="plate"):
        toys.quick(table, tmp_path / "by", split_by="plate")


def test_a_group_on_two_sides_is_refused(tmp_path):
    table = toys.toy(tmp_path / "toy", fields=2)
    toys.rewrite(table, lambda rows: [row | {"split": "train" if row["site"] == "1" else "test"} for row in rows])
    with pytest.raises(TableError, match=r"8 group\(s\) stand on two sides of the split"):
        toys.quick(table, tmp_path / "model")


def test_the_callers_own_chance_is_left_alone(toy, tmp_path):
    import random

    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    bs.load(toys.quick(toy, tmp_path / "model", steps=1).folder)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]  # noqa: NPY002
