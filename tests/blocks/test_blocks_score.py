"""Do maps, outlines, areas and evaluation of a screen say what the network said, once and again?"""

import json
import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from scipy import ndimage

import bagscope
from bagscope.errors import SettingsError, TableError
from bagscope.files.tile_store import STEPS
from bagscope.ops.map_metrics import boundary_distance, specks_per_10k_px
from bagscope.settings.block_sections import MapsSection
from dangerous import LIMIT_S, let_names_be_dangerous
from tissue import EDGE, picture, screen_of, spots

QUICK = {"threads": 1}


def scored(model, table, out, **choices):
    return model.score(table, out, **(QUICK | choices))


@pytest.fixture(scope="module")
def scores(model, screen, tmp_path_factory):
    return scored(model, screen / "s.csv", tmp_path_factory.mktemp("scores") / "s", **{"blocks.truth": "truth",
                  "maps.tile": 64, "maps.simplify": 0, "maps.least_area": 0, "images.pixel_um": 0.5})  # fmt: skip


def decided(model, folder, at):
    return model.decide(model.predict(tifffile.imread(folder / f"i{at}.tif")[None]))


def outlines(path):
    return json.loads(path.read_bytes())["features"]


def test_maps_by_tiles_are_those_of_the_whole_image(scores, model, screen):
    for at, name in enumerate(scores.images["map_file"]):
        with tifffile.TiffFile(scores.folder / name) as file:
            found, xml = file.asarray(), file.ome_metadata
        whole = model.predict(tifffile.imread(screen / f"i{at}.tif")[None])
        assert found.dtype == np.float32
        # Steps of the file, and rounding of convolutions of another size.
        np.testing.assert_allclose(found, whole, atol=0.5 / STEPS + 1e-5)
        assert found.std() > 0.05
        assert 'Name="ground"' in xml
        assert 'PhysicalSizeX="0.5"' in xml


def test_areas_are_those_of_the_decided_pixels(scores, model, screen):
    for at, row in scores.images.iterrows():
        classes = decided(model, screen, at)
        assert row["share:spot"] == pytest.approx((classes == 1).mean(), abs=1e-3)
        assert row["area_um2:spot"] == pytest.approx(row["share:spot"] * classes.size * 0.25)
        assert row["share:ground"] + row["share:spot"] == pytest.approx(1)
        assert row["share_low:spot"] < row["share:spot"] < row["share_high:spot"]
        p = model.predict(tifffile.imread(screen / f"i{at}.tif")[None])
        assert row["probability:spot"] == pytest.approx(p[1].mean(), abs=0.5 / STEPS)
        assert row["unsure"] == pytest.approx((p.max(0) < 0.6).mean(), abs=1e-3)
    assert list(scores.images["split"]) == ["train", "train", "test", "test"]
    assert scores.wells["area_um2:spot"].sum() == pytest.approx(scores.images["area_um2:spot"].sum())


def test_outlines_without_simplification_cover_the_pixels_and_are_valid(scores):
    regions = pd.read_parquet(scores.folder / "regions.parquet")
    every = outlines(scores.folder / "regions.geojson")
    assert len(every) == len(regions) > 4
    assert set(regions["class"]) == {"spot"}
    for at, row in scores.images.iterrows():
        own = outlines(scores.folder / row["regions_file"])
        mine = regions[regions["row"] == row["row"]]
        polygons = [shapely.geometry.shape(one["geometry"]) for one in own]
        assert all(one.is_valid for one in polygons)
        assert sum(one.area for one in polygons) == mine["area_px"].sum()
        assert mine["area_px"].sum() == pytest.approx(row["share:spot"] * row["height_px"] * row["width_px"])
        assert [one["properties"]["metadata"]["image"] for one in own] == [f"i{at}.tif"] * len(own)
        assert mine["area_um2"].tolist() == (mine["area_px"] * 0.25).tolist()
        for one, (_, line) in zip(polygons, mine.iterrows(), strict=True):
            assert one.bounds == (line["x0"], line["y0"], line["x1"], line["y1"])
            assert (len(one.interiors), one.centroid.x) == (line["holes"], pytest.approx(line["x"]))
            assert 0.5 <= line["probability"] <= 1


