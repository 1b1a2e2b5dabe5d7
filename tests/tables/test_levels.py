"""Do fields add up to wells and treatments as they should, with no row lost and no gap averaged?"""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from bagscope.tables.levels import aggregate

CLASSES = ("a", "b")


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, float)))


def softmax(z):
    return np.exp(z) / np.exp(z).sum()


def fields(*records, none=False, extra=None):
    """Give fields from (plate, well, log-odds of a, b, logits of a, b[, none])."""
    frame = pd.DataFrame(
        {
            "row": np.arange(2, len(records) + 2),
            "image": [f"{i}.tif" for i in range(len(records))],
            "plate": [r[0] for r in records],
            "well": [r[1] for r in records],
            "site": [str(i + 1) for i in range(len(records))],
            "label": "",
            "treatment": "drug",
            "concentration": 1.0,
            "unit": "uM",
            "split": "",
        }
    )
    for name, column in (extra or {}).items():
        frame[name] = column
    names = [*(f"log_odds:{c}" for c in CLASSES), *(f"logit:{c}" for c in CLASSES), *(["logit:none"] if none else [])]
    for at, name in enumerate(names):
        frame[name] = [float(r[2 + at]) for r in records]
    return frame


def test_a_well_is_the_mean_of_log_odds_and_the_softmax_of_mean_log_probabilities():
    z = np.array([[2.0, -1, 3, 0, 1], [0.0, -3, -1, 2, 0]])
    found = aggregate(fields(("P", "A01", *z[0]), ("P", "A01", *z[1]), none=True), CLASSES, none_trained=True).wells
    assert len(found) == 1
    np.testing.assert_allclose(
        found[["mil_probability:a", "mil_probability:b"]].to_numpy()[0], sigmoid(z[:, :2].mean(0)), rtol=1e-12
    )
    logs = np.log([softmax(z[0, 2:]), softmax(z[1, 2:])])
    expected = np.exp(logs.mean(0)) / np.exp(logs.mean(0)).sum()
    names = ["probability:a", "probability:b", "probability:none"]
    np.testing.assert_allclose(found[names].to_numpy()[0], expected, rtol=1e-12)


def test_with_several_labels_a_well_is_the_sigmoid_of_mean_log_odds():
    table = fields(("P", "A01", 1, 1, 4, -2), ("P", "A01", 1, 1, 0, -4))
    found = aggregate(table, CLASSES, several=True, none_trained=True).wells
    own = sigmoid([2, -3])
    np.testing.assert_allclose(found[["probability:a", "probability:b"]].to_numpy()[0], own, rtol=1e-12)
    assert found["probability:none"][0] == pytest.approx((1 - own).prod())


def test_a_well_of_one_field_is_that_field():
    levels = aggregate(fields(("P", "A01", 2, -1, 3, 0)), CLASSES)
    columns = [name for name in levels.wells if ":" in name or name in ("call", "confidence")]
    pd.testing.assert_frame_equal(levels.wells[columns], levels.images[columns])


def test_no_row_disappears_and_no_gap_is_averaged():
    gap = (np.nan,) * 4
    table = fields(("P", "A01", 2, 0, 1, 0), ("P", "A01", *gap), ("P", "A02", *gap), ("P", "A02", *gap))
    levels = aggregate(table, CLASSES)
    assert len(levels.images) == 4
    assert levels.images["row"].tolist() == [2, 3, 4, 5]
    assert levels.images["call"].tolist()[1:] == ["", "", ""]
    assert levels.wells["n_fields"].tolist() == [1, 0]
    assert levels.wells["call"].tolist() == ["a", ""]
    assert levels.wells["mil_probability:a"][0] == pytest.approx(sigmoid(2))
    assert np.isnan(levels.wells["confidence"][1])
    assert levels.treatments[["n_wells", "n_fields"]].to_numpy().tolist() == [[1, 1]]


def test_one_class_that_is_not_finite_makes_the_field_unscored():
    table = fields(("P", "A01", 2, np.inf, 1, 0), ("P", "A01", 2, 0, 1, 0))
    levels = aggregate(table, CLASSES)
    assert levels.images["n_fields"].tolist() == [0, 1]
    assert levels.images["mil_probability:a"].isna().tolist() == [True, False]


