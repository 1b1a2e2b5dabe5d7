"""Do outlines cover their pixels exactly, are they valid whatever the mask is, and as QuPath reads them?"""

import json

import numpy as np
import shapely

from bagscope.exports.geojson import Region, feature_of, geojson_bytes, read_features, simplified, write_features
from bagscope.ops.outlines import traced


def outlines(mask):
    return traced(mask)[1]


def test_a_simplified_outline_stays_within_its_tolerance():
    y, x = np.mgrid[:60, :60]
    (one,) = outlines((y - 30) ** 2 + (x - 30) ** 2 < 400)
    fewer = simplified(one, 1.0)
    assert len(fewer.exterior.coords) < len(one.exterior.coords) / 2
    assert shapely.hausdorff_distance(one.exterior, fewer.exterior) <= 1.0 + 1e-9


def test_what_is_written_is_what_qupath_reads(tmp_path):
    (one,) = outlines(np.ones((3, 3), bool))
    name = 'µ"<\n'
    region = Region(name, one, {"area px": 9, "mean": float("nan")}, {"image": "a.tif"})
    lines = [geojson_bytes(feature_of(region, number, ("background", name), "a")) for number in range(2)]
    with (tmp_path / "a.geojson").open("wb") as stream:
        write_features(stream, lines)
    text = (tmp_path / "a.geojson").read_bytes()
    found = json.loads(text.decode("utf-8"))
    feature, other = found["features"]
    assert (found["type"], feature["type"], feature["geometry"]["type"]) == ("FeatureCollection", "Feature", "Polygon")
    assert feature["properties"]["classification"] == {"name": name, "color": [86, 180, 233]}
    assert feature["properties"]["objectType"] == "annotation"
    assert feature["properties"]["measurements"] == {"area px": 9.0}
    assert feature["properties"]["metadata"] == {"image": "a.tif"}
    assert b"NaN" not in text
    assert feature["id"] != other["id"]
    assert feature_of(region, 0, ("background", name), "a")["id"] == feature["id"]
    assert list(read_features(tmp_path / "a.geojson")) == lines


def test_a_collection_without_features_is_one(tmp_path):
    with (tmp_path / "a.geojson").open("wb") as stream:
        write_features(stream, [])
    assert json.loads((tmp_path / "a.geojson").read_bytes()) == {"type": "FeatureCollection", "features": []}
    assert list(read_features(tmp_path / "a.geojson")) == []


def test_a_measurement_that_is_no_finite_number_is_left_out():
    (one,) = outlines(np.ones((3, 3), bool))
    numbers = {"area px": 9, "mean": float("nan"), "ratio": float("inf"), "less": float("-inf")}
    feature = feature_of(Region("a", one, numbers), 0, ("a",))
    assert feature["properties"]["measurements"] == {"area px": 9.0}
    assert json.loads(geojson_bytes(feature)) == json.loads(json.dumps(feature))


def test_equal_regions_of_two_images_have_ids_of_their_own():
    (one,) = outlines(np.ones((3, 3), bool))
    ids = [feature_of(Region("a", one), number, ("a",), seed)["id"] for seed in ("x.tif", "y.tif") for number in (0, 1)]
    assert len(set(ids)) == 4