def test_the_evaluation_is_what_a_few_lines_of_numpy_say(scores, model, screen):
    told = pd.read_csv(scores.folder / "evaluation.csv").set_index(["image", "measure"])["value"]
    both = either = 0
    for at in range(4):
        written = tifffile.imread(scores.folder / scores.images["map_file"].iloc[at])
        truth, found = tifffile.imread(screen / f"t{at}.tif") == 2, model.decide(written) == 1
        away = np.maximum(ndimage.distance_transform_edt(truth), ndimage.distance_transform_edt(~truth))
        for suffix, width in (("", EDGE), ("_narrow", 4)):
            near = away <= width
            a, b = truth[near], found[near]
            assert told[f"i{at}.tif", f"masked_iou{suffix}"] == pytest.approx((a & b).sum() / (a | b).sum())
            dice = 2 * (a & b).sum() / (a.sum() + b.sum())
            assert told[f"i{at}.tif", f"masked_dice{suffix}"] == pytest.approx(dice)
        both, either = both + (truth & found & (away <= EDGE)).sum(), either + ((truth | found) & (away <= EDGE)).sum()
        assert told[f"i{at}.tif", "boundary_distance"] == pytest.approx(boundary_distance(truth, found))
        assert told[f"i{at}.tif", "pepper"] == pytest.approx(specks_per_10k_px(found))
    assert told["all", "masked_iou"] == pytest.approx(both / either)
    table = pd.read_csv(scores.folder / "evaluation.csv")
    pooled = table[(table["image"] == "unseen") & (table["measure"] == "masked_iou")].iloc[0]
    assert (pooled["row"], pooled["images"]) == (0, 2)
    assert pooled["low"] <= pooled["value"] <= pooled["high"]


def test_consistency_tells_given_and_predicted_shares_of_blocks(scores, model, screen):
    told = pd.read_csv(scores.folder / "consistency.csv").set_index(["coarse", "fine"])
    given = pd.read_csv(screen / "p.csv").set_index(["coarse", "fine"])
    found = {"little": [], "much": []}
    for at in range(4):
        classes = decided(model, screen, at)
        for _, box in pd.read_csv(screen / f"b{at}.csv").iterrows():
            inside = classes[box["y"] : box["y"] + EDGE, box["x"] : box["x"] + EDGE]
            found[box["class"]].append((inside == 1).mean())
    for coarse, shares in found.items():
        row = told.loc[coarse, "spot"]
        assert row["n"] == len(shares)
        assert row["predicted_mean"] == pytest.approx(np.mean(shares), abs=1e-3)
        assert row["predicted_sd"] == pytest.approx(np.std(shares, ddof=1), abs=1e-3)
        assert row["given_sd"] == pytest.approx(given.loc[(coarse, "spot"), "sd"])


def test_scoring_once_more_changes_no_byte_and_what_was_lost_is_made_again(model, screen, tmp_path):
    first = scored(model, screen / "s.csv", tmp_path / "a")
    before = {
        path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file() and ".bagscope" not in str(path)
    }
    maps = [path for path in before if path.suffix == ".tif"]
    maps[0].write_bytes(b"damaged")
    maps[1].unlink()
    next(first.folder.glob("parts/*/00000002.json")).write_text("{")
    said = Said()
    again = scored(model, screen / "s.csv", tmp_path / "a", resume=True, events=said)
    assert {path: path.read_bytes() for path in before} == before
    assert any("nothing has changed" in line for line in said.lines)
    pd.testing.assert_frame_equal(again.images, first.images)
    assert not list(first.folder.rglob("*.part"))


def test_scoring_with_other_settings_starts_anew(model, screen, tmp_path):
    scored(model, screen / "s.csv", tmp_path / "a")
    few = len(pd.read_parquet(tmp_path / "a" / "regions.parquet"))
    scored(model, screen / "s.csv", tmp_path / "a", resume=True, **{"maps.least_area": 400})
    assert len(pd.read_parquet(tmp_path / "a" / "regions.parquet")) < few


def other(model, screen, tmp_path, **choices):
    return scored(model, screen / "s.csv", tmp_path / "b", **choices)


