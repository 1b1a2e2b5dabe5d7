"""Are maps of a field the same in tiles as of the whole, and do their places fit the image?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bagscope.images.field_maps import dense_field, read_dense, relevance_maps, to_image
from bagscope.nets.bagnet import BagNet
from bagscope.nets.dense import dense_maps
from bagscope.nets.jacobian import jacobian_maps, kraus_seed
from bagscope.nets.kraus import KrausNet
from bagscope.nets.pool import make_pooling
from bagscope.ops import windows

ODDS = np.array([1.5, -0.5])


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    body = KrausNet(2, 2, bias=0.0)
    torch.nn.init.normal_(body.classifier.weight, std=0.1)
    return BagNet(body, make_pooling("noisy_and", 2), 2, none_output=True).eval()


@pytest.fixture(scope="module")
def field():
    return torch.rand(2, 700, 575, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def whole(net, field):
    seed = kraus_seed(torch.tensor(ODDS, dtype=torch.float32)[None])
    return torch.stack([one[0] for _, one in jacobian_maps(net.maps, field[None], seed, [0, 1])])


@pytest.mark.parametrize("tile", [256, 320])
def test_jacobian_maps_in_tiles_are_those_of_the_whole(net, field, whole, tile):
    tiled = relevance_maps(net, field, ODDS, tile=tile)
    assert (tiled - whole).abs().max() <= 1e-5 * whole.max()
    assert (tiled > 0).float().mean() > 0.2


def test_single_classes_are_had_alone(net, field, whole):
    found = relevance_maps(net, field, ODDS, classes=[1])
    assert found.shape == (1, 700, 575)
    torch.testing.assert_close(found[0], whole[1])


def test_a_small_field_is_one_tile(net, field):
    small = field[:, :70, :90]
    assert relevance_maps(net, small, ODDS).shape == (2, 70, 90)


@pytest.mark.parametrize("tile", [192, 256, 1024])
def test_a_dense_map_in_tiles_is_that_of_the_whole(net, field, tile):
    with torch.no_grad():
        whole = dense_maps(net.body, field[None], 8)[0]
    tiled = dense_field(net, field, tile)
    assert tiled.shape == whole.shape
    assert (tiled - whole).abs().max() <= 1e-4 * whole.abs().max()


def test_a_dense_map_is_read_at_its_elements_between_them_and_beyond_them(net):
    grid = net.body.grid
    logits = torch.arange(2 * 5 * 6, dtype=torch.float32).reshape(2, 5, 6)
    rows, columns = grid.offset + 8.0 * np.arange(5), grid.offset + 8.0 * np.arange(6)
    torch.testing.assert_close(read_dense(logits, rows[:, None], columns[None], grid), logits)
    between = read_dense(logits, np.array([grid.offset + 4]), np.array([grid.offset + 2]), grid)
    torch.testing.assert_close(between[:, 0], logits[:, 0, 0] + 0.5 * 6 + 0.25)
    beyond = read_dense(logits, np.array([-100.0, 1e6]), np.array([-100.0, 1e6]), grid)
    torch.testing.assert_close(beyond, torch.stack([logits[:, 0, 0], logits[:, -1, -1]], 1))


def test_a_map_of_one_element_is_read_everywhere():
    grid = KrausNet(1, 1).grid
    assert read_dense(torch.full((1, 1, 1), 4.0), np.arange(9), np.arange(9), grid).tolist() == [[4.0] * 9]


@pytest.mark.parametrize("scale", [1.0, 1.4, 0.5])
def test_a_spot_of_the_image_comes_back_to_its_own_pixel(scale):
    image = torch.zeros(1, 90, 70)
    image[0, 33, 41] = 1
    smooth = torch.nn.functional.avg_pool2d(image[None], 9, 1, 4)[0]
    back = to_image(windows.rescale(smooth, scale), (90, 70), scale)
    assert back.shape == image.shape
    y, x = (float((back[0].sum(1 - axis) * torch.arange(n)).sum() / back.sum()) for axis, n in ((0, 90), (1, 70)))
    assert (y, x) == pytest.approx((33, 41), abs=0.05)
