"""Does the pooling by attention weigh elements as published, and does all that needs class maps alone still work?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import toys
from bagscope.nets.bagnet import BagNet
from bagscope.nets.kraus import KrausNet
from bagscope.nets.pool import make_pooling
from bagscope.ops.pooling import attention
from specimens import toy_screen


def test_the_mean_is_weighed_by_the_softmax_of_the_scores():
    z, s = torch.randn(5, 3, dtype=torch.double), torch.randn(5, 1, dtype=torch.double)
    found = attention(torch.cat([z, s], 1), [2, 3])
    for bag, part in enumerate((slice(0, 2), slice(2, 5))):
        wanted = (torch.softmax(s[part], 0) * z[part]).sum(0)
        torch.testing.assert_close(found[bag], wanted)


def test_a_score_of_all_elements_and_a_repeated_bag_change_nothing():
    scored = torch.randn(4, 3, dtype=torch.double)
    once = attention(scored, [4])
    torch.testing.assert_close(attention(scored.repeat(2, 1), [8]), once)
    torch.testing.assert_close(attention(scored + torch.tensor([0, 0, 700.0]), [4]), once)
    assert torch.isfinite(attention(scored * torch.tensor([80.0, 80, 1e6]), [4])).all()


def test_scores_are_gated_as_published():
    net = KrausNet(1, 2, batch_norm=False, scores=True).double().eval()
    h = net._features(torch.rand(1, 1, 127, 127, dtype=torch.double))
    found = net.instances(torch.rand(1, 1, 127, 127, dtype=torch.double))
    assert found.shape == (1, 3, 3, 3)
    own, flat = net.scorer, h[0].flatten(1).T
    v, u, w = (layer.weight.flatten(1).T for layer in (own.content, own.gate, own.weight))
    wanted = (torch.tanh(flat @ v + own.content.bias) * torch.sigmoid(flat @ u + own.gate.bias)) @ w
    torch.testing.assert_close(own(h).flatten(), wanted.flatten())


def test_it_agrees_with_torchmil_on_the_same_features():
    torchmil = pytest.importorskip("torchmil.nn", reason="torchmil is not installed")
    theirs = torchmil.AttentionPool(in_dim=1000, att_dim=128, act="tanh", gated=True).double().eval()
    own = KrausNet(1, 2, scores=True).double().eval()
    ours = own.scorer
    layers = {name: one for name, one in theirs.named_modules() if isinstance(one, torch.nn.Linear)}
    assert len(layers) == 3, list(layers)
    content, gate, weight = (layers[name] for name in torchmil_names(layers))
    with torch.no_grad():
        for mine, other in ((ours.content, content), (ours.gate, gate), (ours.weight, weight)):
            other.weight.copy_(mine.weight.flatten(1))
            if other.bias is not None:
                other.bias.zero_() if mine.bias is None else other.bias.copy_(mine.bias)
    features = torch.rand(1, 1000, 4, 5, dtype=torch.double)
    instances = torch.cat([own.classifier(features), ours(features)], 1)[0].flatten(1).T
    # A mean of logits is the logit of the mean feature: the last layer is linear.
    mean = theirs(features[0].flatten(1).T[None])
    wanted = own.classifier(mean.reshape(1, 1000, 1, 1)).flatten()
    torch.testing.assert_close(attention(instances, [20])[0], wanted)


def torchmil_names(layers):
    gate = next(name for name in layers if "gate" in name)
    weight = next(name for name, one in layers.items() if one.out_features == 1)
    (content,) = (name for name in layers if name not in (gate, weight))
    return content, gate, weight


def test_maps_and_windows_hold_classes_alone():
    net = BagNet(KrausNet(1, 2, scores=True), make_pooling("attention", 2), 2, none_output=True).eval()
    x = torch.rand(2, 1, 127, 127)
    assert net.instances(x).shape == (2, 3, 3, 3)
    assert torch.equal(net.instances(x)[:, :2], net.maps(x))
    log_odds, head = net(x)
    assert log_odds.shape == (2, 2)
    assert head.shape == (2, 3)


def test_a_model_is_trained_scored_and_shown_as_any_other(tmp_path):
    table = toy_screen(tmp_path / "toy", px=160, blob_px=40)
    choices = {"pooling": "attention", "cell_diameter": "40", "self_training.steps": 0}
    model = toys.quick(table, tmp_path / "model", **choices)
    predicted = model.predict(np.random.default_rng(0).integers(90, 500, (2, 200, 180)).astype(np.uint16))
    assert len(predicted.class_maps) == len(model.classes)
    assert predicted.jacobian(model.classes[0]).shape == (200, 180)
    assert np.isfinite(model.score(table, tmp_path / "scores").wells.filter(like="mil_").to_numpy()).all()
