"""Does a map that is sure of a few pixels find all of what they belong to, by their grey values?"""

from __future__ import annotations

import numpy as np
import pytest

from bagscope.ops.regions import iou
from bagscope.ops.seed_fit import SeedError, Sure, seed_fit, sure_from_blank

SURE = Sure(0.01, 0.5)


def disc(px=96, radius=30, noise=0.2, seed=0):
    """A bright disc, a map that is sure of its middle and of the corners, and where the disc is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:px, :px] - px / 2
    inside = np.hypot(y, x) < radius
    grey = np.stack(
        [inside + noise * rng.standard_normal((px, px)), 3 * inside + noise * rng.standard_normal((px, px))]
    )
    found = np.where(np.hypot(y, x) < radius / 3, 1.0, np.where(np.hypot(y, x) > 1.3 * radius, 0.0, 0.1))
    return found, grey, inside


@pytest.mark.parametrize("noise", [0.05, 0.3, 0.6])
def test_seeds_in_the_middle_give_the_whole_disc(noise):
    found, grey, inside = disc(noise=noise)
    assert iou(found > SURE.foreground, inside) < 0.2  # the map alone is far from it
    assert iou(seed_fit(found, grey, SURE) > 0, inside) > 0.97


def test_neighbours_mend_what_single_pixels_get_wrong():
    found, grey, inside = disc(noise=1.2)
    single = iou(seed_fit(found, grey, SURE, coupling=0.0) > 0, inside)
    together = iou(seed_fit(found, grey, SURE) > 0, inside)
    assert single < 0.92 < together


def test_scaling_the_map_with_its_limits_and_bending_a_channel_change_nothing():
    found, grey, _ = disc()
    plain = seed_fit(found, grey, SURE)
    np.testing.assert_array_equal(seed_fit(found * 1e-6, grey, Sure(0.01e-6, 0.5e-6)), plain)
    bent = np.stack([np.exp(grey[0]), 5 * grey[1] + 3])
    np.testing.assert_allclose(seed_fit(found, bent, SURE), plain, atol=1e-4)


def test_an_image_turned_is_an_answer_turned():
    found, grey, _ = disc()
    turned = seed_fit(np.rot90(found), np.rot90(grey, axes=(1, 2)), SURE)
    np.testing.assert_allclose(turned, np.rot90(seed_fit(found, grey, SURE)), atol=1e-4)


def test_without_a_sure_pixel_of_foreground_nothing_is_foreground():
    found, grey, _ = disc()
    assert (seed_fit(np.minimum(found, 0.4), grey, SURE) == -np.inf).all()


def test_without_a_sure_pixel_of_background_the_map_decides():
    found, grey, _ = disc()
    high = found + 0.2
    np.testing.assert_array_equal(seed_fit(high, grey, SURE) > 0, high > SURE.foreground)


def test_a_channel_of_one_grey_value_tells_nothing():
    found, grey, _ = disc()
    flat = np.concatenate([grey, np.full_like(grey[:1], 7.0)])
    np.testing.assert_allclose(seed_fit(found, flat, SURE), seed_fit(found, grey, SURE), atol=0.2)
    assert ((seed_fit(found, flat, SURE) > 0) == (seed_fit(found, grey, SURE) > 0)).mean() > 0.999


def test_blank_pixels_say_what_is_sure():
    sure = sure_from_blank(np.arange(1001.0).reshape(7, 143))
    assert sure == Sure(500.0, 990.0)


@pytest.mark.parametrize(
    ("found", "grey", "said"),
    [
        (np.zeros((5, 5)), np.zeros((2, 5, 6)), "shape|map of"),
        (np.zeros((5, 5)), np.zeros((5, 5)), "map of"),
        (np.full((5, 5), np.nan), np.zeros((1, 5, 5)), "NaN"),
        (np.zeros((5, 5)), np.full((1, 5, 5), np.inf), "NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_refused(found, grey, said):
    with pytest.raises(SeedError, match=said):
        seed_fit(found, grey, SURE)
