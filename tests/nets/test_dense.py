"""Do the same weights give a finer map that agrees with the coarse one?"""

from __future__ import annotations

import pytest
import torch

from bagscope.errors import SettingsError
from bagscope.nets.dense import dense_maps
from bagscope.nets.kraus import KrausNet


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(1)
    return KrausNet(2, 3, bias=0.0).double().eval()


@pytest.mark.parametrize("jump", [32, 16, 8, 4])
@pytest.mark.parametrize("shape", [(63, 63), (94, 95), (200, 173), (130, 257)])
def test_every_coarse_element_is_an_element_of_the_finer_map(net, jump, shape):
    x = torch.randn(1, 2, *shape, dtype=torch.float64)
    with torch.no_grad():
        coarse, fine = net(x), dense_maps(net, x, jump)
    step = 32 // jump
    picked = fine[:, :, ::step, ::step][:, :, : coarse.shape[2], : coarse.shape[3]]
    assert picked.shape == coarse.shape
    assert (picked - coarse).abs().max() <= 1e-12 * coarse.abs().max()


@pytest.mark.parametrize("jump", [16, 8, 4])
def test_an_image_moved_by_the_jump_moves_the_inner_map_by_one_element(net, jump):
    x = torch.randn(1, 2, 320, 320, dtype=torch.float64)
    with torch.no_grad():
        here, moved = dense_maps(net, x, jump), dense_maps(net, x[:, :, jump:, :], jump)
    margin = 135 // jump + 1  # elements that see the border differ
    inner = slice(margin, moved.shape[2] - margin)
    assert torch.allclose(here[:, :, 1:][:, :, inner], moved[:, :, inner], rtol=1e-9, atol=1e-12)


def test_an_unknown_jump_is_refused(net):
    with pytest.raises(SettingsError, match="every 5 pixels"):
        dense_maps(net, torch.zeros(1, 2, 64, 64, dtype=torch.float64), 5)
