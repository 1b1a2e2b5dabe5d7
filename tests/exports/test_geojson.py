"""Do outlines cover their pixels exactly, are they valid whatever the mask is, and as QuPath reads them?"""

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bagscope.exports.geojson import Region, boxes_of, feature_collection, geojson_bytes, joined, simplified


def outlines(mask, **place):
    return joined(boxes_of(mask, **place))


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_any_mask_has_valid_outlines_of_its_very_area(mask):
    found = outlines(mask)
    assert sum(one.area for one in found) == pytest.approx(mask.sum())
    for one in found:
        assert one.is_valid
        assert all(len(ring.coords) >= 4 and ring.is_closed for ring in (one.exterior, *one.interiors))
        assert simplified(one, 0.5).is_valid


def test_a_block_lies_where_it_is_x_first_and_corners_alone_do_not_join():
    mask = np.zeros((20, 20), bool)
    mask[0:10, 0:20] = True
    (one,) = outlines(mask, y0=100, x0=200)
    assert one.bounds == (200, 100, 220, 110)
    diagonal = np.eye(2, dtype=bool)
    assert len(outlines(diagonal)) == 2
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    (one,) = outlines(ring)
    assert len(one.interiors) == 1
    assert one.area == 24


def test_parts_of_neighbouring_tiles_become_one():
    left, right = boxes_of(np.ones((4, 4), bool)), boxes_of(np.ones((4, 4), bool), x0=4)
    (one,) = joined([*left, *right])
    assert one.bounds == (0, 0, 8, 4)


def test_a_simplified_outline_stays_within_its_tolerance():
    y, x = np.mgrid[:60, :60]
    (one,) = outlines((y - 30) ** 2 + (x - 30) ** 2 < 400)
    fewer = simplified(one, 1.0)
    assert len(fewer.exterior.coords) < len(one.exterior.coords) / 2
    assert shapely.hausdorff_distance(one.exterior, fewer.exterior) <= 1.0 + 1e-9


def test_what_is_written_is_what_qupath_reads():
    (one,) = outlines(np.ones((3, 3), bool))
    name = 'µ"<'
    regions = [Region(name, one, {"area px": 9, "mean": float("nan")})]
    text = geojson_bytes(feature_collection(regions, ("background", name), "a"))
    found = json.loads(text.decode("utf-8"))
    (feature,) = found["features"]
    assert (found["type"], feature["type"], feature["geometry"]["type"]) == ("FeatureCollection", "Feature", "Polygon")
    assert feature["properties"]["classification"] == {"name": name, "color": [86, 180, 233]}
    assert feature["properties"]["objectType"] == "annotation"
    assert feature["properties"]["measurements"] == {"area px": 9.0}
    assert b"NaN" not in text
    again = feature_collection(regions, ("background", name), "a")
    assert again["features"][0]["id"] == feature["id"]
