"""Do a network's outputs become the probabilities that they stand for?"""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagscope.tables.probabilities import log_softmax, probabilities, sigmoid

LOGITS = st.lists(st.lists(st.floats(-700, 700), min_size=3, max_size=3), min_size=1, max_size=5).map(np.array)


@given(LOGITS)
def test_sigmoid_is_that_of_the_definition_and_its_mirror_image(z):
    with np.errstate(over="ignore"):
        wanted = 1 / (1 + np.exp(-z.astype(np.longdouble)))
    assert np.allclose(sigmoid(z), wanted.astype(float), rtol=1e-12, atol=0)
    assert np.allclose(sigmoid(-z), 1 - sigmoid(z), rtol=0, atol=1e-15)


def test_sigmoid_overflows_for_no_value():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sigmoid(np.array([-1e308, -800.0, 800.0, 1e308])).tolist() == [0, 0, 1, 1]


@given(LOGITS)
def test_probabilities_of_a_row_add_up_to_1_and_shifts_change_nothing(logits):
    found = np.exp(log_softmax(logits))
    assert found.sum(1) == pytest.approx(np.ones(len(logits)), abs=1e-12)
    assert np.allclose(np.exp(log_softmax(logits + 300)), found, rtol=1e-9, atol=1e-12)
    # Odds of two classes are what their logits say.
    assert np.allclose(log_softmax(logits)[:, 0] - log_softmax(logits)[:, 1], logits[:, 0] - logits[:, 1], atol=1e-9)


def test_a_row_that_is_not_scored_stays_so_and_changes_no_other():
    logits = np.array([[1.0, 2.0], [np.nan, 0.0], [3.0, -1.0]])
    found = log_softmax(logits)
    assert np.isnan(found[1]).all()
    assert np.array_equal(found[[0, 2]], log_softmax(logits[[0, 2]]))
    judged = probabilities(logits, logits, several=False, none_trained=False)
    assert np.isnan(judged.head[1]).all()
    assert np.isfinite(judged.head[[0, 2]]).all()


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("none_trained", [True, False])
def test_no_things_have_no_scores(several, none_trained):
    judged = probabilities(np.empty((0, 2)), np.empty((0, 2 + (none_trained and not several))), several, none_trained)
    assert judged.mil.shape == judged.head.shape == (0, 2)
    assert (judged.none is None) == (not none_trained)


def test_with_one_label_none_is_the_last_of_the_outputs():
    head = np.log([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    judged = probabilities(np.zeros((2, 2)), head, several=False, none_trained=True)
    assert judged.head == pytest.approx(np.array([[0.2, 0.3], [0.6, 0.3]]))
    assert judged.none == pytest.approx([0.5, 0.1])
    assert judged.mil.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_with_several_labels_none_is_that_no_class_applies():
    head = np.log([[0.2 / 0.8, 0.3 / 0.7]])
    judged = probabilities(np.array([[2.0, -2.0]]), head, several=True, none_trained=True)
    assert judged.head == pytest.approx(np.array([[0.2, 0.3]]))
    assert judged.none == pytest.approx([0.8 * 0.7])
    assert judged.mil == pytest.approx(sigmoid(np.array([[2.0, -2.0]])))
    assert probabilities(np.zeros((1, 2)), head, several=True, none_trained=False).none is None
