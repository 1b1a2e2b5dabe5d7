"""Are bags judged each by itself, and does the last layer start by repeating what the bags say?"""

import pytest
import torch
from torch.testing import assert_close

from bagscope.nets.bagnet import BagNet
from bagscope.nets.kraus import KrausNet
from bagscope.nets.pool import make_pooling


def model(classes=3, none_output=True, pooling="noisy_and", dtype=torch.float64):
    torch.manual_seed(0)
    body = KrausNet(2, classes)
    torch.nn.init.normal_(body.classifier.weight, std=0.2)  # maps that differ from place to place
    return BagNet(body, make_pooling(pooling, classes), classes, none_output).to(dtype).eval()


def pictures(count=4, height=130, width=170, dtype=torch.float64):
    return torch.randn(count, 2, height, width, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("pooling", ["noisy_and", "noisy_or", "lse", "max"])
def test_a_batch_is_judged_as_its_images_one_by_one(pooling, dtype, limit):
    net, images = model(pooling=pooling, dtype=dtype), pictures(dtype=dtype)
    with torch.no_grad():
        together = net(images)
        alone = [torch.cat(parts) for parts in zip(*(net(image[None]) for image in images), strict=True)]
    for found, wanted in zip(together, alone, strict=True):
        assert found.dtype == dtype
        assert float((found - wanted).abs().max() / wanted.abs().max()) <= limit


def test_images_of_different_sizes_are_judged_together_as_they_are_alone():
    net = model()
    images = [pictures(1, h, w)[0] for h, w in ((63, 63), (130, 170), (200, 95))]
    with torch.no_grad():
        maps = [net.maps(image[None])[0].flatten(1).T for image in images]
        together = net.pool_and_classify(torch.cat(maps), torch.tensor([len(m) for m in maps]))
        for i, image in enumerate(images):
            assert_close([part[i : i + 1] for part in together], list(net(image[None])), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("none_output", [True, False])
def test_the_last_layer_starts_by_naming_the_class_that_the_bag_shows(none_output):
    net = model(none_output=none_output)
    shown = torch.tensor([[0.9, 0.1, 0.2], [0.1, 0.6, 0.55], [0.0, 0.3, 1.0]], dtype=torch.float64)
    head = net.head(shown)
    assert head.shape == (3, 3 + none_output)
    assert head.argmax(1).tolist() == [0, 1, 2]
    # The step from absent to shown is what the constant says, enough for a softmax to be sure.
    assert_close(head[2, 2] - head[2, 0], torch.tensor(8.0, dtype=torch.float64))


def test_none_starts_to_win_where_no_class_reaches_one_half():
    net = model()
    shown = torch.tensor([[0.49, 0.1, 0.0], [0.51, 0.1, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    assert net.head(shown).argmax(1).tolist() == [3, 0, 3]


def test_with_several_labels_each_class_starts_at_one_half_where_the_bag_does():
    net = model(none_output=False)
    shown = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)
    assert torch.sigmoid(net.head(shown))[0].tolist() == pytest.approx([0.018, 0.5, 0.982], abs=1e-3)


def test_bags_of_half_precision_maps_are_judged_in_full_precision():
    net, images = model(dtype=torch.float32), pictures(dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        maps = net.maps(images)
        log_odds, head = net(images)
    assert maps.dtype == torch.bfloat16
    assert log_odds.dtype == head.dtype == torch.float32
    with torch.no_grad():
        elements = maps.permute(0, 2, 3, 1).reshape(-1, 3).float()
        wanted = net.pool_and_classify(elements, torch.full((4,), len(elements) // 4))
    assert_close((log_odds, head), wanted)


def test_the_order_of_the_images_and_of_the_elements_is_kept():
    net = model()
    images = pictures(2, 130, 170)
    with torch.no_grad():
        maps = net.maps(images)
        elements = [[maps[s, :, i, j] for i in range(maps.shape[2]) for j in range(maps.shape[3])] for s in range(2)]
        by_hand = [net.pooling(torch.stack(bag), [len(bag)]) for bag in elements]
        assert_close(net(images)[0], torch.cat(by_hand))


def test_everything_learns():
    net = model(dtype=torch.float32).train()
    log_odds, head = net(pictures(dtype=torch.float32))
    (log_odds.sum() + head.square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name
