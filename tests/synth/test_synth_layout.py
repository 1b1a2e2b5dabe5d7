"""The plate's design: controls do not give themselves away by their place, doses follow Hill's curve."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bagscope.errors import SettingsError
from bagscope.synth.layout import (
    COMPOUNDS,
    ODD_KINDS,
    choose_odd_wells,
    doses,
    hill_curve,
    jittered_share,
    plan_plate,
    well_name,
)


@pytest.mark.parametrize("axis", ["row", "column"])
def test_a_row_or_column_holds_as_many_positive_as_negative_controls(axis):
    for size in [(8, 12), (2, 6), (16, 24)]:
        controls = [p for p in plan_plate(*size) if p.label]
        for place in {getattr(p, axis) for p in controls}:
            counts = Counter(p.label for p in controls if getattr(p, axis) == place)
            assert counts["positive"] == counts["negative"] > 0


def test_the_plate_has_96_wells_of_which_a_third_are_controls():
    plan = plan_plate()
    assert [p.well for p in plan][:2] + [p.well for p in plan][-1:] == ["A01", "A02", "H12"]
    assert len({p.well for p in plan}) == 96
    assert Counter(p.label for p in plan) == {"": 64, "positive": 16, "negative": 16}


def test_every_dose_has_a_well_in_each_of_four_rows():
    replicates = Counter((p.treatment, p.concentration) for p in plan_plate() if not p.label)
    assert len(replicates) == 16
    assert set(replicates.values()) == {4}


def test_half_of_the_effect_is_at_the_ec50_and_none_at_dose_zero():
    for compound in COMPOUNDS:
        assert compound.share(compound.ec50) == pytest.approx((compound.bottom + compound.top) / 2)
        assert compound.share(0.0) == compound.bottom
    # by hand: at 3 times the EC50 and Hill slope 2 the odds are 9 to 1
    assert hill_curve(6.0, 2.0, 2.0) == pytest.approx(0.9)


def test_shares_rise_with_the_dose():
    for compound in COMPOUNDS:
        shares = [compound.share(dose) for dose in doses(compound.top_dose, 8)]
        assert np.all(np.diff(shares) > 0)
        assert shares[0] < 0.1 < 0.85 < shares[-1]


def test_doses_are_the_round_half_decades_that_people_pipette():
    assert doses(300.0, 8) == (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    assert doses(100.0, 4) == (3.0, 10.0, 30.0, 100.0)


@pytest.mark.parametrize("seed", range(20))
def test_what_goes_wrong_spares_controls_and_three_replicates_of_every_dose(seed):
    plan = {p.well: p for p in plan_plate()}
    odd = choose_odd_wells(np.random.default_rng(seed), tuple(plan.values()))
    assert sorted(odd.values()) == sorted(ODD_KINDS)
    assert not any(plan[well].label for well in odd)
    assert len({(plan[well].treatment, plan[well].concentration) for well in odd}) == len(odd)


def test_wells_spread_round_the_curve_on_the_scale_of_log_odds():
    rng = np.random.default_rng(0)
    assert jittered_share(rng, 0.3, 0.0) == pytest.approx(0.3)
    drawn = np.array([jittered_share(rng, 0.3, 0.5) for _ in range(4000)])
    log_odds = np.log(drawn / (1 - drawn))
    # standard errors of mean and standard deviation: .008 and .006
    assert log_odds.mean() == pytest.approx(np.log(3 / 7), abs=0.03)
    assert log_odds.std() == pytest.approx(0.5, abs=0.025)


def test_wells_are_named_by_letter_and_two_digits():
    assert [well_name(0, 0), well_name(7, 11), well_name(15, 23)] == ["A01", "H12", "P24"]


@pytest.mark.parametrize("size", [(1, 12), (17, 12), (8, 4), (8, 25)])
def test_a_plate_that_does_not_exist_is_refused(size):
    with pytest.raises(SettingsError, match="rows and"):
        plan_plate(*size)


def test_a_curve_without_a_middle_is_refused():
    for impossible in [(-1.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)]:
        with pytest.raises(SettingsError, match="no curve"):
            hill_curve(*impossible)


@pytest.mark.parametrize("rows", [4, 7, 8])
def test_replicates_of_every_dose_are_numbered_from_1(rows):
    numbers = {}
    for planned in plan_plate(rows, 12):
        if not planned.label:
            numbers.setdefault((planned.treatment, planned.concentration), []).append(planned.replicate)
    assert all(sorted(series) == list(range(1, len(series) + 1)) for series in numbers.values())