def test_every_setting_of_maps_does_something(model, screen, tmp_path, scores):
    tried = {"threshold", "tile", "simplify", "area", "least_area", "background"}
    assert set(MapsSection.model_fields) == tried
    plain = pd.read_parquet(scores.folder / "regions.parquet")
    turned = other(model, screen, tmp_path, **{"maps.background": "spot", "maps.least_area": 50, "maps.area": "px",
                   "maps.simplify": 2, "maps.tile": 64, "images.pixel_um": 0.5})  # fmt: skip
    regions = pd.read_parquet(turned.folder / "regions.parquet")
    assert set(regions["class"]) == {"ground"}
    assert regions["area_px"].min() >= 50 > plain["area_px"].min()
    assert "area_px:spot" in turned.images
    assert "area_um2:spot" not in turned.images
    corners = [len(one["geometry"]["coordinates"][0]) for one in outlines(turned.folder / "regions.geojson")]
    assert sum(corners) < sum(
        len(one["geometry"]["coordinates"][0]) for one in outlines(scores.folder / "regions.geojson")
    )
    with tifffile.TiffFile(turned.folder / turned.images["map_file"][0]) as file:
        assert (file.pages[0].tilelength, file.pages[0].tilewidth) == (64, 64)
    with pytest.raises(SettingsError, match=r"maps.background = 'grund' is no fine class \(did you mean 'ground'\?\)"):
        other(model, screen, tmp_path, **{"maps.background": "grund", "overwrite": True})
    with pytest.raises(SettingsError, match="no threshold from its table"):
        other(model, screen, tmp_path, **{"maps.threshold": "table", "overwrite": True})


def test_a_threshold_of_the_table_decides_unless_the_largest_is_asked_for(model, screen, tmp_path):
    card = model.card.model_copy(update={"limits": (0.1, 0.9)})
    strict = type(model)(model.folder, model.network, card, model.device)
    few = other(strict, screen, tmp_path).images["share:spot"].mean()
    plain = other(strict, screen, tmp_path, overwrite=True, **{"maps.threshold": "largest"}).images["share:spot"].mean()
    assert few < plain
    assert plain == pytest.approx(scored(model, screen / "s.csv", tmp_path / "c").images["share:spot"].mean())


