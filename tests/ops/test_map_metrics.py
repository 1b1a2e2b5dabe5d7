"""Are the measures of maps those that are said, on masks whose answers are counted by hand?"""

import numpy as np
import pytest

from bagscope.ops.map_metrics import boundary_band, boundary_distance, overlap, specks_per_10k_px


def square(shift=0):
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10 + shift : 30 + shift] = True
    return mask


def test_only_what_lies_near_the_boundary_counts():
    truth, shifted = square(), square(2)
    band = boundary_band(truth, 4)
    assert band[10, 20]
    assert band[7, 20]
    assert not band[20, 20]
    assert not band[2, 20]
    found = overlap(truth, shifted, 4)
    a, b = truth & band, shifted & band
    assert (found.both, found.either) == ((a & b).sum(), (a | b).sum())
    assert found.iou == pytest.approx((a & b).sum() / (a | b).sum())
    assert found.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert overlap(truth, truth, 4).iou == 1
    both = found + overlap(truth, truth, 4)
    assert both.either == found.either + a.sum()


def test_a_mask_without_a_boundary_has_no_band():
    assert not boundary_band(np.zeros((5, 5), bool), 4).any()
    assert np.isnan(overlap(np.ones((5, 5), bool), np.ones((5, 5), bool), 4).iou)


def test_boundaries_lie_as_far_apart_as_the_masks_are_shifted():
    assert boundary_distance(square(), square()) == 0
    assert 0.5 < boundary_distance(square(), square(2)) < 2
    assert np.isnan(boundary_distance(square(), np.zeros((40, 40), bool)))


def test_specks_are_counted_in_the_mask_and_in_its_holes():
    mask = square()
    assert specks_per_10k_px(mask) == 0
    mask[2, 2] = mask[5, 5] = True
    mask[20, 20] = False
    assert specks_per_10k_px(mask) == pytest.approx(3 * 10_000 / 1600)


@pytest.mark.parametrize("width", [1, 4])
def test_the_band_about_a_straight_boundary_is_so_many_pixels_wide_on_both_sides(width):
    truth = np.zeros((10, 40), bool)
    truth[:, 20:] = True
    rows, columns = np.nonzero(boundary_band(truth, width))
    assert np.bincount(rows).tolist() == [2 * width] * 10
    assert sorted(set(columns.tolist())) == list(range(20 - width, 20 + width))


def test_the_edge_of_the_image_is_no_boundary():
    truth, shifted = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    truth[:, 20:], shifted[:, 23:] = True, True
    assert boundary_distance(truth, shifted) == 3
