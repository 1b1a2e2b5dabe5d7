"""Is a shape laid on the grid as it is, in any pose, on any grid of voxels, whoever else is in the batch?"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from bagscope.nets.sparse3d import ShapeNet
from bagscope.ops.rotate import uniform_rotations
from bagscope.ops.solids import surroundings
from bagscope.settings.jobs import VolumesJob, make_job
from bagscope.tables.labels import Vocabulary
from bagscope.volumes.fit import LabelledShapes, bags_of
from bagscope.volumes.rows import RowShapes
from bagscope.volumes.samples import Bags, Rotations, ShapeFeed
from bagscope.volumes.shapes import FEATURES, Pose, VoxelGrid, make_shape, on_voxel_grid, voxel_grid_of
from solids_drawn import ellipsoid

STILL = Pose(np.eye(3), np.zeros(3))
TURNS = Rotations("full", 0.25, True, 0.0, 0.05, 20)


def ball(radius=6, spacing=(1.0, 1.0, 1.0), unit=False):
    radii = [radius / edge for edge in spacing]
    return make_shape(ellipsoid(radii, [2 * int(np.ceil(r)) + 3 for r in radii]), spacing, unit=unit)


def test_a_ball_is_described_as_one():
    shape = ball()
    assert shape.reach == pytest.approx(6, abs=0.6)
    assert shape.values.shape == (len(shape.points), FEATURES - 1)
    centre = np.linalg.norm(shape.points, axis=1) < 1
    assert shape.values[centre, 0].max() == pytest.approx(6.5, abs=0.8)
    # A ball is as thick everywhere as its radius.
    assert shape.values[:, 1].mean() == pytest.approx(6, abs=0.6)


def test_the_neighbourhood_of_a_flat_surface_is_half_full_and_a_corner_s_less():
    block = np.zeros((30, 30, 30), bool)
    block[:15] = True
    near = surroundings(block, (1, 1, 1), (2.0,))[0]
    assert near[14, 15, 15] == pytest.approx(0.58, abs=0.05)  # half a voxel below the surface
    assert near[14, 0, 0] < 0.35 < near[14, 15, 15]
    coarse = surroundings(block[:, ::2, ::2], (1, 2, 2), (2.0,))[0]
    assert coarse[14, 7, 7] == pytest.approx(near[14, 14, 14], abs=0.02)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (0.5, 0.5, 0.5)])
def test_a_solid_fills_the_same_cells_whatever_its_voxels_are(spacing):
    lattice = VoxelGrid(1.5, 2.0, 4.0)
    fine, _ = on_voxel_grid([ball(6, (0.5, 0.5, 0.5))], [STILL], lattice)
    other, features = on_voxel_grid([ball(6, spacing)], [STILL], lattice)
    a, b = (set(map(tuple, (one.place[:, 1:] - one.shape[0] // 2).tolist())) for one in (fine, other))
    for one, two in ((a, b), (b, a)):  # the same cells within one cell
        near = {(z + i, y + j, x + k) for z, y, x in two for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)}
        assert one <= near
    assert features.shape[1] == FEATURES
    assert torch.isfinite(features).all()


def test_a_turned_solid_has_no_holes():
    shape = ball(6)
    lattice = voxel_grid_of([shape], 12)
    for matrix in uniform_rotations(np.random.default_rng(0), 5):
        sites, _ = on_voxel_grid([shape], [Pose(matrix, np.zeros(3))], lattice)
        inside = np.linalg.norm((sites.place[:, 1:].numpy() + 0.5 - sites.shape[0] / 2) * lattice.cell, axis=1) < 4
        assert inside.sum() == sum(
            np.linalg.norm((np.array([z, y, x]) + 0.5) * lattice.cell) < 4
            for z in range(-9, 9) for y in range(-9, 9) for x in range(-9, 9)
        )  # fmt: skip


@pytest.mark.parametrize("z", [2.5, 4.0])
def test_a_solid_of_coarse_planes_has_no_holes_between_them(z):
    sites, _ = on_voxel_grid([ball(10, (z, 0.3, 0.3))], [STILL], VoxelGrid(0.3, 2.0, 4.0))
    filled = np.unique(sites.place[:, 1].numpy())
    assert len(filled) == filled.max() - filled.min() + 1


def test_a_shape_is_told_the_same_whatever_lies_beside_it():
    shape, lattice = ball(5), VoxelGrid(1.0, 2.0, 4.0)
    alone, told = on_voxel_grid([shape], [STILL], lattice)
    for radius in (3, 7, 8, 9, 12, 14, 16):
        both, features = on_voxel_grid([shape, ball(radius)], [STILL, STILL], lattice)
        own = both.place[:, 0] == 0
        torch.testing.assert_close(features[own], told)
        # The network gathers blocks of 2, 4 and 8 cells: the middle is at one place of them.
        off = both.place[own, 1:] - alone.place[:, 1:]
        assert (off == off[0]).all()
        assert (off[0] % 8 == 0).all()


def test_cells_are_as_many_as_asked_for_but_no_finer_than_voxels():
    shape = ball(6)
    assert voxel_grid_of([shape], 6).cell == pytest.approx(shape.reach / 3)
    assert voxel_grid_of([shape], 64).cell == 1
    assert voxel_grid_of([ball(6, (3.0, 0.5, 0.5))], 64).cell == 0.5


def test_unit_volume_takes_the_size_away():
    small, large = ball(5, unit=True), ball(10, unit=True)
    assert small.reach == pytest.approx(large.reach, rel=0.08)
    for shape in (small, large):
        assert len(shape.points) * np.prod(shape.spacing) == pytest.approx(1)


def test_the_batch_of_a_step_depends_on_the_step_alone_and_is_balanced():
    shapes = [[ball(r)] for r in (4, 5, 6, 7, 4.5, 5.5)]
    targets = np.eye(2)[[0, 0, 0, 0, 1, 1]]
    feed = ShapeFeed(Bags(shapes, targets, np.arange(6)), VoxelGrid(1.5, 2, 4), TURNS, 4, 16, seed=3)
    cpu = torch.device("cpu")
    one, again, other = feed.step(5, cpu), feed.step(5, cpu), feed.step(6, cpu)
    assert torch.equal(one.x[0], again.x[0])
    assert torch.equal(one.x[1].place, again.x[1].place)
    assert not (one.x[0].shape == other.x[0].shape and torch.equal(one.x[0], other.x[0]))
    assert one.target.sum(0).tolist() == [2, 2]


def test_no_bag_comes_twice_in_a_step_while_its_class_has_others():
    bags = Bags([[ball(3)] for _ in range(6)], np.eye(2)[[0, 0, 0, 1, 1, 1]], np.arange(6))
    feed = ShapeFeed(bags, VoxelGrid(1.5, 2, 4), TURNS, 6, 16, seed=3)
    for step in range(5):
        assert sorted(feed.step(step, torch.device("cpu")).rows.tolist()) == list(range(6))


def test_a_bag_gives_no_more_shapes_than_are_looked_at():
    bags = Bags([[ball(4)] * 7, [ball(5)] * 2], np.eye(2), np.arange(2))
    batch = ShapeFeed(bags, VoxelGrid(1.5, 2, 4), TURNS, 2, 3, seed=0).step(0, torch.device("cpu"))
    assert sorted(batch.lengths.tolist()) == [2, 3]
    assert batch.x[1].volumes == 5


def test_lengths_count_the_shapes_that_the_network_gives_logits_for():
    bags = Bags([[ball(4)] * 7, [ball(5)] * 2], np.eye(2), np.array([14, 15]))
    feed = ShapeFeed(bags, VoxelGrid(1.5, 2, 4), TURNS, 2, 3, seed=0)
    for batch in (feed.step(0, torch.device("cpu")), *feed.fixed(torch.device("cpu"))):
        features, sites = batch.x
        logits = ShapeNet(features.shape[1], 2).eval()(features, sites)
        assert len(logits) == batch.lengths.sum() == 5
        # Bag 14 is of the first class, bag 15 of the second.
        assert batch.target.argmax(1).tolist() == [row - 14 for row in batch.rows.tolist()]


@pytest.mark.parametrize(("reach", "mirrored"), [("full", 10), ("small", 10), ("none", 1)])
def test_the_poses_that_are_averaged_are_the_same_each_time(reach, mirrored):
    turns = Rotations(reach, 0.25, True, 0.1, 0.1, 20)
    poses = turns.evaluation()
    assert [a.matrix.tolist() for a in poses] == [b.matrix.tolist() for b in turns.evaluation()]
    assert sum(np.linalg.det(pose.matrix) < 0 for pose in poses) == mirrored
    for pose in poses:
        np.testing.assert_allclose(pose.matrix @ pose.matrix.T, np.eye(3), atol=1e-9)
    # Shifted by a block of the network's, and where the frame counts by three cells.
    trained = [turns.sample(np.random.default_rng(seed)) for seed in range(50)]
    for shifts in (np.stack([pose.shift for pose in own]) for own in (poses, trained)):
        most = 4.0 if reach == "full" else 1.5
        assert 0.3 * most * (len(shifts) > 2) <= np.abs(shifts).max() <= most
    if reach == "small":
        turned = [pose.matrix * [1, 1, np.linalg.det(pose.matrix)] for pose in poses]
        # Angles about three axes, one and a half times as wide as in training.
        angle = np.mean([np.arccos((np.trace(one) - 1) / 2) for one in turned])
        assert angle == pytest.approx(1.5 * 0.25 * np.sqrt(8 / np.pi), rel=0.2)
        # Every rotation comes with its opposite: the given pose is their middle.
        np.testing.assert_allclose(turned[0] @ turned[1], np.eye(3), atol=1e-9)


def test_the_measures_of_a_bag_are_the_mean_over_its_shapes():
    def row(*values):
        solids = tuple(SimpleNamespace(shape=value, measures={"volume": value, "area": -value}) for value in values)
        return RowShapes(solids, "", ())

    table = pd.DataFrame({"plate": "P", "well": ["A01", "A01", "A02"], "site": ["1", "2", "1"], "group": ""})
    table = table.assign(label=["a", "a", "b"], row=[2, 3, 4])
    rows = LabelledShapes(table, (row(1.0, 2.0), row(6.0), row(5.0)), ((1.0, 1.0, 1.0),) * 3)
    job = make_job(VolumesJob, None, {"bags.by": "well"})
    bags, _, means = bags_of(rows, Vocabulary(("a", "b"), False, False), job)
    assert [list(shapes) for shapes in bags.shapes] == [[1.0, 2.0, 6.0], [5.0]]
    np.testing.assert_allclose(means, [[3.0, -3.0], [5.0, -5.0]])
