"""The joint loss follows its definition, also where log-odds are extreme."""

import numpy as np
import pytest
import torch
from bag_sets import LAW
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from bagscope.ops.losses import TargetError, joint_loss


def reference(log_odds, head, target, several):
    """Sum over classes, mean over bags, each term as it is defined, with loops, in float64."""
    mil, last = [], []
    for odds, outputs, wanted in zip(log_odds, head, target, strict=True):
        mil.append(sum(cross_entropy(z, t) for z, t in zip(odds, wanted, strict=True)))
        if several:
            last.append(sum(cross_entropy(z, t) for z, t in zip(outputs, wanted, strict=True)))
            continue
        chances = np.exp(outputs - outputs.max()) / np.exp(outputs - outputs.max()).sum()
        shares = list(wanted) + [1 - wanted.sum()] * (len(outputs) - len(wanted))
        last.append(-sum(t * np.log(p) for t, p in zip(shares, chances, strict=True) if t > 0))
    return {"mil": np.mean(mil), "head": np.mean(last)}


def cross_entropy(z, t):
    # -t log sigma(z) - (1 - t) log sigma(-z)
    return t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)


@st.composite
def cases(draw):
    """Log-odds, outputs of the last layer and targets of some bags, with one label or several."""
    bags, classes, several = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    width = classes + (not several and draw(st.booleans()))
    log_odds, head = rng.normal(0, 4, (bags, classes)), rng.normal(0, 4, (bags, width))
    if several:
        target = rng.integers(0, 2, (bags, classes)).astype(float)
    else:
        # Class K stands for `none`: all zeros.
        target = np.eye(classes + 1)[rng.integers(0, classes + 1, bags), :classes]
    return log_odds, head, target, several


def tensors(*arrays, dtype=torch.float64):
    return [torch.as_tensor(array, dtype=dtype) for array in arrays]


@LAW
@given(case=cases())
def test_both_losses_are_those_of_the_definitions(case):
    log_odds, head, target, several = case
    wanted = reference(log_odds, head, target, several)
    found = joint_loss(*tensors(log_odds, head, target), several)
    assert set(found) == {"mil", "head"}
    for name, loss in found.items():
        assert loss.shape == ()
        assert float(loss) == pytest.approx(wanted[name], rel=1e-12, abs=1e-14)


def test_shares_of_classes_are_weighed_by_the_share():
    log_odds, head, target = np.array([[1.0, -2.0]]), np.array([[0.5, 0.1, -1.0]]), np.array([[0.25, 0.5]])
    wanted = reference(log_odds, head, target, False)
    found = joint_loss(*tensors(log_odds, head, target), False)
    assert [float(found[k]) for k in ("mil", "head")] == pytest.approx([wanted["mil"], wanted["head"]], rel=1e-12)


def test_a_bag_of_no_class_is_pushed_to_none_where_the_last_layer_has_it():
    log_odds, target = torch.zeros(1, 2), torch.zeros(1, 2)
    head = torch.zeros(1, 3, requires_grad=True)
    joint_loss(log_odds, head, target, False)["head"].backward()
    assert_close(head.grad, torch.tensor([[1 / 3, 1 / 3, -2 / 3]]))


def test_without_an_output_for_none_such_a_bag_costs_the_last_layer_nothing_but_counts_in_the_mean():
    head = torch.tensor([[2.0, -1.0], [5.0, 5.0]], requires_grad=True)
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    both = joint_loss(torch.zeros(2, 2), head, target, False)["head"]
    alone = joint_loss(torch.zeros(1, 2), head[:1], target[:1], False)["head"]
    assert_close(both, alone / 2)
    both.backward()
    assert head.grad[1].tolist() == [0, 0]


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("z", [-1e4, -80.0, 80.0, 1e4])
def test_extreme_log_odds_have_a_finite_loss_and_gradient(several, z):
    x, y = (torch.tensor([[z, -z], [-z, z]], requires_grad=True) for _ in range(2))
    terms = joint_loss(x, y, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), several)
    # Of two bags one is as right as can be, one as wrong; each class adds |z| to the wrong one.
    assert terms["mil"].item() == pytest.approx(abs(z), rel=1e-6)
    assert terms["head"].item() == pytest.approx(abs(z), rel=1e-6)
    sum(terms.values()).backward()
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()
    # Where it is wrong the gradient is that of the wrong answer, not 0.
    wrong = 1 if z > 0 else 0
    assert x.grad[wrong].abs().tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_losses_are_computed_in_float32_at_least(dtype, wanted):
    x = torch.full((1, 2), 3.0, dtype=dtype)
    found = joint_loss(x, x, torch.tensor([[1, 0]]), False)
    assert {loss.dtype for loss in found.values()} == {wanted}
    assert float(found["mil"]) == pytest.approx(2 * np.logaddexp(0, -3.0) + 3, rel=1e-6)


ONE = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("head", "target", "several", "code"),
    [
        (torch.zeros(2, 2), ONE[:1], False, "target_shape"),
        (torch.zeros(1, 2), ONE, False, "target_shape"),
        (torch.zeros(2, 4), ONE, False, "target_shape"),
        (torch.zeros(2, 3), ONE, True, "target_shape"),
        (torch.zeros(2), ONE, False, "target_shape"),
        (torch.zeros(2, 2), ONE[0], False, "target_shape"),
        (torch.zeros(2, 2), 2 * ONE, False, "target_range"),
        (torch.zeros(2, 2), -ONE, True, "target_range"),
        (torch.zeros(2, 2), torch.nan * ONE, True, "target_range"),
        (torch.zeros(2, 2), torch.ones(2, 2), False, "target_classes"),
    ],
)
def test_targets_that_do_not_fit_are_refused_with_the_reason(head, target, several, code):
    with pytest.raises(TargetError) as refused:
        joint_loss(torch.zeros(2, 2), head, target, several)
    assert refused.value.problem.code == code
    assert refused.value.problem.fix


def test_no_bag_at_all_is_refused():
    none = torch.zeros(0, 2)
    with pytest.raises(TargetError, match=r"\(0, 2\)"):
        joint_loss(none, none, none, True)
