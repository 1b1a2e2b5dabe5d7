"""Does a temperature make a model as sure as it is right, and leave its calls as they are?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from bagscope.ops.calibration import COLDEST, HOTTEST, fit_temperature


@pytest.mark.parametrize("wanted", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_that_logits_were_multiplied_by_is_found(wanted):
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (4000, 3))
    truth = np.array([rng.choice(3, p=p) for p in softmax(true, axis=1)])
    assert fit_temperature(true * wanted, truth, several=False) == pytest.approx(wanted, rel=0.06)


@pytest.mark.parametrize("wanted", [0.5, 3.0])
def test_classes_that_are_judged_one_by_one_have_one_temperature_too(wanted):
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, (3000, 2))
    truth = (rng.random(true.shape) < expit(true)).astype(int)
    assert fit_temperature(true * wanted, truth, several=True) == pytest.approx(wanted, rel=0.06)


def test_no_well_says_nothing_and_a_few_that_are_all_right_ask_for_no_certainty():
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, int), several=False) == 1.0
    few = fit_temperature(np.array([[4.0, -4.0]] * 12), np.zeros(12, int), several=False)
    assert 0.5 < few <= 1.0


def test_a_model_that_is_sure_of_the_wrong_thing_is_made_as_unsure_as_allowed():
    logits = np.array([[9.0, -9.0]] * 50)
    assert fit_temperature(logits, np.ones(50, int), several=False) == pytest.approx(HOTTEST, rel=0.01)
    assert fit_temperature(logits / 1e3, np.zeros(50, int), several=False) >= COLDEST
