"""Is every pooling found by name, and do learned thresholds stay where they have a meaning?"""

import math

import pytest
import torch
from torch.testing import assert_close

from bagscope import poolings
from bagscope.errors import SettingsError
from bagscope.nets.pool import MARGIN, POOLINGS, Pooling, make_pooling

NAMES = ["noisy_and", "noisy_or", "isr", "gm", "lse", "mean", "max"]
LOGITS = torch.linspace(-4, 4, 18).reshape(9, 2)
LENGTHS = torch.tensor([4, 5])


def test_all_poolings_of_the_paper_are_there():
    assert POOLINGS.names() == [*NAMES, "attention"]


@pytest.mark.parametrize("name", NAMES)
def test_a_pooling_by_name_is_its_formula(name):
    found = make_pooling(name, 2, a=7.5, r=2.5, b=0.2)(LOGITS, LENGTHS)
    taken = {"noisy_and": {"a": 7.5, "b": 0.2}, "gm": {"r": 2.5}, "lse": {"r": 2.5}}.get(name, {})
    assert_close(found, getattr(poolings, name)(LOGITS, LENGTHS, **taken), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("b", [0.001, 0.1, 0.5, 0.999])
def test_thresholds_start_where_asked_one_per_class(b):
    pooling = make_pooling("noisy_and", 5, b=b)
    assert pooling.thresholds().shape == (5,)
    assert pooling.thresholds().tolist() == pytest.approx([b] * 5, rel=1e-5)


@pytest.mark.parametrize("free", [-1e30, -200.0, 0.0, 200.0, 1e30])
def test_thresholds_stay_within_0_and_1_whatever_is_learned(free):
    pooling = make_pooling("noisy_and", 2)
    with torch.no_grad():
        pooling.free.fill_(free)
    thresholds = pooling.thresholds()
    assert (thresholds >= MARGIN * 0.999).all()
    assert (thresholds <= 1 - MARGIN * 0.999).all()
    logits = LOGITS.clone().requires_grad_()
    found = pooling(logits, LENGTHS)
    found.sum().backward()
    assert found.isfinite().all()
    assert logits.grad.isfinite().all()
    assert pooling.free.grad.isfinite().all()


def test_steps_of_any_size_keep_the_thresholds_within_0_and_1_and_move_them():
    pooling = make_pooling("noisy_and", 2)
    before = pooling.thresholds().detach().clone()
    optimiser = torch.optim.SGD(pooling.parameters(), lr=1e4)
    for _ in range(5):
        optimiser.zero_grad()
        pooling(LOGITS, LENGTHS).sum().backward()
        optimiser.step()
    after = pooling.thresholds()
    assert ((after > 0) & (after < 1)).all()
    # A lower threshold makes every bag more likely; the loss wanted them less so.
    assert (after > before).all()


def test_each_class_learns_its_own_threshold():
    pooling = make_pooling("noisy_and", 2)
    pooling(LOGITS, LENGTHS)[:, 0].sum().backward()
    assert pooling.free.grad[0] != 0
    assert pooling.free.grad[1] == 0


@pytest.mark.parametrize("name", [n for n in NAMES if n != "noisy_and"])
def test_poolings_without_a_threshold_learn_nothing(name):
    pooling = make_pooling(name, 2)
    assert pooling.thresholds() is None
    assert list(pooling.parameters()) == []


def test_thresholds_are_saved_with_the_weights_under_one_name():
    pooling, other = make_pooling("noisy_and", 2, b=0.3), make_pooling("noisy_and", 2, b=0.7)
    assert list(pooling.state_dict()) == ["free"]
    other.load_state_dict(pooling.state_dict())
    assert torch.equal(other(LOGITS, LENGTHS), pooling(LOGITS, LENGTHS))


def test_a_formula_of_ones_own_gets_the_parameters_it_takes():
    def halfway(logits, lengths, b, r):
        return r * b + 0 * poolings.mean(logits, lengths)

    found = Pooling(halfway, 2, a=10.0, r=3.0, b=0.25)(LOGITS, LENGTHS)
    assert found.tolist() == [pytest.approx([0.75, 0.75])] * 2


def test_a_pooling_says_what_it_is():
    assert "noisy_and, a=7.5" in repr(make_pooling("noisy_and", 2, a=7.5))


def test_an_unknown_pooling_is_refused_with_the_nearest_and_the_known():
    with pytest.raises(SettingsError, match=r"unknown pooling 'noisyand' \(did you mean 'noisy_and'\?\)") as refused:
        make_pooling("noisyand", 2)
    assert all(name in refused.value.problem.fix for name in NAMES)


def test_an_unknown_parameter_is_refused_by_name():
    with pytest.raises(SettingsError, match="unknown pooling parameter 'sharpness'"):
        make_pooling("lse", 2, sharpness=3)


@pytest.mark.parametrize("name", ["noisy_and", "max"])
@pytest.mark.parametrize(
    "wrong",
    [{key: value} for key in ("a", "r") for value in (0, -1, math.nan, math.inf, "10", True, None)]
    + [{"b": value} for value in (0, 1, -0.1, 1.1, MARGIN, 1 - MARGIN, math.nan, "0.1", None)]
    + [{"classes": value} for value in (0, -1, 2.0)],
)
def test_parameters_out_of_range_are_refused_also_where_they_are_not_used(name, wrong):
    with pytest.raises(SettingsError) as refused:
        make_pooling(name, **{"classes": 2, **wrong})
    assert str(next(iter(wrong.values()))) in refused.value.problem.cause
    assert refused.value.problem.fix
