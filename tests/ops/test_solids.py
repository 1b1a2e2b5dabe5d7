"""Do depth and thickness measure balls and plates as geometry does?"""

from __future__ import annotations

import numpy as np
import pytest

from bagscope.ops.solids import depth, local_thickness


def ball(radius, side=31):
    axes = np.stack(np.meshgrid(*[np.arange(side) - side // 2] * 3, indexing="ij"))
    return np.linalg.norm(axes, axis=0) <= radius


def test_depth_reaches_the_radius_and_knows_the_edge_of_the_grid():
    assert depth(ball(10)).max() == pytest.approx(10.5, abs=0.6)
    assert depth(np.ones((3, 3, 3), bool))[1, 1, 1] == 2
    assert depth(np.ones((3, 3, 3), bool))[0, 0, 0] == 1


def test_depth_counts_in_the_unit_of_the_spacing():
    assert depth(np.ones((3, 9, 9), bool), (5.0, 1.0, 1.0))[1, 4, 4] == 5


def test_a_ball_is_as_thick_as_itself_everywhere():
    mask = ball(10)
    thick = local_thickness(mask)
    assert np.median(thick[mask]) == pytest.approx(depth(mask).max())
    assert (thick[~mask] == 0).all()


def test_a_thin_plate_on_a_ball_is_thin():
    mask = ball(8)
    mask[14:17] = True
    thick = local_thickness(mask)
    assert thick[15, 2, 2] == pytest.approx(2, abs=0.7)
    assert thick[15, 15, 15] == pytest.approx(depth(mask).max())


def test_thickness_is_never_less_than_depth_by_more_than_a_step():
    rng = np.random.default_rng(0)
    mask = ball(9) & (rng.random((31, 31, 31)) < 0.995)
    inside, thick = depth(mask), local_thickness(mask)
    assert (thick[mask] >= inside[mask] - inside.max() / 12 - 1e-9).all()
