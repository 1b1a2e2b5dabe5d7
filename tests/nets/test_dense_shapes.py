"""Does the dense network for shapes see all of a shape, and nothing but the shape?"""

import torch

from bagscope.nets.dense3d import DenseShapeNet
from bagscope.ops.sparse import make_sites


def embed(net, place, features, side):
    sites, order = make_sites(place, (side,) * 3, 2)
    with torch.no_grad():
        return net.embed(features[order], sites)


def untrained():
    torch.manual_seed(0)
    net = DenseShapeNet(2, 3).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return net


def solids(side):
    """Two blocks of different sizes, the second of which touches the far end of the grid, with random features."""
    rng = torch.Generator().manual_seed(1)
    mask = torch.zeros(2, side, side, side, dtype=torch.bool)
    mask[0, 3:8, 2:9, 4:6] = True
    mask[1, side - 4 :, side - 6 :, side - 3 :] = True
    place = mask.nonzero()
    return place, torch.rand(len(place), 2, generator=rng)


def test_empty_room_round_a_shape_does_not_change_its_description():
    net, (place, features) = untrained(), solids(16)
    torch.testing.assert_close(embed(net, place, features, 32), embed(net, place, features, 16))


def test_the_last_plane_of_an_odd_grid_is_seen():
    net, (place, features) = untrained(), solids(13)
    for side in (0, 1, 2):
        last = (place[:, 1 + side] == 12)[:, None]
        changed = embed(net, place, torch.where(last, features + 1, features), 13)
        assert not torch.allclose(changed[1], embed(net, place, features, 13)[1])
