"""What is said of images that are not like those a model was trained on?"""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import bagscope as bs
import toys
from bagscope.errors import TableError
from bagscope.files.writer import write_ome_tiff
from bagscope.images import similarity
from bagscope.images.check import check_for_model
from bagscope.settings.jobs import ReadJob, make_job
from specimens import toy_field


@pytest.fixture(scope="module")
def model(trained):
    return bs.load(trained, device="cpu")


def fields(folder, count=4, *, names=("dna", "gfp"), change=lambda pixels: pixels, pixel_um=0.65, separate=False):
    """Write fields and their table; `separate`: a file per channel."""
    header = [f"image_{name}" for name in names] if separate else ["image"]
    lines = [",".join([*header, "well"])]
    for at in range(count):
        pixels = change(toy_field(np.random.default_rng(at), "ring", 0.9, px=72, blob_px=24, channels=len(names)))
        files = []
        for k, name in enumerate(names if separate else [""]):
            part = pixels[k : k + 1] if separate else pixels
            files.append(f"f{at}{name}.tif")
            told = (names[k],) if separate else names
            write_ome_tiff(folder / files[-1], part, channel_names=told, pixel_um=pixel_um)
        lines.append(",".join([*files, f"A{at + 1:02d}"]))
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


def scored(model, table, out, **choices):
    listener = toys.Listener()
    scores = model.score(table, out, threads=1, events=listener, **choices)
    return scores.images[["probability:filled", "probability:ring"]].to_numpy(), "\n".join(listener.warned)


def test_images_like_those_of_training_are_scored_without_a_word(model, tmp_path):
    values, said = scored(model, fields(tmp_path), tmp_path / "scores")
    assert said == ""
    assert np.isfinite(values).all()


