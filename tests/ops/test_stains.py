"""Does a change of stains act on each stain alone, by its own colour?"""

import numpy as np
import pytest
from skimage.color import rgb_from_hed

from bagscope.ops.stains import jitter_stains

NONE, ONE = np.zeros(3), np.ones(3)


def stained(amounts):
    """An image (3, 2, 2) of amounts of haematoxylin, eosin and residue, by Lambert and Beer's law."""
    rgb = np.exp(-np.asarray(amounts, float) @ rgb_from_hed)
    return np.broadcast_to(rgb[:, None, None], (3, 2, 2)).astype(np.float32)


def test_an_image_whose_stains_do_not_change_stays_as_it_is():
    rgb = np.random.default_rng(0).uniform(0.05, 1, (3, 6, 7)).astype(np.float32)
    assert jitter_stains(rgb, ONE, NONE) == pytest.approx(rgb, abs=1e-5)


@pytest.mark.parametrize("stain", range(3))
def test_a_gain_and_an_offset_change_the_amount_of_their_own_stain(stain):
    amounts = np.array([0.5, 0.3, 0.2])
    gains, offsets, changed = ONE.copy(), NONE.copy(), amounts.copy()
    gains[stain], offsets[stain] = 1.5, 0.1
    changed[stain] = 1.5 * amounts[stain] + 0.1
    assert jitter_stains(stained(amounts), gains, offsets) == pytest.approx(stained(changed), abs=1e-5)


def test_black_pixels_and_less_light_than_none_stay_within_the_range_of_images():
    jittered = jitter_stains(np.zeros((3, 2, 2), np.float32), ONE, np.full(3, -20.0))
    assert jittered.dtype == np.float32
    assert jittered.min() >= 0
    assert jittered.max() <= 1
