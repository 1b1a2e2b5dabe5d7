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


def normalised(**options):
    """A network in evaluation mode whose normalisations have something to do."""
    torch.manual_seed(0)
    net = KrausNet(2, 3, **options).double()
    for layer in net.trunk:
        if isinstance(layer, torch.nn.BatchNorm2d):
            for values, (low, high) in [
                (layer.running_mean, (-1, 1)),
                (layer.running_var, (0.5, 2)),
                (layer.weight.data, (-2, 2)),
                (layer.bias.data, (-1, 1)),
            ]:
                values.uniform_(low, high)
    return net.eval()


@pytest.mark.parametrize(
    "options", [{}, {"batch_norm": False}, {"dropout_pool": 0.2, "dropout_last": 0.5}], ids=["norm", "plain", "dropout"]
)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_scores_without_gradients_are_those_of_the_layers_one_by_one(options, dtype, limit):
    net = normalised(**options).to(dtype)
    images = torch.randn(2, 2, 100, 131, dtype=dtype)
    before = images.clone()
    with torch.no_grad():
        maps, expected = net(images), net.classifier(net.trunk(images))
    assert float((maps - expected).abs().max() / expected.abs().max()) <= limit
    assert torch.equal(images, before)


def test_a_largest_value_that_is_rectified_is_the_papers_rectified_largest_value():
    net = normalised()
    layers = list(net.trunk)
    for at, layer in enumerate(net.trunk):
        if isinstance(layer, torch.nn.MaxPool2d):
            layers[at], layers[at + 1] = layers[at + 1], layer
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds[5:9] == ["BatchNorm2d", "RectifiedReLU", "MaxPool2d", "Conv2d"]
    assert kinds.count("MaxPool2d") == 4
    images = torch.randn(2, 2, 100, 131, dtype=torch.float64)
    gradients = []
    for trunk in (net.trunk, torch.nn.Sequential(*layers)):
        x = images.clone().requires_grad_()
        net.classifier(trunk(x)).square().sum().backward()
        gradients.append((x.grad, *(p.grad.clone() for p in net.parameters())))
        net.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert float(gradients[0][0].abs().max()) > 0


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