def test_channels_in_another_order_are_put_in_the_models_and_said(model, tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
    plain, _ = scored(model, fields(tmp_path / "a"), tmp_path / "a" / "scores")
    swapped = fields(tmp_path / "b", names=("gfp", "dna"), change=lambda pixels: pixels[::-1])
    values, said = scored(model, swapped, tmp_path / "b" / "scores")
    assert (values == plain).all()
    assert "channels gfp, dna are put in the model's order, dna, gfp" in said
    separate = fields(tmp_path / "c", names=("gfp", "dna"), change=lambda pixels: pixels[::-1], separate=True)
    values, _ = scored(model, separate, tmp_path / "c" / "scores")
    assert (values == plain).all()
    more = fields(tmp_path / "d", names=("dna", "actin", "gfp"), change=lambda pixels: pixels[[0, 0, 2]])
    values, _ = scored(model, more, tmp_path / "d" / "scores")
    assert np.isfinite(values).all()  # a channel that the model does not know is left out


def test_channels_without_names_are_taken_in_their_order_and_said(model, tmp_path):
    import tifffile

    table = fields(tmp_path)
    plain, _ = scored(model, table, tmp_path / "plain")
    for path in tmp_path.glob("*.tif"):
        tifffile.imwrite(path, tifffile.imread(path), photometric="minisblack", metadata={"axes": "CYX"})
    values, said = scored(model, table, tmp_path / "scores")
    assert (values == plain).all()
    assert "channels without names are taken as dna, gfp, in this order" in said


@pytest.mark.parametrize("names", [("dna",), ("dna", "gfq"), ("x", "y", "z")])
def test_other_channels_are_refused_with_both_lists(names, model, tmp_path):
    with pytest.raises(TableError) as caught:
        scored(model, fields(tmp_path, names=names), tmp_path / "scores")
    (problem,) = caught.value.problems
    assert f"channels {', '.join(names)}, the model has dna, gfp" in problem.cause
    assert not (tmp_path / "scores").exists()
    report = check_for_model(tmp_path / "table.csv", make_job(ReadJob), model.card)
    assert report.exit_code == 2
    assert [problem.code for problem in report.refused] == ["channels"]


def test_a_field_with_other_channels_among_good_ones_is_listed_alone(model, tmp_path):
    table = fields(tmp_path)
    write_ome_tiff(tmp_path / "f2.tif", np.zeros((2, 72, 72), np.uint16), channel_names=("dna", "rfp"))
    report = check_for_model(table, make_job(ReadJob), model.card)
    assert (report.exit_code, report.listed) == (3, {2})
    scores = model.score(table, tmp_path / "scores")
    assert scores.failures["row"].tolist() == [4]
    assert scores.images["call"].eq("").tolist() == [False, False, True, False]


@pytest.mark.parametrize(("pixel_um", "said"), [(0.655, False), (0.67, True), (0.9, True)])
def test_another_pixel_size_is_said_from_two_percent_on(pixel_um, said, model, tmp_path):
    _, warned = scored(model, fields(tmp_path, pixel_um=pixel_um), tmp_path / "scores")
    assert (f"pixels of {pixel_um:g} um, the model was trained on 0.65 um" in warned) == said


@pytest.mark.parametrize("pixel_um", [0.325, 1.3])
def test_a_pixel_size_far_off_is_refused_unless_it_is_meant(pixel_um, model, tmp_path):
    table = fields(tmp_path, pixel_um=pixel_um)
    with pytest.raises(TableError, match=r"images\.rescale=true"):
        scored(model, table, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()
    values, warned = scored(model, table, tmp_path / "forced", **{"table.force": True})
    assert "the model was trained on 0.65 um" in warned
    assert np.isfinite(values).all()
    by_hand, warned = scored(model, table, tmp_path / "by hand", **{"images.pixel_um": 0.65})
    assert warned == ""
    assert (by_hand == values).all()


@pytest.mark.parametrize(("count", "said"), [(1, False), (2, True)])
def test_images_unlike_those_of_training_are_said_when_they_are_many(count, said, model, toy, trained, tmp_path):
    parts = {row["row"]: row["split"] for row in toys.table_of(trained / "split.csv")}
    files = [row["image"] for line, row in enumerate(toys.table_of(toy), 2) if parts[str(line)] == "train"]
    lines = ["image,well"]
    for at in range(20):
        name = tmp_path / f"f{at}.ome.tif"
        if at < count:
            write_ome_tiff(name, np.full((2, 72, 72), at, np.uint16), channel_names=("dna", "gfp"))
        else:
            shutil.copy(toy.parent / files[at % len(files)], name)
        lines.append(f"{name.name},B{at + 1:02d}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    _, warned = scored(model, table, tmp_path / "scores")
    told = f"{count} of 20 images look unlike those of training"
    assert (told in warned) == said
    images = toys.table_of(tmp_path / "scores" / "images.csv")
    assert [row["unlike"] != "" for row in images] == [True] * count + [False] * (20 - count)
    # What is kept of a field remembers it: a resumed run says the same.
    (tmp_path / "scores" / "run.json").unlink()
    _, warned = scored(model, table, tmp_path / "scores", resume=True)
    assert (told in warned) == said
    warnings = json.loads((tmp_path / "scores" / "run.json").read_text())["warnings"]
    assert any(told in warning for warning in warnings) == said


def test_eight_bits_in_place_of_sixteen_are_said(model, tmp_path):
    table = fields(tmp_path, change=lambda pixels: (pixels // 16).astype(np.uint8))
    _, warned = scored(model, table, tmp_path / "scores")
    assert "4 of 4 images look unlike those of training" in warned


def test_pixels_that_come_in_another_type_are_the_same_pixels(model, tmp_path):
    results = []
    for at, dtype in enumerate(("uint16", "float32", "int32", "uint32", "float64")):
        (tmp_path / dtype).mkdir()
        values, _ = scored(
            model, fields(tmp_path / dtype, change=lambda p, dtype=dtype: p.astype(dtype)), tmp_path / str(at)
        )
        results.append(values)
    assert all((values == results[0]).all() for values in results)


def test_the_model_decides_which_of_two_numbers_of_channels_is_right(model, tmp_path):
    table = fields(tmp_path, 2)
    three = np.zeros((3, 72, 72), np.uint16)
    write_ome_tiff(tmp_path / "f0.tif", three, channel_names=("x", "y", "z"))
    scores = model.score(table, tmp_path / "scores", threads=1)
    assert scores.failures["row"].tolist() == [2]
    assert "channels x, y, z, the model has dna, gfp" in scores.failures["cause"][0]


@pytest.mark.parametrize(("setting", "value"), [("images.z", "max"), ("images.gray", True), ("images.level", 0)])
def test_other_planes_than_in_training_are_told(model, tmp_path, setting, value):
    _, said = scored(model, fields(tmp_path), tmp_path / "scores", **{setting: value})
    assert ("otherwise than in training" in said) == (f"{setting} was" in said) == (setting != "images.level")


@pytest.mark.parametrize(("channels", "told"), [("gfp,dna", True), ("dna", True), ("dna,gfp", False)])
def test_channels_that_are_wanted_are_the_models_or_said_to_be_unused(model, tmp_path, channels, told):
    table = fields(tmp_path)
    plain, _ = scored(model, table, tmp_path / "plain")
    values, said = scored(model, table, tmp_path / "scores", channels=channels)
    assert (values == plain).all()
    assert (f"images.channels = {channels.replace(',', ', ')} is not used: the model has dna, gfp" in said) == told


def test_padding_brings_images_of_another_pixel_size_to_what_the_network_takes(trained, tmp_path):
    model = bs.load(trained, device="cpu")
    scale = model.card.scale.model_copy(update={"pixel_um": 0.65})
    model.card = model.card.model_copy(update={"scale": scale})
    finer = fields(tmp_path, pixel_um=0.325)  # rescaled by half: 72 pixels become 36, the network takes 63
    values, _ = scored(model, finer, tmp_path / "padded", **{"images.rescale": True, "images.pad": "reflect"})
    assert np.isfinite(values).all()
    plain, _ = scored(model, finer, tmp_path / "plain", **{"images.rescale": True})
    assert np.isnan(plain).all()


def test_the_pixel_size_farthest_from_the_models_is_reported():
    card = SimpleNamespace(scale=SimpleNamespace(pixel_um=0.65))
    headers = {at: SimpleNamespace(pixel_um=um) for at, um in enumerate([0.65, 0.3, 0.66, 0.65])}
    (problem,) = similarity._pixel_sizes(card, headers, 0, "table.csv", False)
    assert "0.3 um" in problem.cause
