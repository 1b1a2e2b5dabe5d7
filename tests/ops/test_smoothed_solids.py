"""Does a smoothed solid keep its volume, lose its stairs, and stay the same from every side?"""

import numpy as np
import pytest
from scipy import ndimage

from bagscope.ops.rotate import uniform_rotations
from bagscope.ops.solids import smoothed, surroundings
from bagscope.reproduce.shapes_turned import refilled
from bagscope.synth.nuclei import draw_nucleus

SIGMA = 0.7


def nucleus():
    return draw_nucleus(np.random.default_rng(7), "narrow")


def unevenness(mask):
    """Spread of how full the neighbourhood is along the surface, on the scale of a voxel or two."""
    edge = mask & ~ndimage.binary_erosion(mask)
    return float(surroundings(mask, (1, 1, 1), (1.3,))[0][edge].std())


def test_the_volume_stays():
    mask = nucleus()
    assert smoothed(mask, SIGMA).sum() == pytest.approx(mask.sum(), rel=0.01)
    alone = np.ones((1, 1, 1), bool)
    assert smoothed(alone, SIGMA).sum() == 1


def test_without_width_it_stays_as_it_is():
    mask = nucleus()
    np.testing.assert_array_equal(smoothed(mask, 0), mask)


def test_a_block_stays_a_block():
    block = np.ones((5, 6, 7), bool)
    found = smoothed(block, SIGMA)
    np.testing.assert_array_equal(found[3:-3, 3:-3, 3:-3], block)
    assert found.sum() == block.sum()


def test_it_is_the_same_from_every_side():
    mask = nucleus()
    np.testing.assert_array_equal(
        smoothed(np.rot90(mask, 1, (0, 2)), SIGMA), np.rot90(smoothed(mask, SIGMA), 1, (0, 2))
    )


def test_a_voxel_off_the_surface_is_taken_in():
    block = np.zeros((12, 12, 12), bool)
    block[2:10, 2:10, 2:8] = True
    loose, pit = (5, 5, 11), (5, 5, 7)
    block[loose], block[pit] = True, False
    found = smoothed(block, SIGMA)[3:-3, 3:-3, 3:-3]
    assert not found[loose]
    assert found[pit]


def test_voxels_that_were_filled_anew_are_more_like_the_first_ones():
    # Linear interpolation takes stairs off, too: without them on either side there is less to tell.
    given = nucleus()
    turned = [refilled(given, (1, 1, 1), turn) for turn in uniform_rotations(np.random.default_rng(0), 4)]
    change = [np.mean([unevenness(smoothed(one, s)) - unevenness(smoothed(given, s)) for one in turned])
              for s in (0, SIGMA)]  # fmt: skip
    assert abs(change[1]) < 0.75 * abs(change[0])
