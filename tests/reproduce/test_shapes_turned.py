"""Is it the shape that is turned, the same one, whatever way it is turned?"""

import numpy as np
import pytest
from scipy import ndimage

from bagscope.ops.rotate import uniform_rotations
from bagscope.reproduce import shapes_data
from bagscope.reproduce.shapes_turned import refilled

QUARTER = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def slab():
    mask = np.zeros((9, 9, 9), bool)
    mask[2:7, 3:6, 1:8] = True
    mask[2, 3, 1:3] = False
    return mask


def cropped(mask):
    return mask[ndimage.find_objects(mask.astype(np.uint8))[0]]


def test_a_quarter_turn_fills_the_same_voxels_turned():
    np.testing.assert_array_equal(cropped(refilled(slab(), (1, 1, 1), QUARTER)), cropped(np.rot90(slab(), 1, (1, 2))))


def test_a_turn_is_in_micrometres():
    # 10 um along z and 3 um along y change places; voxels that are half filled, at both ends, are left out.
    about_x = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    solid = np.ones((5, 3, 7), bool)
    assert cropped(refilled(solid, (2, 1, 1), about_x)).shape == (1, 9, 7)


def test_what_turning_would_wipe_out_stays_as_it_is():
    # Their middle lies between voxels: none of those round it is more than half full.
    pair = np.array([[[True, False, False, True]]])
    np.testing.assert_array_equal(refilled(pair, (1, 1, 1), np.eye(3)), pair)


@pytest.mark.parametrize("name", ["simulated", "simulated_blurred"])
def test_a_nucleus_drawn_again_is_the_same_one_in_another_pose(name, tmp_path):
    made = list(shapes_data._simulated(blur=name == "simulated_blurred", few=4))
    for row, (voxels, _, _) in enumerate(made, start=2):
        np.testing.assert_array_equal(shapes_data.redrawn(name, row, np.eye(3)), voxels > 0)
    if name == "simulated":
        (matrix,) = uniform_rotations(np.random.default_rng(0), 1)
        own, turned = made[3][0] > 0, shapes_data.redrawn(name, 5, matrix)
        assert turned.sum() == pytest.approx(own.sum(), rel=0.02)
        # Its spread along each axis is the old one's, turned.
        spread = [np.cov(np.argwhere(one).T) for one in (own, turned)]
        np.testing.assert_allclose(matrix @ spread[0] @ matrix.T, spread[1], atol=0.05 * np.trace(spread[0]) / 3)
        assert not np.allclose(spread[0], spread[1], atol=0.05 * np.trace(spread[0]) / 3)