def test_a_treatment_of_which_every_well_failed_keeps_its_row():
    found = aggregate(fields(("P", "A01", *(np.nan,) * 4)), CLASSES).treatments
    assert found[["treatment", "n_wells", "call"]].to_numpy().tolist() == [["drug", 0, ""]]


def test_a_treatment_is_the_median_over_its_wells_with_an_interval_from_three_wells_on():
    odds = [-2.0, 0.5, 3.0, 1.0, -1.0]
    table = fields(*(("P", f"A{i:02d}", z, -z, z, 0) for i, z in enumerate(odds, start=1)))
    found = aggregate(table, CLASSES).treatments.iloc[0]
    assert found["mil_probability:a"] == pytest.approx(np.median(sigmoid(odds)))
    assert found["probability:a"] == pytest.approx(np.median(sigmoid(odds)))
    low, high = found["mil_probability_low:a"], found["mil_probability_high:a"]
    assert sigmoid(-2) <= low < found["mil_probability:a"] < high <= sigmoid(3)
    two = aggregate(table.iloc[:2], CLASSES).treatments.iloc[0]
    assert np.isnan(two["mil_probability_low:a"])
    assert two["mil_probability:a"] == pytest.approx(sigmoid(odds[:2]).mean())


def test_the_interval_agrees_with_the_exact_bootstrap_of_three_wells():
    # Of 27 resamples of three wells the median is the lowest or the highest one in 7 each: both ends are reached.
    table = fields(*(("P", f"A{i}", z, 0, 0, 0) for i, z in enumerate([-1.0, 0.0, 1.0])))
    found = aggregate(table, CLASSES).treatments.iloc[0]
    assert found["mil_probability_low:a"] == pytest.approx(sigmoid(-1))
    assert found["mil_probability_high:a"] == pytest.approx(sigmoid(1))


def test_intervals_depend_on_seed_and_wells_but_not_on_order_or_other_treatments():
    rng = np.random.default_rng(0)
    table = fields(*(("P", f"{r}{c:02d}", *rng.normal(size=4)) for r in "ABCD" for c in range(1, 9)))
    table["treatment"] = np.repeat(["one", "two", "three", "four"], 8)
    first = aggregate(table, CLASSES, seed=1).treatments.set_index("treatment")
    shuffled = aggregate(table.sample(frac=1, random_state=0), CLASSES, seed=1).treatments.set_index("treatment")
    pd.testing.assert_frame_equal(shuffled, first)
    alone = aggregate(table[table["treatment"] == "two"], CLASSES, seed=1).treatments.set_index("treatment")
    pd.testing.assert_frame_equal(alone, first.loc[["two"]])
    other = aggregate(table, CLASSES, seed=2).treatments.set_index("treatment")
    assert (other["probability_low:a"] != first["probability_low:a"]).any()


def test_concentrations_units_and_gaps_are_different_treatments_in_order():
    table = fields(*(("P", f"A0{i}", 1, 0, 1, 0) for i in range(1, 7)))
    table["concentration"] = [10.0, 2.0, np.nan, np.nan, 2.0, 1.0]
    table["unit"] = ["uM", "uM", "", "", "nM", "uM"]
    table.loc[5, "treatment"] = ""
    found = aggregate(table, CLASSES).treatments
    assert found[["concentration", "unit", "n_wells"]].fillna(-1).to_numpy().tolist() == [
        [-1, "", 2], [2, "nM", 1], [2, "uM", 1], [10, "uM", 1],
    ]  # fmt: skip


def test_columns_stand_in_the_order_of_the_contract():
    table = fields(("P", "A01", 1, 0, 1, 0, 0), none=True, extra={"donor": "ann", "split": "train"})
    levels = aggregate(table, CLASSES, none_trained=True)
    scores = ["mil_probability:a", "probability:a", "mil_probability:b", "probability:b", "probability:none"]
    last = ["call", "confidence", "split"]
    keys = ["plate", "well", "site", "row", "image", "label", "treatment", "concentration", "unit", "donor"]
    assert list(levels.images) == [*keys, "n_fields", *scores, *last]
    assert list(levels.wells) == [
        "plate", "well", "label", "treatment", "concentration", "unit", "donor", "n_fields", *scores, *last,
    ]  # fmt: skip
    assert list(levels.treatments)[:5] == ["treatment", "concentration", "unit", "n_wells", "n_fields"]
    with_ends = [f"{kind}{end}:a" for kind in ("mil_probability", "probability") for end in ("", "_low", "_high")]
    assert list(levels.treatments)[5:11] == with_ends
    assert list(levels.treatments)[-6:] == [*(f"probability{end}:none" for end in ("", "_low", "_high")), *last]