@pytest.mark.parametrize("tile", [64, 256])
def test_outlines_are_in_pixels_of_the_full_resolution(model, tmp_path, tile):
    truth = np.zeros((320, 512), bool)
    truth[96:160, 192:320] = True
    full = picture(truth)
    small = full.reshape(160, 2, 256, 2).mean((1, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "p.tif") as file:
        file.write(full, tile=(64, 64), subifds=1)
        file.write(small, tile=(64, 64), subfiletype=1)
    (tmp_path / "s.csv").write_text("image\np.tif\n")
    for level in (0, 1):
        out = tmp_path / f"out{level}"
        choices = {"images.level": level, "maps.tile": tile, "maps.least_area": 200, "images.pixel_um": 0.5}
        scored(model, tmp_path / "s.csv", out, **choices)
        (one,) = outlines(out / "regions.geojson")
        bounds = shapely.geometry.shape(one["geometry"]).bounds
        np.testing.assert_allclose(bounds, (192, 96, 320, 160), atol=2 * 2**level)


def test_a_large_map_has_smaller_copies_that_are_means_of_four(model, tmp_path, monkeypatch):
    monkeypatch.setattr("bagscope.files.tile_store.LARGE", 100)
    monkeypatch.setattr("bagscope.files.tile_store.SMALL", 60)
    screen_of(tmp_path, 1, sizes=[(203, 331)])
    found = scored(model, tmp_path / "s.csv", tmp_path / "out", **{"maps.tile": 64})
    with tifffile.TiffFile(found.folder / found.images["map_file"][0]) as file:
        levels = [level.asarray() for level in file.series[0].levels]
        assert file.is_ome
    assert [level.shape for level in levels] == [(2, 203, 331), (2, 102, 166), (2, 51, 83), (2, 26, 42)]
    for fine, coarse in pairwise(levels):
        _, h, w = coarse.shape
        padded = np.pad(fine, ((0, 0), (0, 2 * h - fine.shape[1]), (0, 2 * w - fine.shape[2])), "edge")
        np.testing.assert_allclose(coarse, padded.reshape(2, h, 2, w, 2).mean((2, 4)), atol=0.51 / STEPS)


def test_strips_tiles_png_and_zarr_give_the_same_map(model, screen, tmp_path):
    from PIL import Image

    pixels = tifffile.imread(screen / "i0.tif")
    tifffile.imwrite(tmp_path / "strips.tif", pixels, rowsperstrip=7)
    tifffile.imwrite(tmp_path / "packed.tif", pixels, rowsperstrip=len(pixels), compression="zlib")
    tifffile.imwrite(tmp_path / "tiles.tif", pixels, tile=(32, 48), compression="zlib")
    Image.fromarray(pixels).save(tmp_path / "p.png")
    folder = tmp_path / "z.zarr"
    folder.mkdir()
    said = {"zarr_format": 2, "shape": pixels.shape, "chunks": [96, 64], "dtype": "|u1", "order": "C", "filters": None}
    (folder / ".zarray").write_text(json.dumps(said | {"compressor": None, "fill_value": 0}))
    for at in range(2):
        (folder / f"0.{at}").write_bytes(pixels[:, at * 64 : (at + 1) * 64].tobytes())
    names = ["strips.tif", "packed.tif", "tiles.tif", "p.png", "z.zarr"]
    (tmp_path / "s.csv").write_text("\n".join(["image", *names]))
    found = scored(model, tmp_path / "s.csv", tmp_path / "out", **{"maps.tile": 64})
    maps = [tifffile.imread(found.folder / name) for name in found.images["map_file"]]
    assert len(maps) == 5
    assert all(np.array_equal(maps[0], one) for one in maps[1:])


def test_a_damaged_tile_costs_one_image_and_is_named(model, screen, tmp_path):
    tifffile.imwrite(tmp_path / "bad.tif", picture(spots(9)), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(tmp_path / "bad.tif") as file:
        at, size = file.pages[0].dataoffsets[1], file.pages[0].databytecounts[1]
    content = bytearray((tmp_path / "bad.tif").read_bytes())
    content[at : at + size] = b"\xff" * size
    (tmp_path / "bad.tif").write_bytes(content)
    shutil.copy(screen / "i0.tif", tmp_path)
    (tmp_path / "s.csv").write_text("image\nbad.tif\ni0.tif\n")
    found = scored(model, tmp_path / "s.csv", tmp_path / "out")
    (failure,) = found.failures.to_dict("records")
    assert (failure["row"], failure["stage"]) == (2, "score")
    assert "bad.tif" in failure["cause"]
    assert np.isnan(found.images["share:spot"][0])
    assert found.images["share:spot"][1] > 0
    assert not list((tmp_path / "out" / "maps").glob("000000*"))


class Said:
    """Events that are kept."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def warn(self, text):
        self.lines.append(text)

    def progress(self, what, done, total, *more):
        assert done <= total


def test_areas_in_um_without_a_pixel_size_are_refused_row_by_row_with_the_fix(model, screen, tmp_path):
    said = Said()
    found = other(model, screen, tmp_path, events=said)
    assert "area_px:spot" in found.images
    assert any("do not say how large a pixel is" in line and "images.pixel_um=0.5" in line for line in said.lines)
    with tifffile.TiffWriter(tmp_path / "um.tif", ome=True) as file:
        metadata = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        file.write(picture(spots(1)), tile=(64, 64), metadata={"axes": "YX", **metadata})
    shutil.copy(screen / "i0.tif", tmp_path)
    (tmp_path / "s.csv").write_text("image\num.tif\ni0.tif\n")
    found = scored(model, tmp_path / "s.csv", tmp_path / "c", **{"maps.area": "um2"})
    (failure,) = found.failures.to_dict("records")
    assert (failure["row"], failure["code"]) == (3, "no_pixel_size")
    assert "maps.area=px" in failure["fix"]
    assert found.images["area_um2:spot"][0] == pytest.approx(found.images["share:spot"][0] * 96 * 128 / 16)


def test_labels_and_boxes_that_do_not_fit_cost_the_comparison_not_the_map(model, screen, tmp_path):
    for at in range(4):
        shutil.copy(screen / f"i{at}.tif", tmp_path)
    tifffile.imwrite(tmp_path / "small.tif", np.ones((5, 5), np.uint8))
    tifffile.imwrite(tmp_path / "mask.tif", spots(1).astype(np.uint8))
    tifffile.imwrite(tmp_path / "codes.tif", np.full((96, 128), 255, np.uint8))
    (tmp_path / "boxes.csv").write_text("left,top\n1,2\n")
    lines = ["i0.tif,small.tif,", "i1.tif,mask.tif,", "i2.tif,codes.tif,", "i3.tif,,boxes.csv"]
    (tmp_path / "s.csv").write_text("\n".join(["image,truth,coarse", *lines]))
    found = scored(model, tmp_path / "s.csv", tmp_path / "out", **{"blocks.truth": "truth"})
    told = found.failures.set_index("row")
    assert list(told["code"]) == ["mask_size", "mask_as_truth", "label_range", "no_column"]
    assert list(told["stage"]) == ["truth", "truth", "truth", "coarse"]
    assert "add 1 to it" in told["fix"][3]
    assert "255" in told["cause"][4]
    assert found.images["share:spot"].notna().all()
    assert not (tmp_path / "out" / "evaluation.csv").exists()
    with pytest.raises(TableError, match=r"blocks.truth = 'truht'.*did you mean 'truth'"):
        scored(model, tmp_path / "s.csv", tmp_path / "x", **{"blocks.truth": "truht"})


def test_labels_that_end_the_process_that_decodes_them_cost_the_comparison_not_the_map(
    model, screen, tmp_path, monkeypatch
):
    let_names_be_dangerous(monkeypatch)
    for name in ("i0.tif", "i1.tif", "i2.tif", "t2.tif"):
        shutil.copy(screen / name, tmp_path)
    for name in ("crash.tif", "hang.tif"):
        shutil.copy(screen / "t0.tif", tmp_path / name)
    (tmp_path / "s.csv").write_text("image,truth,coarse\ni0.tif,crash.tif,\ni1.tif,,hang.tif\ni2.tif,t2.tif,\n")
    limit = {"compute.io_timeout": LIMIT_S}
    found = scored(model, tmp_path / "s.csv", tmp_path / "out", **{"blocks.truth": "truth"}, **limit)
    told = found.failures[["row", "stage", "code"]].to_numpy().tolist()
    assert told == [[2, "truth", "crashed"], [3, "coarse", "timeout"]]
    assert found.images["share:spot"].notna().all()
    assert pd.read_csv(tmp_path / "out" / "evaluation.csv")["row"].unique().tolist() == [4, 0]


def test_unknown_pixels_of_the_truth_do_not_count(model, screen, scores, tmp_path):
    shutil.copy(screen / "i0.tif", tmp_path)
    truth = tifffile.imread(screen / "t0.tif")
    right = tifffile.imread(scores.folder / scores.images["map_file"][0]).argmax(0) + 1
    half = np.where(np.indices(truth.shape)[1] < 64, right, 0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "t.tif", half)
    (tmp_path / "s.csv").write_text("image,truth\ni0.tif,t.tif\n")
    found = scored(model, tmp_path / "s.csv", tmp_path / "out", **{"blocks.truth": "truth"})
    told = pd.read_csv(found.folder / "evaluation.csv").set_index(["image", "measure"])["value"]
    assert told["i0.tif", "masked_iou"] == 1
    assert np.isnan(told["i0.tif", "boundary_distance"])


def test_an_image_without_regions_is_no_failure(model, tmp_path):
    tifffile.imwrite(tmp_path / "dark.tif", np.full((64, 80), 50, np.uint8))
    (tmp_path / "s.csv").write_text("image\ndark.tif\n")
    found = scored(model, tmp_path / "s.csv", tmp_path / "out", **{"maps.background": "ground"})
    assert len(found.failures) == 0
    assert outlines(tmp_path / "out" / "regions.geojson") == []
    assert len(pd.read_parquet(tmp_path / "out" / "regions.parquet")) == 0
    assert bagscope.load(model.folder).classes == ("ground", "spot")
