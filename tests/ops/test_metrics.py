"""Do the figures of merit say what they are defined to say?"""

import itertools
import math
from statistics import mean, stdev, variance

import numpy as np
import pytest
from bag_sets import LAW
from hypothesis import given
from hypothesis import strategies as st

from bagscope.ops.metrics import auc, balanced_accuracy, ssmd, z_prime

# Whole numbers and halves: shifts and doublings are exact, ties are many.
VALUE = st.integers(-20, 20).map(lambda v: v / 2)
GROUP = st.lists(VALUE, min_size=2, max_size=8)


def test_z_prime_of_a_textbook_plate():
    # means 100 and 20, sd 4 and 2: 1 - 3 * 6 / 80
    assert z_prime([96, 100, 104], [18, 20, 22]) == pytest.approx(1 - 3 * (4 + 2) / 80, rel=1e-12)


@LAW
@given(up=GROUP, down=GROUP)
def test_z_prime_and_ssmd_are_those_of_the_definitions(up, down):
    found, strict = z_prime(up, down), ssmd(up, down)
    distance = mean(up) - mean(down)
    if distance == 0:
        assert found == -math.inf
    else:
        assert found == pytest.approx(1 - 3 * (stdev(up) + stdev(down)) / abs(distance), rel=1e-9)
    spread = variance(up) + variance(down)
    if spread == 0:
        assert math.isnan(strict)
    else:
        assert strict == pytest.approx(distance / math.sqrt(spread), rel=1e-9, abs=1e-12)


@LAW
@given(up=GROUP, down=GROUP, shift=VALUE, factor=st.sampled_from([-2.0, 0.5, 4.0]))
def test_z_prime_and_ssmd_do_not_change_with_the_unit_and_the_zero(up, down, shift, factor):
    moved = [shift + factor * np.array(group) for group in (up, down)]
    sign = math.copysign(1, factor)
    assert z_prime(*moved) == pytest.approx(z_prime(up, down), rel=1e-9)
    assert ssmd(*moved) == pytest.approx(sign * ssmd(up, down), rel=1e-9, abs=1e-12, nan_ok=True)
    assert z_prime(down, up) == pytest.approx(z_prime(up, down), rel=1e-9)
    assert ssmd(down, up) == pytest.approx(-ssmd(up, down), rel=1e-9, abs=1e-12, nan_ok=True)


def test_perfect_controls_have_a_z_prime_of_1_and_no_ssmd():
    assert z_prime([1, 1], [0, 0]) == 1
    assert math.isnan(ssmd([1, 1], [0, 0]))


@pytest.mark.parametrize("merit", [z_prime, ssmd])
@pytest.mark.parametrize(("up", "down"), [([1], [0, 0.1]), ([1, 0.9], [0]), ([], []), ([1, math.nan], [0, 0.1])])
def test_too_few_wells_or_a_missing_value_have_no_merit(merit, up, down):
    assert math.isnan(merit(up, down))


@LAW
@given(scores=st.lists(VALUE, min_size=2, max_size=12), chance=st.randoms(use_true_random=False))
def test_auc_is_the_share_of_pairs_in_the_right_order(scores, chance):
    positive = [True, False] + [chance.random() < 0.5 for _ in scores[2:]]
    ups = [s for s, p in zip(scores, positive, strict=True) if p]
    downs = [s for s, p in zip(scores, positive, strict=True) if not p]
    wins = [(u > d) + 0.5 * (u == d) for u, d in itertools.product(ups, downs)]
    assert auc(scores, positive) == pytest.approx(sum(wins) / len(wins), abs=1e-12)
    assert auc(np.negative(scores), positive) == pytest.approx(1 - auc(scores, positive), abs=1e-12)
    # Only the order counts: a monotone function that ties nothing changes nothing.
    assert auc(np.exp(np.array(scores) / 10), positive) == auc(scores, positive)


def test_auc_takes_infinite_scores_but_not_missing_ones_or_one_class():
    assert auc([-np.inf, 0, np.inf, np.inf], [0, 0, 1, 0]) == pytest.approx(2.5 / 3)
    assert math.isnan(auc([1, math.nan], [1, 0]))
    assert math.isnan(auc([1, 2], [1, 1]))
    assert math.isnan(auc([1, 2], [0, 0]))
    assert math.isnan(auc([], []))


CALLS = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["x", "y", "z", "none"])), min_size=1, max_size=20)


@LAW
@given(calls=CALLS)
def test_balanced_accuracy_is_the_mean_over_classes_of_what_is_called_right(calls):
    truth, called = zip(*calls, strict=True)
    right = {name: [a == b for a, b in calls if a == name] for name in set(truth)}
    assert balanced_accuracy(truth, called) == pytest.approx(mean(mean(hits) for hits in right.values()))


@LAW
@given(calls=CALLS, times=st.integers(2, 5))
def test_a_class_repeated_does_not_change_the_balanced_accuracy(calls, times):
    truth, called = zip(*calls, strict=True)
    again = calls + (times - 1) * [one for one in calls if one[0] == truth[0]]
    assert balanced_accuracy(*zip(*again, strict=True)) == pytest.approx(balanced_accuracy(truth, called))


def test_calling_everything_one_class_is_chance():
    truth = ["x"] * 98 + ["y"] * 2
    assert balanced_accuracy(truth, ["x"] * 100) == 0.5


def test_no_calls_have_no_accuracy():
    assert math.isnan(balanced_accuracy([], []))


@pytest.mark.parametrize("merit", [balanced_accuracy, auc])
def test_lists_of_unequal_length_are_refused(merit):
    with pytest.raises(ValueError, match="2 values cannot be compared with 3"):
        merit([1, 0], [1, 0, 1])
