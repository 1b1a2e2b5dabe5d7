"""Are rotations rotations, evenly spread, and do turned shapes keep what they hold?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from bagscope.ops.rotate import (
    from_quaternions,
    into_cells,
    small_rotations,
    spread_rotations,
    spread_shifts,
    uniform_rotations,
)
from bagscope.ops.sparse import SparseError


def angles(rotations):
    return np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))


@pytest.mark.parametrize(
    "rotations",
    [
        uniform_rotations(np.random.default_rng(0), 50),
        small_rotations(np.random.default_rng(0), 50, 0.3),
        spread_rotations(20),
    ],
)
def test_rotations_keep_lengths_and_hands(rotations):
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.linalg.det(rotations), 1)


def test_quaternions_are_those_of_scipy():
    q = np.random.default_rng(0).standard_normal((30, 4))
    assert np.allclose(from_quaternions(q), Rotation.from_quat(q[:, [1, 2, 3, 0]]).as_matrix())


def test_uniform_ones_have_the_angles_of_the_uniform_law():
    found = np.sort(angles(uniform_rotations(np.random.default_rng(1), 20_000)))
    law = (found - np.sin(found)) / np.pi  # share of rotations by less than this angle
    assert np.abs(law - np.arange(1, 20_001) / 20_000).max() < 0.015


def test_small_ones_are_small_and_none_at_zero():
    assert angles(small_rotations(np.random.default_rng(0), 2000, 0.1)).mean() == pytest.approx(0.16, abs=0.01)
    assert np.allclose(small_rotations(np.random.default_rng(0), 3, 0.0), np.eye(3))


def test_spread_ones_are_further_apart_than_random_ones():
    def nearest(rotations):
        between = np.einsum("aij,bij->ab", rotations, rotations)
        np.fill_diagonal(between, -1)
        return np.arccos(np.clip((between.max(1) - 1) / 2, -1, 1)).min()

    random = max(nearest(uniform_rotations(np.random.default_rng(seed), 20)) for seed in range(20))
    assert nearest(spread_rotations(20)) > random
    # Together they turn any direction into all others: their mean is nearly nothing.
    assert np.abs(spread_rotations(200).mean(0)).max() < 0.05


def test_points_are_counted_and_averaged_in_their_cells():
    points = torch.tensor([[0.1, 0.1, 0.1], [0.9, 0.2, 0.3], [-0.1, 0.0, 0.0], [50.0, 0, 0]], dtype=torch.double)
    values = torch.tensor([[1.0], [3.0], [7.0], [9.0]], dtype=torch.double)
    sites, features = into_cells(points, values, torch.zeros(4, dtype=torch.long), 1.0, 8)
    assert sites.place.tolist() == [[0, 3, 4, 4], [0, 4, 4, 4]]
    assert features.tolist() == [[1 / 1.5, 7.0], [2 / 1.5, 2.0]]


def test_volumes_stay_apart_and_one_beyond_the_grid_is_refused():
    points = torch.zeros(2, 3)
    sites, _ = into_cells(points, torch.ones(2, 1), torch.tensor([0, 1]), 1.0, 4)
    assert sites.place.tolist() == [[0, 2, 2, 2], [1, 2, 2, 2]]
    points[0] = 99
    with pytest.raises(SparseError, match="volume 0 of 2 has no"):
        into_cells(points, torch.ones(2, 1), torch.tensor([0, 1]), 1.0, 4)


def test_a_turned_ball_is_the_same_ball():
    axes = np.stack(np.meshgrid(*[np.arange(21) - 10] * 3, indexing="ij"), -1)
    ball = torch.from_numpy(axes[np.linalg.norm(axes, axis=-1) <= 8].astype(float))
    counts = []
    for turn in spread_rotations(6):
        sites, _ = into_cells(ball @ torch.from_numpy(turn).T, ball[:, :1], torch.zeros(len(ball), dtype=int), 2.0, 16)
        counts.append(len(sites))
    assert max(counts) - min(counts) < 0.12 * np.mean(counts)


def test_shifts_are_spread_and_begin_with_none():
    shifts = spread_shifts(512)
    assert (shifts[0] == 0).all()
    assert np.abs(shifts).max() <= 0.5
    # In every eighth of each axis there are 64, but for a few; the worst of as many by chance is off by a dozen.
    for axis in range(3):
        assert np.abs(np.histogram(shifts[:, axis], 8, (-0.5, 0.5))[0] - 64).max() <= 8
    root = 1.2207440846057596
    assert root**4 == pytest.approx(root + 1)
