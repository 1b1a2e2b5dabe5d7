"""Are sparse convolutions the dense ones, read where something is?"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from bagscope.ops import sparse
from bagscope.ops.bags import bag_mean

SHAPE = (6, 5, 7)


def batch(seed=0, share=0.3, shape=SHAPE, volumes=3, features=4):
    """Random volumes, corners and edges of the grid among their sites, and features in float64."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.rand(volumes, *shape, generator=draw) < share
    mask[:, 0, 0, 0] = mask[:, -1, -1, -1] = mask[:, 0, -1, 0] = True
    sites, _ = sparse.make_sites(mask.nonzero(), shape, volumes)
    return sites, torch.randn(len(sites), features, dtype=torch.double, generator=draw)


def dense_weight(weight, side):
    return weight.reshape(side, side, side, *weight.shape[1:]).permute(4, 3, 0, 1, 2)


def both_ways(ours, theirs, inputs):
    """Values and gradients of two functions of the same inputs."""
    found = []
    for function in (ours, theirs):
        own = [one.clone().requires_grad_() for one in inputs]
        value = function(*own)
        (value * torch.linspace(-1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)).sum().backward()
        found.append([value.detach(), *(one.grad for one in own)])
    return found


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("rows", [7, 512])
def test_a_submanifold_convolution_is_the_dense_one_at_occupied_sites(share, rows, monkeypatch):
    monkeypatch.setattr(sparse, "ROWS_AT_ONCE", rows)
    sites, features = batch(share=share)
    weight = torch.randn(27, 4, 5, dtype=torch.double)

    def dense(f, w):
        out = functional.conv3d(sparse.to_dense(f, sites), dense_weight(w, 3), padding=1)
        return sparse.from_dense(out, sites)

    for one, other in zip(
        *both_ways(lambda f, w: sparse.submanifold(f, w, sites), dense, [features, weight]), strict=True
    ):
        assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [SHAPE, (4, 4, 4), (1, 1, 3)])
def test_a_strided_convolution_is_the_dense_one_where_any_child_is(shape):
    sites, features = batch(shape=shape)
    halved = sites.halved
    weight = torch.randn(8, 4, 5, dtype=torch.double)

    def dense(f, w):
        whole = sparse.to_dense(f, sites)
        room = [side for n in reversed(shape) for side in (0, n % 2)]
        out = functional.conv3d(functional.pad(whole, room), dense_weight(w, 2), stride=2)
        return sparse.from_dense(out, halved.sites)

    for one, other in zip(
        *both_ways(lambda f, w: sparse.strided(f, w, halved), dense, [features, weight]), strict=True
    ):
        assert_close(one, other, rtol=0, atol=1e-9)


def test_gradients_agree_with_differences():
    sites, features = batch(share=0.1, shape=(3, 3, 4), volumes=2, features=2)
    weight = torch.randn(27, 2, 2, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda f, w: sparse.submanifold(f, w, sites), (features.requires_grad_(), weight))
    small = torch.randn(8, 2, 2, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda f, w: sparse.strided(f, w, sites.halved), (features, small))


def test_no_neighbour_comes_from_the_next_row_or_volume():
    place = torch.tensor([[0, 0, 0, 6], [0, 0, 1, 0], [0, 5, 4, 6], [1, 0, 0, 0]])
    sites, _ = sparse.make_sites(place, SHAPE, 2)
    table = sites.neighbours
    assert (table[:, 13] == torch.arange(4)).all()
    others = table.clone()
    others[:, 13] = 4
    assert (others == 4).all()


def test_large_grids_are_searched_and_give_the_same_tables(monkeypatch):
    sites, _ = batch()
    looked_up, halved = sites.neighbours, sites.halved.children
    monkeypatch.setattr(sparse, "LARGEST_LOOKUP", 0)
    again, _ = batch()
    assert torch.equal(again.neighbours, looked_up)
    assert torch.equal(again.halved.children, halved)


def test_a_grid_too_large_for_any_array_is_fine():
    place = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 99_999, 99_999, 99_999]])
    sites, _ = sparse.make_sites(place, (100_000, 100_000, 100_000), 1)
    assert sites.neighbours[0, 14] == 1
    assert len(sites.halved.sites) == 2


def test_tables_are_built_once():
    sites, _ = batch()
    assert sites.neighbours is sites.neighbours
    assert sites.halved is sites.halved


def test_features_of_a_volume_are_averaged_over_its_occupied_sites():
    sites, features = batch()
    assert_close(bag_mean(features, sites.lengths)[1], features[sites.place[:, 0] == 1].mean(0))


def test_features_follow_their_sites_into_order():
    place = torch.tensor([[1, 2, 0, 0], [0, 1, 1, 1], [0, 0, 4, 6]])
    sites, order = sparse.make_sites(place, SHAPE, 2)
    assert sites.place.tolist() == [[0, 0, 4, 6], [0, 1, 1, 1], [1, 2, 0, 0]]
    assert order.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("place", "shape", "volumes", "code"),
    [
        ([[0, 0, 0, 0], [0, 0, 0, 0]], SHAPE, 1, "site_twice"),
        ([[0, 0, 0, 7]], SHAPE, 1, "site_outside"),
        ([[0, -1, 0, 0]], SHAPE, 1, "site_outside"),
        ([[1, 0, 0, 0]], SHAPE, 2, "empty_volume"),
        ([[0, 0, 0]], SHAPE, 1, "sites"),
        ([[0, 0, 0, 0]], SHAPE, 0, "grid"),
    ],
)
def test_what_describes_no_volumes_is_refused(place, shape, volumes, code):
    with pytest.raises(sparse.SparseError) as caught:
        sparse.make_sites(torch.tensor(place), shape, volumes)
    assert caught.value.problem.code == code
