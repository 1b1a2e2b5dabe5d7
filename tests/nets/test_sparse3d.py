"""Do networks on occupied voxels judge shapes as dense ones would, whatever else is in the batch?"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from bagscope.nets import sparse3d
from bagscope.nets.sparse3d import ShapeNet, StridedConv3d, SubmanifoldConv3d
from bagscope.ops.sparse import make_sites


def batch(share, volumes=3, side=9, features=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    mask = torch.rand(volumes, side, side, side, generator=draw) < share
    mask[:, 4, 4, 4] = True
    sites, _ = make_sites(mask.nonzero(), (side,) * 3, volumes)
    return sites, torch.randn(len(sites), features, dtype=torch.double, generator=draw)


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_the_dense_way_gives_the_same(share, monkeypatch):
    sites, features = batch(share)
    layer = SubmanifoldConv3d(4, 6).double()
    found = layer(features, sites)
    monkeypatch.setattr(sparse3d, "DENSE_FROM", 2.0 if share > 0.5 else 0.0)
    assert_close(layer(features, sites), found, rtol=0, atol=1e-9)


def test_layers_start_with_the_spread_that_rectifiers_need():
    torch.manual_seed(0)
    sites, _ = batch(1.0, side=12)
    features = torch.randn(len(sites), 32, dtype=torch.double)
    assert SubmanifoldConv3d(32, 64).double()(features, sites).detach().var() == pytest.approx(2, rel=0.25)
    assert StridedConv3d(32, 64).double()(features, sites.halved).detach().var() == pytest.approx(2, rel=0.25)


def test_twelve_layers_stand_behind_a_call():
    net = ShapeNet(3, 2)
    layers = [m for m in net.modules() if isinstance(m, SubmanifoldConv3d | StridedConv3d)]
    assert len(layers) == 12


def test_a_shape_is_judged_by_itself():
    net = ShapeNet(4, 2).double().eval()
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        norm.running_mean.normal_()
    sites, features = batch(0.2)
    together = net(features, sites)
    for at in range(3):
        mine = sites.place[:, 0] == at
        place = sites.place[mine].clone()
        place[:, 0] = 0
        alone, order = make_sites(place, sites.shape, 1)
        assert_close(net(features[mine][order], alone)[0], together[at])


def test_a_shape_that_is_moved_by_whole_blocks_is_the_same_shape():
    net = ShapeNet(2, 2).double().eval()
    place = torch.tensor([[0, z, y, x] for z in range(3) for y in range(4) for x in range(2)])
    features = torch.randn(len(place), 2, dtype=torch.double)
    here, _ = make_sites(place, (32, 32, 32), 1)
    there, _ = make_sites(place + torch.tensor([0, 8, 16, 8]), (32, 32, 32), 1)
    assert_close(net(features, here), net(features, there))


def test_it_learns_to_tell_rods_from_slabs():
    torch.manual_seed(0)
    net, optimiser = ShapeNet(1, 1, widths=(8, 12), dropout=0.0), None
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    draw = torch.Generator().manual_seed(1)

    def shapes(count):
        places, labels = [], []
        for at in range(count):
            label = at % 2
            size = torch.tensor([12, 2, 2] if label else [2, 5, 5])[torch.randperm(3, generator=draw)]
            corner = torch.randint(0, 4, (3,), generator=draw)
            block = torch.cartesian_prod(*[torch.arange(int(n)) for n in size]) + corner
            places.append(torch.cat([torch.full((len(block), 1), at), block], 1))
            labels.append(float(label))
        sites, _ = make_sites(torch.cat(places), (16, 16, 16), count)
        return sites, torch.ones(len(sites), 1), torch.tensor(labels)[:, None]

    for _ in range(40):
        sites, features, labels = shapes(16)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(features, sites), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    sites, features, labels = shapes(20)
    net.eval()
    assert ((net(features, sites) > 0) == (labels > 0)).all()


def test_a_description_ends_with_the_means_and_the_largest_of_the_last_features():
    torch.manual_seed(0)
    net, last = ShapeNet(4, 2, widths=(5, 6)).double().eval(), 6
    sites, features = batch(0.2)
    described = net.embed(features, sites)
    means, largest = described[:, -2 * last : -last], described[:, -last:]
    assert (largest >= means).all()
    assert (largest > means + 1e-3).any()
    one, order = make_sites(torch.tensor([[0, 2, 2, 2]]), (9, 9, 9), 1)
    single = net.embed(features[:1][order], one)
    assert_close(single[:, -2 * last : -last], single[:, -last:])  # a single site is its own mean
