"""Are balls, rings and boxes measured as geometry says?"""

from __future__ import annotations

import numpy as np
import pytest

from bagscope.classical.mesh import surface
from bagscope.classical.morphometry import rich_measures

AXES = np.stack(np.meshgrid(*[np.arange(48) - 23.7] * 3, indexing="ij"))


def ball(radius, scale=(1.0, 1.0, 1.0)):
    return np.linalg.norm(AXES * np.array(scale)[:, None, None, None], axis=0) <= radius


def ring(large=13, small=5):
    return (np.hypot(AXES[1], AXES[2]) - large) ** 2 + AXES[0] ** 2 <= small**2


def test_a_ball_has_the_measures_of_a_ball():
    found = rich_measures(ball(14))
    assert found["volume"] == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.02)
    assert found["area"] == pytest.approx(4 * np.pi * 14**2, rel=0.02)
    assert found["mean_curvature"] == pytest.approx(1 / 14, rel=0.03)
    assert found["curvedness"] == pytest.approx(1 / 14, rel=0.1)
    assert found["shape_index"] > 0.85
    assert found["fractal_dimension"] == pytest.approx(2, abs=0.35)


def test_spacing_is_honoured():
    flat = np.linalg.norm(AXES[:, ::4] * np.array([1, 1, 1])[:, None, None, None], axis=0) <= 14
    found = rich_measures(flat, (4.0, 1.0, 1.0))
    assert found["volume"] == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.05)
    assert rich_measures(ball(14), (0.5, 0.5, 0.5))["mean_curvature"] == pytest.approx(2 / 14, rel=0.03)


def test_boxes_of_the_fractal_dimension_are_cubes_in_um():
    # Boxes begin a voxel before the array: here at the sheet's edge.
    sheet = np.zeros((9, 33, 33), bool)
    sheet[7, 15:31, 15:31] = True
    assert rich_measures(sheet)["fractal_dimension"] == pytest.approx(2)
    # Boxes of 4, 8, 16 and 32 um hold it in 16, 4, 1 and 1 of them.
    slope = np.polyfit(np.log([4, 8, 16, 32]), np.log([16, 4, 1, 1]), 1)[0]
    assert rich_measures(sheet, (4.0, 1.0, 1.0))["fractal_dimension"] == pytest.approx(-slope)


def test_holes_components_and_hollows_are_counted():
    assert surface(ball(12)).genus == 0
    assert surface(ring()).genus == 1
    both = np.zeros((40, 90, 50), bool)
    both[:, :48, :48] |= ring()[4:44]
    both[10:20, 70:80, 20:30] = True
    mesh = surface(both)
    assert (mesh.components, mesh.genus) == (2, 1)
    found = rich_measures(both)
    assert (found["components"], found["euler"], found["genus"]) == (2, 1, 1)
    hollow = ball(14) & ~ball(7)
    assert (surface(hollow).components, surface(hollow).genus) == (2, 0)
    assert surface(hollow).volume == pytest.approx(4 / 3 * np.pi * (14**3 - 7**3), rel=0.03)


def test_a_ring_has_a_saddle_inside_and_a_cap_outside():
    large, small, share = surface(ring()).curvatures
    assert share.sum() == pytest.approx(1)
    assert np.quantile(large, 0.5) == pytest.approx(1 / 5, rel=0.1)
    assert small.min() < -0.08
    assert small.max() > 0.03
    # Over a closed surface Gauss curvature adds up to 2 pi times the Euler characteristic: 0 for a ring.
    mesh = surface(ring())
    assert abs((large * small * share).sum() * mesh.area) < 1.0


def test_axes_and_hull_tell_shapes_apart():
    found = rich_measures(ball(16, (2.0, 1.0, 1.0)))
    assert found["axis_1"] == pytest.approx(16, rel=0.05)
    assert found["axis_3"] == pytest.approx(8, rel=0.05)
    assert found["flatness"] == pytest.approx(0.5, rel=0.05)
    assert found["solidity"] == pytest.approx(1, abs=0.02)
    assert rich_measures(ring())["solidity"] < 0.8
    assert rich_measures(ball(14))["sphericity"] == pytest.approx(1, abs=0.02)


def test_turning_changes_little_and_mirroring_nothing_that_matters():
    mask = ball(15, (1.6, 1.0, 1.2))
    mask[20:28, 5:12, 20:28] = False
    one = rich_measures(mask)
    turned = rich_measures(np.rot90(mask, axes=(0, 2)).copy())
    for name, value in one.items():
        if not name.startswith("harmonic_"):
            assert turned[name] == pytest.approx(value, rel=0.03, abs=0.05), name
    for degree in range(2, 6):
        assert turned[f"harmonic_{degree}"] == pytest.approx(one[f"harmonic_{degree}"], abs=0.06)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1), (1, 4, 4), (3, 3, 3)])
def test_tiny_solids_have_finite_measures(shape):
    mask = np.zeros((8, 8, 8), bool)
    mask[tuple(slice(2, 2 + n) for n in shape)] = True
    assert all(np.isfinite(value) for value in rich_measures(mask).values())