@pytest.mark.parametrize("failed", [[], [0], [0, 1]])
def test_the_schema_is_the_same_whatever_failed_and_without_any_treatment(failed):
    table = fields(("P", "A01", 1, 0, 1, 0), ("P", "A02", 1, 0, 1, 0))
    table.loc[failed, [name for name in table if ":" in name]] = np.nan
    whole = aggregate(table, CLASSES)
    without = aggregate(table.assign(treatment=""), CLASSES)
    assert len(without.treatments) == 0
    reference = aggregate(fields(("P", "A01", 1, 0, 1, 0)), CLASSES)
    for found in (whole, without):
        for level in ("images", "wells", "treatments"):
            assert getattr(found, level).dtypes.to_dict() == getattr(reference, level).dtypes.to_dict()


def test_a_column_is_kept_for_a_well_where_its_fields_agree():
    table = fields(("P", "A01", 1, 0, 1, 0), ("P", "A01", 1, 0, 1, 0), ("P", "A02", 1, 0, 1, 0))
    table["label"] = ["x", "y", "x"]
    table["donor"] = ["ann", "ann", "bob"]
    found = aggregate(table, CLASSES).wells
    assert found["label"].tolist() == ["", "x"]
    assert found["donor"].tolist() == ["ann", "bob"]


def test_rows_without_a_well_are_wells_of_their_own():
    table = fields(("plate", "-", 1, 0, 1, 0), ("plate", "-", 3, 0, 1, 0))
    found = aggregate(table, CLASSES).wells
    assert found["site"].tolist() == ["1", "2"]
    np.testing.assert_allclose(found["mil_probability:a"], sigmoid([1, 3]))


def test_cells_are_summed_up():
    table = fields(("P", "A01", 1, 0, 1, 0), ("P", "A01", 1, 0, 1, 0), extra={"n_cells": [5, 7]})
    levels = aggregate(table, CLASSES)
    assert levels.wells["n_cells"].tolist() == levels.treatments["n_cells"].tolist() == [12]


def test_scores_at_the_ends_of_float_stay_probabilities():
    table = fields(("P", "A01", 800, -800, 800, -800), ("P", "A02", -800, -800, -800, 800))
    with np.errstate(all="raise", under="ignore"):
        found = aggregate(table, CLASSES).wells
    assert found["mil_probability:a"].tolist() == [1, 0]
    assert found["probability:b"].tolist() == [0, 1]


def test_the_interval_of_a_treatment_covers_95_percent_of_the_bootstrap():
    # The median of 9 wells drawn with replacement is at most the k-th when 5 of 9 draws are: in .001 (k = 1), .031
    # (k = 2) and .145 (k = 3) of all cases. So 2.5 % is reached at the second well and 5 % only at the third.
    values = np.arange(-4.0, 5.0)
    below = [scipy.stats.binom.sf(4, 9, k / 9) for k in (1, 2, 3)]
    assert below[0] < 0.025 < below[1] < 0.05 < below[2]
    table = fields(*(("P", f"A{i:02d}", z, 0, 0, 0) for i, z in enumerate(values)))
    treatment = aggregate(table, CLASSES, draws=20_000).treatments.iloc[0]
    assert treatment["mil_probability_low:a"] == pytest.approx(sigmoid(values[1]))
    assert treatment["mil_probability_high:a"] == pytest.approx(sigmoid(values[-2]))


@pytest.mark.parametrize("column", range(2, 6))
def test_a_field_counts_as_scored_only_when_bag_and_last_layer_are_finite(column):
    record = ["P", "A01", 1.0, -1.0, 2.0, -2.0]
    record[column] = np.nan
    levels = aggregate(fields(record, ("P", "A01", 3.0, 0.0, 1.0, 0.0)), CLASSES)
    assert levels.images["n_fields"].tolist() == [0, 1]
    assert levels.images["mil_probability:a"].isna().tolist() == [True, False]
    assert levels.wells["n_fields"].tolist() == [1]
    assert levels.wells["mil_probability:a"].iloc[0] == pytest.approx(sigmoid(3.0))
