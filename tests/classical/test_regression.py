"""Is a regression on measures that of an independent solver, and does it live with classes that it never sees?"""

import numpy as np
import pytest
from scipy.optimize import minimize

from bagscope.classical import regression
from bagscope.classical.regression import boosted, fit_linear

RNG = np.random.default_rng(0)
MEASURES = RNG.normal(size=(90, 3))
TARGET = (MEASURES @ [2.0, -1.0, 0.0] + RNG.normal(size=90) > 0).astype(int)
GROUPS = np.arange(90) // 3


def test_weights_are_those_of_the_penalised_likelihood():
    fitted = fit_linear(MEASURES, TARGET, GROUPS, 2, strength=0.3)
    clipped = np.clip(MEASURES, *np.quantile(MEASURES, (0.005, 0.995), axis=0))
    x = (clipped - clipped.mean(0)) / clipped.std(0)

    def loss(w):  # scikit-learn's C: the likelihood's weight beside half the squared weights
        z = x @ w[:3] + w[3]
        return 0.3 * np.logaddexp(0, -np.where(TARGET == 1, z, -z)).sum() + (w[:3] ** 2).sum() / 2

    best = minimize(loss, np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose(fitted.weight[1], best[:3], atol=1e-3)
    np.testing.assert_allclose(fitted.logits(MEASURES)[:, 1], x @ best[:3] + best[3], atol=3e-3)
    assert (fitted.logits(MEASURES)[:, 0] == 0).all()


def test_a_class_without_an_example_is_improbable_and_changes_nothing_else():
    two = fit_linear(MEASURES, TARGET, GROUPS, 2, strength=0.3).logits(MEASURES)
    three = fit_linear(MEASURES, 2 * TARGET, GROUPS, 3, strength=0.3).logits(MEASURES)
    np.testing.assert_allclose(three[:, [0, 2]], two)
    assert (three[:, 1] < two.max(1) - 3).all()
    trees = boosted(MEASURES, 2 * TARGET, MEASURES, 3)
    assert (trees[:, 1] == 0).all()
    np.testing.assert_allclose(trees.sum(1), 1)


def test_a_single_class_is_always_found():
    logits = fit_linear(MEASURES, np.ones(90, int), GROUPS, 2).logits(MEASURES)
    assert (logits[:, 1] - logits[:, 0] > 3).all()
    assert boosted(MEASURES, np.ones(90, int), MEASURES, 2)[:, 1] == pytest.approx(1)


def test_no_group_is_cut_when_the_penalty_is_chosen(monkeypatch):
    groups = np.repeat(np.arange(10), 6)
    target = np.tile([0, 1], 30)
    trained = []

    class Recorder:
        def fit(self, x, target):
            trained.append(set(x[:, 0].tolist()))
            return self

        def predict_proba(self, x):
            assert not trained[-1] & set(x[:, 0].tolist())
            return np.full((len(x), 2), 0.5)

    monkeypatch.setattr(regression, "_regression", lambda strength: Recorder())
    regression._strength(np.stack([groups, target], 1).astype(float), target, groups, seed=0)
    assert len(trained) >= 2 * len(regression.STRENGTHS)
