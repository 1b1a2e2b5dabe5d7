"""Is a call what the rule says, and never more certain than its scores?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagscope.tables.calls import CallRule, make_calls

CLASSES = ("a", "b")


def call(mil, own, none=None, several=False, **rule):
    none_probability = None if none is None else np.array([none])
    calls, confidence = make_calls(
        np.array([mil]),
        np.array([own]),
        CLASSES,
        none_probability=none_probability,
        several=several,
        rule=CallRule(**rule),
    )
    return calls[0], confidence[0]


@pytest.mark.parametrize(
    ("mil", "own", "none", "expected"),
    [
        ((0.9, 0.1), (0.8, 0.2), None, ("a", 0.8)),
        ((0.4, 0.1), (0.8, 0.2), None, ("none", 0.6)),  # no class is present
        ((0.4, 0.1), (0.2, 0.1), 0.7, ("none", 0.7)),
        ((0.9, 0.1), (0.1, 0.1), 0.8, ("none", 0.8)),  # the last layer overrules
        ((0.9, 0.1), (0.4, 0.1), 0.5, ("unsure", 0.5)),  # none wins, but below the limit
        ((0.1, 0.9), (0.8, 0.2), None, ("unsure", 0.8)),  # the winner itself is not present
        ((0.9, 0.1), (0.55, 0.45), None, ("unsure", 0.55)),  # below the confidence limit
        ((0.9, 0.9), (0.7, 0.6), None, ("unsure", 0.7)),  # medians need not add up to 1: the margin is too small
        ((0.5, 0.1), (0.6, 0.4), None, ("a", 0.6)),  # both limits are reached exactly
    ],
)
def test_one_label_is_called_by_the_rule(mil, own, none, expected):
    found, confidence = call(mil, own, none)
    assert (found, confidence) == (expected[0], pytest.approx(expected[1]))


@pytest.mark.parametrize(
    ("own", "none", "expected"),
    [
        ((0.9, 0.7), None, ("a;b", 0.7)),
        ((0.9, 0.2), None, ("a", 0.9)),
        ((0.1, 0.2), None, ("none", 0.7)),
        ((0.1, 0.2), 0.72, ("none", 0.72)),
        ((0.9, 0.45), None, ("unsure", 0.9)),
        ((0.6, 0.1), None, ("unsure", 0.6)),
    ],
)
def test_several_labels_are_called_by_the_rule(own, none, expected):
    found, confidence = call((0.3, 0.2), own, none, several=True)
    assert (found, confidence) == (expected[0], pytest.approx(expected[1]))


def test_thresholds_may_differ_by_class():
    assert call((0.6, 0.1), (0.9, 0.1), thresholds=(0.7, 0.5))[0] == "none"
    assert call((0.6, 0.1), (0.9, 0.1), thresholds=(0.5, 0.7))[0] == "a"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_has_an_empty_call(bad):
    for mil, own, none in (((bad, 0.9), (0.9, 0.1), 0.0), ((0.9, 0.9), (bad, 0.1), 0.0), ((0.9, 0.9), (0.9, 0.1), bad)):
        found, confidence = call(mil, own, none)
        assert found == ""
        assert np.isnan(confidence)


unit = st.floats(0, 1)


@given(st.tuples(unit, unit), unit, unit, unit)
def test_the_order_of_the_classes_changes_no_call(mil, first, second, none):
    own = np.array([[first, second]])
    found, sure = make_calls(np.array([mil]), own, CLASSES, none_probability=np.array([none]))
    other, also = make_calls(np.array([mil[::-1]]), own[:, ::-1], CLASSES[::-1], none_probability=np.array([none]))
    assert found[0] == other[0]
    assert sure[0] == also[0]


@given(st.tuples(unit, unit), st.tuples(unit, unit))
def test_a_class_is_called_only_when_it_is_present_and_sure(mil, own):
    found, confidence = call(mil, own)
    if found in CLASSES:
        k = CLASSES.index(found)
        assert mil[k] >= 0.5 - 1e-9
        assert confidence == own[k] == max(own)
        assert confidence >= 0.6 - 1e-9
