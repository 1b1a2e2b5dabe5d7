"""Do outlines cover their pixels exactly, are they valid whatever the mask is, and the same however it is cut?"""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from bagscope.exports.geojson import simplified
from bagscope.ops.outlines import GrowingOutlines, traced

MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def grown(mask, values, tile):
    height, width = mask.shape
    growing, found = GrowingOutlines(height, width), []
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            found += growing.add(mask[y : y + tile, x : x + tile], values[y : y + tile, x : x + tile], y, x)
    return found


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_any_mask_has_one_valid_outline_per_region_of_its_very_pixels(mask):
    labels, polygons = traced(mask)
    assert len(polygons) == ndimage.label(mask)[1]
    for number, one in enumerate(polygons, start=1):
        assert one.is_valid
        assert one.area == (labels == number).sum()
        y, x = np.nonzero(labels == number)
        assert shapely.contains_xy(one, x + 0.5, y + 0.5).all()
        assert all(len(ring.coords) >= 4 and ring.is_closed for ring in (one.exterior, *one.interiors))
        assert simplified(one, 0.5).is_valid


@settings(max_examples=200, deadline=None)
@given(MASKS, st.integers(1, 5))
def test_tiles_of_any_size_give_the_regions_of_the_whole(mask, tile):
    values = np.arange(mask.size, dtype=float).reshape(mask.shape)
    labels, polygons = traced(mask)
    found = grown(mask, values, tile)
    assert len(found) == len(polygons)
    whole = {one.normalize().wkt: number for number, one in enumerate((p.simplify(0) for p in polygons), start=1)}
    for one in found:
        assert one.polygon.is_valid
        number = next((n for n in whole.values() if one.polygon.equals(polygons[n - 1])), None)
        assert number is not None
        assert one.pixels == (labels == number).sum()
        assert one.total == values[labels == number].sum()


def test_a_block_lies_where_it_is_x_first_and_corners_alone_do_not_join():
    (one,) = traced(np.ones((10, 20), bool), y0=100, x0=200)[1]
    assert one.bounds == (200, 100, 220, 110)
    assert len(one.exterior.coords) == 5
    assert len(traced(np.eye(2, dtype=bool))[1]) == 2
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    (one,) = traced(ring)[1]
    assert len(one.interiors) == 1
    assert one.area == 24


def test_a_region_is_given_as_soon_as_nothing_can_add_to_it():
    mask = np.zeros((6, 4), bool)
    mask[0, 0] = mask[1:3, 2] = mask[5, 0] = True
    growing, counts = GrowingOutlines(6, 4), []
    for y in range(0, 6, 2):
        for x in range(0, 4, 2):
            counts.append(len(growing.add(mask[y : y + 2, x : x + 2], np.ones((2, 2)), y, x)))
    assert counts == [0, 1, 0, 1, 0, 1]


def test_an_empty_mask_has_no_outline():
    assert traced(np.zeros((3, 3), bool))[1] == []
    assert grown(np.zeros((3, 3), bool), np.zeros((3, 3)), 2) == []


@pytest.mark.parametrize("tile", [7, 64])
def test_a_simplified_region_stays_near_its_pixels_across_tiles(tile):
    y, x = np.mgrid[:60, :60]
    mask = (y - 30) ** 2 + (x - 30) ** 2 < 400
    (one,) = grown(mask, np.ones(mask.shape), tile)
    assert shapely.hausdorff_distance(one.polygon.exterior, simplified(one.polygon, 1.0).exterior) <= 1.0 + 1e-9
