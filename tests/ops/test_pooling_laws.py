"""Do the poolings obey their laws?"""

import inspect

import pytest
import torch
from bag_sets import CASES, LAW, MEANS, REPEATABLE, bag_sets, cases, logit, pool
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from bagscope import poolings
from bagscope.errors import BagscopeError, SettingsError

# Float64 sums in another order differ by some units in the last place of max(1, |L|).
EXACT = {"rtol": 1e-12, "atol": 1e-12}
# What rounding may take from a law of the form "not less than".
ROUNDING = 1e-12


def rows_of(lengths, order):
    """Instances of the bags in another order."""
    starts = torch.cumsum(lengths, 0) - lengths
    return torch.cat([torch.arange(int(starts[i]), int(starts[i] + lengths[i])) for i in order])


def doubled(logits, lengths):
    """Each bag followed by itself."""
    order = [i for i in range(len(lengths)) for _ in range(2)]
    return logits[rows_of(lengths, order)], 2 * lengths


@pytest.mark.parametrize(("name", "parameters"), cases(*MEANS))
@LAW
@given(z=logit(), size=st.integers(1, 50))
def test_equal_instances_give_their_own_logit(name, parameters, z, size):
    found = pool(name, torch.full((size, 1), z, dtype=torch.float64), [size], **parameters)
    assert_close(found, torch.tensor([[z]], dtype=torch.float64), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(("name", "parameters"), CASES)
@LAW
@given(bags=bag_sets(), turn=st.randoms(use_true_random=False))
def test_the_order_within_a_bag_does_not_matter(name, parameters, bags, turn):
    logits, lengths = bags[0].double(), bags[1]
    start, order = 0, []
    for length in lengths.tolist():
        order += turn.sample(range(start, start + length), length)
        start += length
    assert_close(pool(name, logits[order], lengths, **parameters), pool(name, logits, lengths, **parameters), **EXACT)


@pytest.mark.parametrize(("name", "parameters"), CASES)
@LAW
@given(bags=bag_sets())
def test_a_bag_does_not_see_its_neighbours(name, parameters, bags):
    logits, lengths = bags[0].double(), bags[1]
    together = pool(name, logits, lengths, **parameters)
    alone = [pool(name, logits[rows_of(lengths, [i])], lengths[i : i + 1], **parameters) for i in range(len(lengths))]
    assert_close(together, torch.cat(alone), **EXACT)


@pytest.mark.parametrize(("name", "parameters"), cases(*REPEATABLE))
@LAW
@given(bags=bag_sets())
def test_a_bag_repeated_is_the_same_bag(name, parameters, bags):
    logits, lengths = bags[0].double(), bags[1]
    again = pool(name, *doubled(logits, lengths), **parameters)
    assert_close(again, pool(name, logits, lengths, **parameters), **EXACT)


@pytest.mark.parametrize("name", ["noisy_or", "isr"])
@LAW
@given(bags=bag_sets())
def test_a_bag_repeated_is_more_likely_under_noisy_or_and_isr(name, bags):
    logits, lengths = bags[0].double(), bags[1]
    assert (pool(name, *doubled(logits, lengths)) > pool(name, logits, lengths)).all()


@pytest.mark.parametrize(("name", "parameters"), CASES)
@LAW
@given(bags=bag_sets(), rise=st.floats(0, 30), place=st.integers(0, 10**6))
def test_log_odds_never_fall_when_an_instance_rises(name, parameters, bags, rise, place):
    logits, lengths = bags[0].double(), bags[1]
    higher = logits.clone()
    higher[place % len(logits)] += rise
    before, after = (pool(name, z, lengths, **parameters) for z in (logits, higher))
    assert (after >= before - ROUNDING * before.abs().clamp(min=1)).all()


@pytest.mark.parametrize(("name", "parameters"), CASES)
@LAW
@given(bags=bag_sets())
def test_gradients_are_never_negative(name, parameters, bags):
    logits = bags[0].double().requires_grad_()
    pool(name, logits, bags[1], **parameters).sum().backward()
    assert (logits.grad >= 0).all()


@LAW
@given(bags=bag_sets(), a=st.floats(0.5, 50), b=st.floats(0.01, 0.99))
def test_noisy_and_of_the_opposite_instances_and_threshold_is_the_opposite(bags, a, b):
    logits, lengths = bags[0].double(), bags[1]
    found = poolings.noisy_and(-logits, lengths, a, 1 - b)
    assert_close(found, -poolings.noisy_and(logits, lengths, a, b), rtol=1e-10, atol=1e-10)


@LAW
@given(a=st.floats(0.5, 20), b=st.floats(0.02, 0.98))
def test_noisy_and_is_0_without_and_1_with_only_positive_instances(a, b):
    z = torch.tensor([[-600.0], [-80.0], [80.0], [600.0]], dtype=torch.float64)
    found = poolings.noisy_and(z, [1, 1, 1, 1], a, b)[:, 0]
    # The log-odds go to -inf and +inf as the logits do, up to the slope of P at its ends.
    assert found[1] - found[0] == pytest.approx(520, abs=1e-6)
    assert found[3] - found[2] == pytest.approx(520, abs=1e-6)
    assert found[1] < -50
    assert found[2] > 50


@LAW
@given(a=st.floats(1, 20), b=st.floats(0.05, 0.95))
def test_noisy_and_rises_most_steeply_where_the_share_is_b(a, b):
    share = torch.cat([torch.linspace(0.005, 0.995, 199), torch.tensor([b])]).double()
    z = torch.logit(share)[:, None].requires_grad_()
    whole = torch.sigmoid(poolings.noisy_and(z, [1] * len(share), a, float(share[-1])))
    whole.sum().backward()
    slope = z.grad[:, 0] / (share * (1 - share))  # dP/dm = dP/dz / (dm/dz)
    assert slope[-1] >= slope.max() * (1 - 1e-12)


@pytest.mark.parametrize("name", ["gm", "lse"])
@LAW
@given(bags=bag_sets(), r=st.floats(0.01, 50), more=st.floats(1.01, 10))
def test_generalised_means_grow_with_r(name, bags, r, more):
    logits, lengths = bags[0].double(), bags[1]
    less, greater = pool(name, logits, lengths, r=r), pool(name, logits, lengths, r=r * more)
    assert (greater >= less - 1e-10 * less.abs().clamp(min=1)).all()


@LAW
@given(bags=bag_sets(limit=20.0))
def test_generalised_means_go_to_the_maximum_with_r(bags):
    logits, lengths = bags[0].double(), bags[1]
    r = 1e5
    top = torch.sigmoid(poolings.max(logits, lengths))
    # mean p^r >= max p^r / N, and the same of exp(r p).
    least = lengths[:, None].double() ** (-1 / r)
    found = torch.sigmoid(poolings.gm(logits, lengths, r))
    assert ((found >= top * least - ROUNDING) & (found <= top + ROUNDING)).all()
    found = torch.sigmoid(poolings.lse(logits, lengths, r))
    assert ((found >= top + torch.log(least) - ROUNDING) & (found <= top + ROUNDING)).all()


@LAW
@given(bags=bag_sets())
def test_lse_goes_to_the_mean_as_r_goes_to_0(bags):
    logits, lengths = bags[0].double(), bags[1]
    r = 1e-5
    found, mean = (torch.sigmoid(v) for v in (poolings.lse(logits, lengths, r), poolings.mean(logits, lengths)))
    assert ((found - mean).abs() <= r / 8 + ROUNDING).all()  # Hoeffding's lemma on [0, 1]


@LAW
@given(bags=bag_sets())
def test_the_generalised_mean_with_r_1_is_the_mean(bags):
    logits, lengths = bags[0].double(), bags[1]
    assert_close(poolings.gm(logits, lengths, 1), poolings.mean(logits, lengths), rtol=1e-10, atol=1e-10)


def test_poolings_are_called_as_promised():
    assert sorted(poolings.__all__) == ["gm", "isr", "lse", "max", "mean", "noisy_and", "noisy_or"]
    wanted = {"noisy_and": {"a": 10.0, "b": 0.5}, "gm": {"r": 1.0}, "lse": {"r": 1.0}}
    for name in poolings.__all__:
        parameters = inspect.signature(getattr(poolings, name)).parameters
        assert list(parameters)[:2] == ["logits", "lengths"]
        assert {key: p.default for key, p in list(parameters.items())[2:]} == wanted.get(name, {})


def test_each_class_has_its_own_threshold():
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    shares = torch.tensor([0.1, 0.5, 0.8])
    together = poolings.noisy_and(logits, [2, 4], 10, shares)
    for k, b in enumerate(shares.tolist()):
        assert_close(together[:, k : k + 1], poolings.noisy_and(logits[:, k : k + 1], [2, 4], 10, b))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_log_odds_have_the_type_of_the_logits(name, parameters, dtype):
    assert pool(name, torch.zeros(4, 2, dtype=dtype), [1, 3], **parameters).dtype == dtype


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("noisy_and", {"a": a}) for a in (0, -1, float("nan"), float("inf"), "10", True)]
    + [("noisy_and", {"b": b}) for b in (0, 1, -0.1, 1.5, float("nan"))]
    + [("noisy_and", {"b": torch.tensor(b)}) for b in ([0.5, 0.0], [1.0, 0.5], [0.1, 0.2, 0.3], [[0.1, 0.2]])]
    + [(name, {"r": r}) for name in ("gm", "lse") for r in (0, -2.5, float("nan"), float("inf"), None)],
)
def test_parameters_without_a_meaning_are_refused_by_name(name, parameters):
    (parameter,) = parameters
    with pytest.raises(SettingsError, match=f"parameter {parameter} ") as refused:
        pool(name, torch.zeros(3, 2), [3], **parameters)
    assert isinstance(refused.value, ValueError)
    assert refused.value.problem.fix


@pytest.mark.parametrize("lengths", [[0, 3], [4], [1, 1], [-1, 4], [1.5, 1.5]])
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_lengths_that_do_not_cut_the_bags_are_refused(name, parameters, lengths):
    with pytest.raises(BagscopeError, match=r"length|empty"):
        pool(name, torch.zeros(3, 2), lengths, **parameters)
