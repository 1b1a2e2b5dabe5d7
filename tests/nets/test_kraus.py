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


def test_the_layers_are_the_papers():
    kinds = []
    for layer in [*KrausNet(3, 12, batch_norm=False).trunk, KrausNet(3, 12).classifier]:
        if isinstance(layer, torch.nn.Conv2d):
            assert layer.stride == (1, 1)
            assert [2 * p + 1 for p in layer.padding] == list(layer.kernel_size)  # "same"
            kinds.append(("conv", layer.kernel_size[0], layer.out_channels))
        elif isinstance(layer, torch.nn.AvgPool2d | torch.nn.MaxPool2d):
            assert (layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode) == (3, 2, 0, False)
            kinds.append("average" if isinstance(layer, torch.nn.AvgPool2d) else "maximum")
    assert kinds == [
        "average", ("conv", 3, 32), ("conv", 3, 64), "maximum", ("conv", 5, 64), "maximum", ("conv", 3, 128),
        "maximum", ("conv", 3, 128), "maximum", ("conv", 1, 1000), ("conv", 1, 12),
    ]  # fmt: skip


def test_each_hidden_convolution_is_followed_by_one_normalisation_if_any_and_one_rectifier():
    for batch_norm in (True, False):
        names = [type(layer).__name__ for layer in KrausNet(3, 12, batch_norm=batch_norm).trunk]
        assert names.count("BatchNorm2d") == 6 * batch_norm
        assert names.count("RectifiedReLU") == names.count("Conv2d") == 6
        assert names[-1] == "RectifiedReLU"


@pytest.mark.parametrize("batch_norm", [True, False])
def test_weights_start_as_he_and_others_say_and_biases_at_0(batch_norm):
    torch.manual_seed(0)
    net = KrausNet(3, 12, batch_norm=batch_norm, bias=-2.5)
    for layer in (m for m in net.trunk if isinstance(m, torch.nn.Conv2d)):
        seen = layer.in_channels * layer.kernel_size[0] ** 2
        # The least layer has 864 weights: their sd is known to 2.4 %.
        assert layer.weight.std().item() == pytest.approx((2 / seen) ** 0.5, rel=0.1)
        assert (layer.bias is None) == batch_norm  # a normalisation has one of its own
        assert layer.bias is None or not layer.bias.any()
    assert (net.classifier.bias == -2.5).all()


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
