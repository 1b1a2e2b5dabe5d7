"""The network of Kraus, Ba and Frey."""

import pytest
import torch

from bagscope.nets import NETWORKS
from bagscope.nets.kraus import KrausNet


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_scores_of_a_batch_equal_those_of_its_images_one_by_one(dtype, limit):
    torch.manual_seed(0)
    net = KrausNet(3, 4).to(dtype).eval()
    images = torch.randn(5, 3, 130, 160, dtype=dtype)
    with torch.no_grad():
        together = net(images)
        alone = torch.cat([net(image[None]) for image in images])
    assert float((together - alone).abs().max() / together.abs().max()) <= limit


def test_the_plain_network_has_the_papers_weights():
    # sum over layers of inputs x outputs x kernel + outputs, by hand for 3 channels and 12 classes
    by_hand = (3 * 32 * 9 + 32) + (32 * 64 * 9 + 64) + (64 * 64 * 25 + 64) + (64 * 128 * 9 + 128)
    by_hand += (128 * 128 * 9 + 128) + (128 * 1000 + 1000) + (1000 * 12 + 12)
    assert sum(p.numel() for p in KrausNet(3, 12, batch_norm=False).parameters()) == by_hand


def test_maps_start_near_the_bias_so_that_bags_start_near_the_rise():
    torch.manual_seed(0)
    with torch.no_grad():
        logits = KrausNet(2, 2, bias=-3.0).train()(torch.randn(4, 2, 191, 191))
    assert float(logits.mean()) == pytest.approx(-3, abs=0.5)


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    net = KrausNet(1, 2, dropout_pool=0.2, dropout_last=0.5)
    image = torch.randn(2, 1, 100, 100)
    with torch.no_grad():
        assert not torch.equal(net(image), net(image))
        net.eval()
        assert torch.equal(net(image), net(image))


def test_it_is_found_by_name():
    assert NETWORKS.load("kraus") is KrausNet
