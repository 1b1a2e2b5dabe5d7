"""Does the U-Net judge every pixel of images of any size, by what lies within its reach?"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from bagscope.nets.unet import UNet


@pytest.fixture
def net():
    torch.manual_seed(0)
    return UNet(2, 3, (4, 6, 8)).double().eval()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 5), (4, 4)])
def test_every_pixel_of_any_size_has_its_logits(net, size):
    assert net(torch.rand(2, 2, *size, dtype=torch.double)).shape == (2, 3, *size)


def test_beyond_its_reach_nothing_has_a_part(net):
    torch.nn.init.normal_(net.last.weight)
    x = torch.rand(1, 2, 160, 160, dtype=torch.double)
    other = x.clone()
    other[:, :, : 80 - net.reach] = 9.0
    other[:, :, 81 + net.reach :] = -9.0
    assert_close(net(x)[:, :, 80], net(other)[:, :, 80], rtol=0, atol=1e-12)
    nearer = x.clone()
    nearer[:, :, 60:78] = 9.0
    assert (net(x)[:, :, 80] - net(nearer)[:, :, 80]).abs().max() > 1e-6


def test_training_starts_at_the_given_shares():
    torch.manual_seed(0)
    net = UNet(1, 2, (4, 8), shares=(0.9, 0.1)).eval()
    mean = torch.softmax(net(torch.rand(1, 1, 16, 16)), 1).mean((0, 2, 3))
    assert mean.tolist() == pytest.approx([0.9, 0.1], abs=0.05)


def test_it_learns_an_edge():
    torch.manual_seed(0)
    net = UNet(1, 2, (4, 8))
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(60):
        draw = torch.Generator().manual_seed(step)
        x = torch.zeros(4, 1, 24, 24)
        at = torch.randint(6, 18, (4,), generator=draw)
        for one, edge in zip(x, at, strict=True):
            one[:, :, int(edge) :] = 1.0
        target = (x[:, 0] > 0.5).long()
        noisy = x + 0.3 * torch.randn(x.shape, generator=draw)
        loss = torch.nn.functional.cross_entropy(net(noisy), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    assert (net(noisy).argmax(1) == target).float().mean() > 0.97
