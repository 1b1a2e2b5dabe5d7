"""The scores of a shape combine those of its network and of its measures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from bagscope.nets.shape_judge import MeasuresHead, ShapeJudge, blend


def test_log_odds_are_half_the_networks_plus_a_quarter_of_the_measures():
    network = torch.tensor([[1.2], [-3.0]]), log_softmax(torch.tensor([[0.0, 1.2], [0.0, -3.0]]), 1)
    measures = torch.tensor([[-0.4], [2.0]]), log_softmax(torch.tensor([[0.0, -0.4], [0.0, 2.0]]), 1)
    log_odds, head = blend(network, measures)
    expected = torch.tensor([[0.5 * 1.2 - 0.25 * 0.4], [-0.5 * 3 + 0.25 * 2]])
    torch.testing.assert_close(log_odds, expected)
    # With two classes, log-probabilities say the same as log-odds.
    torch.testing.assert_close(torch.softmax(head, 1)[:, 1:], torch.sigmoid(expected))


def test_measures_beyond_those_learned_from_are_taken_for_the_nearest():
    head = MeasuresHead(2, 1)
    for name, value in (("low", [-1, -1]), ("high", [1, 3]), ("mean", [0, 1]), ("scale", [1, 2]), ("weight", [[2, 4]])):
        getattr(head, name).copy_(torch.tensor(value))
    found = head(torch.tensor([[0.5, 2.0], [9.0, -9.0]]))
    assert found[:, 0].tolist() == pytest.approx([2 * 0.5 + 4 * 0.5, 2 * 1 + 4 * -1])
    assert found.dtype == torch.float64
    assert np.isfinite(MeasuresHead(2, 1)(torch.full((1, 2), 1e30)).numpy()).all()


def test_by_measures_the_odds_of_a_class_are_those_of_it_against_all_others():
    head = MeasuresHead(2, 3)
    head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]]))
    judge = ShapeJudge(SimpleNamespace(head=SimpleNamespace(in_features=2)), head, several_labels=False)
    measures = torch.tensor([[0.5, -1.0], [2.0, 3.0]])
    log_odds, log_probability = judge.by_measures(measures)
    p = torch.softmax(head(measures), 1)
    torch.testing.assert_close(log_probability, p.log())
    torch.testing.assert_close(log_odds, torch.logit(p[:, :2]))  # the third output is that of no class
