"""Do maps of a class show the pixels that speak for it, and only those?"""

from __future__ import annotations

import pytest
import torch
from captum.attr import GuidedBackprop
from torch import nn
from torch.testing import assert_close

from bagscope.nets.jacobian import RectifiedReLU, UnrectifiedError, jacobian_maps, kraus_seed, rectified_gradients
from bagscope.nets.kraus import KrausNet


class _Plain(nn.Module):
    """The same network with torch's own activations, as captum knows them."""

    def __init__(self, net: KrausNet, seed):
        super().__init__()
        layers = [nn.ReLU() if isinstance(layer, RectifiedReLU) else layer for layer in net.trunk]
        self.trunk, self.classifier, self.seed = nn.Sequential(*layers), net.classifier, seed

    def forward(self, x):
        logits = self.classifier(self.trunk(x))
        return (logits * self.seed).sum((2, 3))


@pytest.fixture(params=[True, False], ids=["batch norm", "plain"])
def net(request):
    torch.manual_seed(0)
    net = KrausNet(2, 3, batch_norm=request.param, bias=-1.0).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.normal_(1, 0.5)  # some negative, so that rectifying matters
    nn.init.normal_(net.classifier.weight, std=0.1)
    return net.eval()


def seeds(net, x):
    return kraus_seed(torch.tensor([[0.3, -1.0, 2.0]] * len(x), dtype=x.dtype))(net(x).detach())


def maps_of(net, x, classes=(0, 1, 2)):
    seed = seeds(net, x)
    return dict(jacobian_maps(net, x, lambda logits: seed, classes))


def test_maps_equal_captums_guided_backpropagation_rectified_at_the_input(net):
    x = torch.randn(2, 2, 130, 161, dtype=torch.float64)
    ours = maps_of(net, x)
    plain = _Plain(net, seeds(net, x))
    for k in range(3):
        with pytest.warns(UserWarning, match="Setting backward hooks"):
            theirs = GuidedBackprop(plain).attribute(x.clone().requires_grad_(), target=k).clamp(min=0).sum(1).detach()
        assert theirs.max() > 0
        assert (ours[k] - theirs).abs().max() <= 1e-10 * theirs.max()


def test_maps_of_a_batch_are_those_of_its_images_one_by_one(net):
    x = torch.randn(3, 2, 100, 100, dtype=torch.float64)
    together = maps_of(net, x, [1])[1]
    for i in range(3):
        assert_close(together[i : i + 1], maps_of(net, x[i : i + 1], [1])[1], rtol=1e-9, atol=1e-12)


def test_a_map_is_zero_outside_the_field_of_the_elements_that_have_a_seed(net):
    x = torch.randn(1, 2, 320, 320, dtype=torch.float64)

    def corner(logits):
        seed = torch.zeros_like(logits)
        seed[:, :, 0, 0] = 1
        return seed

    found = dict(jacobian_maps(net, x, corner, [0]))[0]
    far = 31 + (135 - 1) // 2 + 1
    assert found[:, :far, :far].max() > 0
    assert found[:, far:].max() == 0
    assert found[:, :, far:].max() == 0


def test_a_map_is_never_negative_and_grows_with_its_seed(net):
    x = torch.randn(1, 2, 96, 96, dtype=torch.float64)
    one = dict(jacobian_maps(net, x, torch.ones_like, [2]))[2]
    two = dict(jacobian_maps(net, x, lambda z: 2 * torch.ones_like(z), [2]))[2]
    assert one.min() >= 0
    assert_close(two, 2 * one)


def test_looking_back_leaves_the_network_as_it_was(net):
    x = torch.randn(1, 2, 96, 96, dtype=torch.float64)
    before = net(x).detach()
    maps_of(net, x)
    assert torch.equal(net(x).detach(), before)
    assert all(p.requires_grad for p in net.parameters())
    assert not any(m.looks_back for m in net.modules() if isinstance(m, RectifiedReLU))


def test_forward_is_the_same_while_looking_back(net):
    x = torch.randn(1, 2, 96, 96, dtype=torch.float64)
    with rectified_gradients(net):
        assert torch.equal(net(x), net.forward(x))
    plain = net(x)
    with rectified_gradients(net):
        assert torch.equal(net(x), plain)


class _Functional(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.conv, self.last, self.activation = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 1), activation

    def forward(self, x):
        return self.last(self.activation(self.conv(x)))


@pytest.mark.parametrize(
    "activation",
    [torch.relu, nn.functional.relu, nn.ReLU(), lambda x: x.clamp(min=0), nn.functional.gelu, nn.SiLU(), torch.tanh],
)
def test_a_foreign_trunk_whose_activations_are_not_ours_is_refused_with_the_reason(activation):
    with pytest.raises(UnrectifiedError, match="none of ours"):
        list(jacobian_maps(_Functional(activation), torch.randn(1, 2, 8, 8), torch.ones_like, [0]))


def test_a_foreign_trunk_with_our_activation_is_taken():
    found = dict(jacobian_maps(_Functional(RectifiedReLU()), torch.randn(1, 2, 8, 8), torch.ones_like, [0]))
    assert found[0].max() > 0


def test_what_is_no_module_is_refused():
    with pytest.raises(UnrectifiedError, match="no torch module"):
        list(jacobian_maps(torch.relu, torch.randn(1, 2, 8, 8), torch.ones_like, [0]))
