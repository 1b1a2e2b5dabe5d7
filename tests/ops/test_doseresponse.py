"""Does a fit find the curve that made the responses, and say so when the doses show none?"""

import math

import numpy as np
import pytest
from bag_sets import LAW
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import f as f_distribution

from bagscope.ops.doseresponse import fit_dose_response

DOSES = np.repeat(2.0 ** np.arange(10), 2)  # 1 to 512, two wells each
NUMBERS = ("ec50", "low", "high", "bottom", "top", "slope")


def curve(doses, ec50=20.0, slope=1.5, bottom=0.1, top=0.9):
    return bottom + (top - bottom) * doses**slope / (doses**slope + ec50**slope)


def noisy(seed=0, sd=0.05, doses=DOSES, **parameters):
    return curve(doses, **parameters) + np.random.default_rng(seed).normal(0, sd, len(doses))


def fit(doses, responses, weights=None, **options):
    return fit_dose_response(doses, responses, weights, **{"draws": 0, **options})


def numbers(found, *names):
    return np.array([getattr(found, name) for name in names or NUMBERS])


@LAW
@given(
    ec50=st.floats(8, 64),
    slope=st.floats(1.2, 5),
    ends=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
)
def test_a_curve_without_scatter_is_found_again(ec50, slope, ends):
    bottom, top = ends
    assume(abs(top - bottom) > 1e-3 * max(abs(bottom), abs(top)))
    assume(top != bottom)
    found = fit(DOSES, curve(DOSES, ec50, slope, bottom, top))
    assert found.fitted
    assert not found.reason
    span = abs(top - bottom)
    assert found.ec50 == pytest.approx(ec50, rel=1e-4)
    assert found.slope == pytest.approx(slope, rel=1e-3)
    assert found.bottom == pytest.approx(bottom, abs=1e-3 * span)
    assert found.top == pytest.approx(top, abs=1e-3 * span)
    assert found.predict(DOSES) == pytest.approx(curve(DOSES, ec50, slope, bottom, top), abs=1e-4 * span)


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e9])
def test_the_ec50_and_its_interval_scale_with_the_doses(unit):
    one, other = (fit(DOSES * k, noisy(), draws=40) for k in (1.0, unit))
    assert numbers(other, "ec50", "low", "high") == pytest.approx(unit * numbers(one, "ec50", "low", "high"), rel=1e-6)
    assert numbers(other, "bottom", "top", "slope") == pytest.approx(numbers(one, "bottom", "top", "slope"), rel=1e-6)


@pytest.mark.parametrize(("unit", "shift"), [(1e-9, 0), (1e9, 0), (1, 50), (-1, 0), (-1e-6, 3e-6), (255, -1000)])
def test_responses_shifted_scaled_or_mirrored_have_the_same_ec50(unit, shift):
    one, other = fit(DOSES, noisy(), draws=40), fit(DOSES, shift + unit * noisy(), draws=40)
    same = ("ec50", "low", "high", "slope")
    assert numbers(other, *same) == pytest.approx(numbers(one, *same), rel=1e-6)
    moved = shift + unit * numbers(one, "bottom", "top")
    assert numbers(other, "bottom", "top") == pytest.approx(moved, abs=1e-6 * abs(unit))


def test_a_falling_curve_has_its_top_below_its_bottom_and_a_slope_above_0():
    found = fit(DOSES, noisy(bottom=0.9, top=0.1))
    assert found.bottom > found.top
    assert found.slope > 0
    assert found.ec50 == pytest.approx(20, rel=0.25)


def test_the_order_of_the_wells_does_not_matter():
    order = np.random.default_rng(3).permutation(len(DOSES))
    responses = noisy()
    same = ("ec50", "bottom", "top", "slope")
    assert numbers(fit(DOSES[order], responses[order]), *same) == pytest.approx(
        numbers(fit(DOSES, responses), *same), rel=1e-5
    )


def test_wells_without_the_compound_bear_on_the_bottom_alone():
    doses = np.append(np.zeros(200), DOSES)
    found = fit(doses, curve(doses))
    assert numbers(found, "ec50", "slope", "top") == pytest.approx([20, 1.5, 0.9], rel=1e-4)
    # Controls that lie elsewhere draw the bottom to themselves, and the model's top stays.
    moved = fit(doses, np.append(np.full(200, 0.15), curve(DOSES)))
    assert moved.bottom == pytest.approx(0.15, abs=0.01)
    assert moved.top == pytest.approx(0.9, abs=0.05)
    assert moved.predict(0) == moved.bottom


def test_a_well_of_weight_0_is_no_well_and_one_of_weight_2_is_two():
    responses = noisy()
    weights = np.ones(len(DOSES))
    weights[[0, 5, 9]] = 0
    responses_with_outliers = np.where(weights == 0, 1e6, responses)
    left = weights > 0
    assert fit(DOSES, responses_with_outliers, weights, draws=20) == fit(DOSES[left], responses[left], draws=20)
    twice = np.append(np.arange(len(DOSES)), np.flatnonzero(DOSES > 50))
    same = ("ec50", "bottom", "top", "slope")
    assert numbers(fit(DOSES, responses, np.where(DOSES > 50, 2e-9, 1e-9)), *same) == pytest.approx(
        numbers(fit(DOSES[twice], responses[twice]), *same), rel=1e-5
    )


