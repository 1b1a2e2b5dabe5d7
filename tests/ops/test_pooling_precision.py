"""Do the poolings say what their definitions say, and their gradients too?"""

import mpmath as mp
import pytest
import torch
from bag_sets import CASES, LAW, bag_sets, defined, pool, reference, worst
from hypothesis import given
from hypothesis import strategies as st

FLOAT32, FLOAT64 = 1e-6, 1e-10

EXTREME_BAGS = {
    "one": [3.0],
    "one_low": [-80.0],
    "one_high": [80.0],
    "low": [-80.0] * 7,
    "high": [80.0] * 7,
    "one_high_among_low": [80.0] + [-80.0] * 9,
    "one_low_among_high": [-80.0] + [80.0] * 9,
    "half": [80.0, -80.0] * 4,
    "around_zero": [-1e-6, 0.0, 1e-6],
    "staircase": [float(v) for v in range(-80, 81, 8)],
}


@pytest.mark.parametrize(("name", "parameters"), CASES)
@LAW
@given(bags=bag_sets())
def test_log_odds_are_those_of_the_definition(name, parameters, bags):
    logits, lengths = bags
    wanted = reference(name, logits, lengths, **parameters)
    assert worst(pool(name, logits, lengths, **parameters), wanted) <= FLOAT32
    assert worst(pool(name, logits.double(), lengths, **parameters), wanted) <= FLOAT64


def any_parameters(name):
    """Parameters of the range in which float32 keeps its digits: a and r to 10, any share b."""
    ranges = {"noisy_and": {"a": st.floats(0.1, 10), "b": st.floats(1e-3, 1 - 1e-3)}}
    return st.fixed_dictionaries(ranges.get(name, {"r": st.floats(0.1, 10)}))


@pytest.mark.parametrize("name", ["noisy_and", "gm", "lse"])
@LAW
@given(bags=bag_sets(), chosen=st.data())
def test_log_odds_are_those_of_the_definition_whatever_the_parameters(name, bags, chosen):
    logits, lengths = bags
    parameters = chosen.draw(any_parameters(name))
    # gm at r = 0.1 takes the tenth power of what 60 digits hold beside 1.
    wanted = reference(name, logits, lengths, digits=120, **parameters)
    assert worst(pool(name, logits, lengths, **parameters), wanted) <= FLOAT32
    assert worst(pool(name, logits.double(), lengths, **parameters), wanted) <= FLOAT64


@pytest.mark.parametrize("bag", EXTREME_BAGS.values(), ids=EXTREME_BAGS.keys())
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_extreme_bags_keep_their_digits(name, parameters, bag):
    logits, lengths = torch.tensor(bag)[:, None], torch.tensor([len(bag)])
    wanted = reference(name, logits, lengths, **parameters)
    assert worst(pool(name, logits, lengths, **parameters), wanted) <= FLOAT32
    assert worst(pool(name, logits.double(), lengths, **parameters), wanted) <= FLOAT64


@pytest.mark.parametrize(("name", "parameters"), CASES)
@pytest.mark.parametrize("lowest", [-80.0, -3.0])
def test_a_bag_of_thousands_keeps_its_digits(name, parameters, lowest):
    logits = torch.linspace(lowest, 6, 3000)[:, None]
    lengths = torch.tensor([1000, 2000])
    wanted = reference(name, logits, lengths, **parameters)
    assert worst(pool(name, logits, lengths, **parameters), wanted) <= FLOAT32
    assert worst(pool(name, logits.double(), lengths, **parameters), wanted) <= FLOAT64


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gm", {"r": 0.01}),
        ("gm", {"r": 100.0}),
        ("lse", {"r": 1e-4}),
        ("lse", {"r": 59.0}),
        ("lse", {"r": 61.0}),
        ("lse", {"r": 1000.0}),
        ("noisy_and", {"a": 0.01, "b": 0.5}),
        ("noisy_and", {"a": 90.0, "b": 0.02}),
    ],
)
@LAW
@given(bags=bag_sets(classes=1))
def test_unusual_parameters_keep_their_digits_too(name, parameters, bags):
    # sigmoid(-80) is 1e-35 and lse at r = 1000 loses e^-1000 beside 1: 60 digits are too few for the reference.
    logits, lengths = bags
    wanted = reference(name, logits, lengths, digits=560, **parameters)
    assert worst(pool(name, logits.double(), lengths, **parameters), wanted) <= FLOAT64


@pytest.mark.parametrize(("name", "parameters"), CASES)
@LAW
@given(bags=bag_sets())
def test_value_and_gradient_are_finite_in_float32(name, parameters, bags):
    logits, lengths = bags
    logits.requires_grad_()
    b = torch.full((2,), parameters["b"], requires_grad=True) if "b" in parameters else None
    found = pool(name, logits, lengths, **(parameters if b is None else {**parameters, "b": b}))
    found.sum().backward()
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert logits.grad.isfinite().all()
    assert b is None or b.grad.isfinite().all()


@pytest.mark.parametrize("bag", EXTREME_BAGS.values(), ids=EXTREME_BAGS.keys())
@pytest.mark.parametrize(("name", "parameters"), [c for c in CASES if c[0] != "max"])
def test_gradients_are_those_of_the_definition_at_the_extremes(name, parameters, bag):
    logits = torch.tensor(bag, dtype=torch.float64)[:, None].requires_grad_()
    pool(name, logits, [len(bag)], **parameters).sum().backward()
    with mp.workdps(200):
        # In 200 digits a central difference over 2e-40 is exact to 80 digits beside sigmoid(-80) = 1e-35.
        h = mp.mpf(10) ** -40
        for i in {0, len(bag) - 1}:
            up, down = ([v + s * h if j == i else mp.mpf(v) for j, v in enumerate(bag)] for s in (1, -1))
            rise = defined(name, up, digits=200, **parameters) - defined(name, down, digits=200, **parameters)
            slope = rise / (2 * h)
            assert abs(mp.mpf(logits.grad[i].item()) - slope) <= 1e-9 * abs(slope)


@pytest.mark.parametrize(("name", "parameters"), CASES)
@pytest.mark.parametrize("lengths", [[3, 3], [1, 2, 3]])
def test_gradients_agree_with_finite_differences(name, parameters, lengths):
    # Logits where no rule of selection changes within the step: max has no gradient at ties.
    logits = torch.linspace(-4, 3, 12, dtype=torch.float64).reshape(6, 2)[[3, 0, 5, 1, 4, 2]].requires_grad_()
    if "b" in parameters:
        b = torch.tensor([0.3, parameters["b"]], dtype=torch.float64, requires_grad=True)
        a = parameters["a"]
        assert torch.autograd.gradcheck(lambda z, b: pool(name, z, lengths, a=a, b=b), (logits, b))
    else:
        assert torch.autograd.gradcheck(lambda z: pool(name, z, lengths, **parameters), (logits,))


@pytest.mark.parametrize("name", ["noisy_and", "noisy_or", "isr", "mean", "max"])
@pytest.mark.parametrize("z", [-5000.0, 5000.0])
def test_log_odds_stay_finite_far_beyond_any_networks_logits(name, z):
    logits = torch.tensor([[z], [z / 2], [0.0]], requires_grad=True)
    found = pool(name, logits, [1, 2])
    found.sum().backward()
    assert found.isfinite().all()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["gm", "lse"])
def test_means_take_logits_beyond_600_for_600(name):
    found = pool(name, torch.tensor([[5000.0], [-5000.0]]), [1, 1])
    assert torch.equal(found, torch.tensor([[600.0], [-600.0]]))