@pytest.mark.parametrize(
    ("doses", "responses", "reason"),
    [
        ([], [], "0 doses above 0"),
        ([0, 1, 2, 3] * 3, [0, 1, 2, 3] * 3, "3 doses above 0"),
        ([1, 2, 4, 8], [0, 0, 1, 1], "4 wells"),
        (DOSES, np.full(len(DOSES), 0.3), "not more than its scatter"),
        (DOSES, curve(DOSES, ec50=0.2), "below the lowest dose, 1"),
        (DOSES, curve(DOSES, ec50=2000.0), "above the highest dose, 512"),
    ],
)
def test_doses_that_show_no_curve_get_a_reason_and_no_numbers(doses, responses, reason):
    found = fit(doses, responses, draws=5)
    assert not found.fitted
    assert reason in found.reason
    assert np.isnan(numbers(found)).all()
    assert np.isnan(found.predict([1.0, 2.0])).all()


def test_a_change_smaller_than_asked_for_is_no_response():
    assert fit(DOSES, curve(DOSES), least_range=0.7).fitted
    found = fit(DOSES, curve(DOSES), least_range=0.9)
    assert not found.fitted
    assert "less than 0.9" in found.reason


def test_scatter_alone_is_seldom_taken_for_a_response():
    fitted = [fit(DOSES, np.random.default_rng(seed).normal(size=len(DOSES))).fitted for seed in range(30)]
    # The test's level is .01: more than 2 of 30 have probability .003.
    assert sum(fitted) <= 2


def test_the_weakest_response_that_is_taken_for_one_has_a_p_value_below_1_per_cent():
    scatter, n = np.random.default_rng(3).normal(0, 0.1, len(DOSES)), len(DOSES)
    accepted = []
    for top in np.linspace(0.1, 0.4, 16):
        y = curve(DOSES, bottom=0.1, top=0.1 + top) + scatter
        fitted = fit(DOSES, y)
        if fitted.fitted:
            left, flat = np.sum((y - fitted.predict(DOSES)) ** 2), np.sum((y - y.mean()) ** 2)
            accepted.append(f_distribution.sf((flat - left) / 3 / (left / (n - 4)), 3, n - 4))
    assert 0 < len(accepted) < 16
    assert max(accepted) < 0.01


def test_the_interval_holds_the_true_ec50_about_as_often_as_it_says_and_is_no_wider_than_it_must():
    found = [fit(DOSES, noisy(seed), draws=60, level=0.95, seed=seed) for seed in range(25)]
    # Of 25 intervals of level .95 fewer than 21 hold the truth with probability .007.
    assert sum(one.low <= 20 <= one.high for one in found) >= 21
    # Least squares theory: the sd of log EC50 is that of the inverse of J'J at the true curve.
    share = curve(DOSES, bottom=0, top=1)
    steep = 0.8 * share * (1 - share)
    jacobian = np.stack([1 - share, share, -1.5 * steep, steep * np.log(DOSES / 20)], 1)
    sd = 0.05 * math.sqrt(np.linalg.inv(jacobian.T @ jacobian)[2, 2])
    widths = [math.log(one.high / one.low) for one in found]
    assert np.median(widths) == pytest.approx(2 * 1.96 * sd, rel=0.25)


def test_a_curve_cut_short_before_its_plateau_gets_no_narrow_interval():
    # Half of the way to the top is made at 400, and the highest dose is 512: the top is a guess.
    found = [fit(DOSES, noisy(seed, ec50=400.0, slope=1.0), draws=40, seed=seed) for seed in range(16)]
    fitted = [one for one in found if one.fitted]
    assert len(fitted) >= 5
    # Those whose scatter looked like a plateau may miss it; with tops held near the data 19 of 20 did.
    assert np.mean([one.low <= 400 <= one.high for one in fitted]) >= 0.7


def test_an_end_that_the_doses_do_not_bound_is_0_or_infinity():
    high = fit(DOSES, noisy(1, ec50=400.0, sd=0.06, slope=1.0), draws=60)
    assert high.fitted
    assert high.high == math.inf
    low = fit(1 / DOSES, noisy(1, ec50=400.0, sd=0.06, slope=1.0), draws=60)
    assert low.fitted
    assert low.low == 0


def test_the_seed_decides_the_interval_and_no_draws_leave_it_open():
    one, again, other = (fit(DOSES, noisy(), draws=30, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert (one.low, one.high) != (other.low, other.high)
    assert one.ec50 == other.ec50
    none = fit(DOSES, noisy())
    assert none.fitted
    assert math.isnan(none.low)
    assert math.isnan(none.high)


@pytest.mark.parametrize(
    ("doses", "responses", "weights", "words"),
    [
        ([1, 2], [1], None, "do not fit"),
        ([[1], [2]], [[1], [2]], None, "do not fit"),
        ([1, 2], [1, 2], [1], "do not fit"),
        ([1, -2], [1, 2], None, "doses are finite"),
        ([1, math.inf], [1, 2], None, "doses are finite"),
        ([1, 2], [1, math.nan], None, "responses finite"),
        ([1, 2], [1, 2], [2, -1], "weights"),
        ([1, 2], [1, 2], [0, 0], "weights"),
        ([1, 2], [1, 2], [1, math.nan], "weights"),
    ],
)
def test_numbers_that_cannot_be_are_refused(doses, responses, weights, words):
    with pytest.raises(ValueError, match=words):
        fit(doses, responses, weights)


@pytest.mark.parametrize("level", [0, 1, math.nan])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ValueError, match="level"):
        fit(DOSES, noisy(), level=level)
