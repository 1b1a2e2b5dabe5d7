"""Do the figures of a screen say what they are said to say, on wells whose truth is known?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bagscope.ops.metrics import z_prime
from bagscope.report import statistics
from bagscope.tables.wells import well_name

PLATE = [(r, c) for r in range(1, 9) for c in range(1, 13)]


def plate(**columns):
    base = {
        "plate": "P",
        "well": [well_name(r, c) for r, c in PLATE],
        "label": "",
        "treatment": "",
        "concentration": np.nan,
        "unit": "",
        "call": "a",
        "confidence": 0.9,
        "split": "",
        "probability:a": np.random.default_rng(0).normal(0.3, 0.05, 96),
    }
    return pd.DataFrame({**base, **columns})


def test_controls_of_a_class_are_separated_from_all_others():
    wells = plate()
    wells.loc[:7, "label"], wells.loc[8:15, "label"], wells.loc[16:19, "label"] = "a", "b", "none"
    wells.loc[:7, "probability:a"] += 0.5
    wells.loc[:3, "split"] = "train"
    found = statistics.separations(wells, ["a", "b"])[0]
    x = wells["probability:a"]
    assert (found.inside, found.outside, found.seen) == (8, 12, 4)
    assert found.z_prime == pytest.approx(z_prime(x[:8], x[8:20]))
    assert np.isnan(statistics.separations(wells.iloc[:8], ["a"])[0].z_prime)


def test_labels_and_calls_are_counted_and_several_labels_in_any_order_are_the_same():
    wells = (
        plate().iloc[:6].assign(label=["a", "a", "b", "a;b", "none", ""], call=["a", "b", "b", "b;a", "unsure", "a"])
    )
    labels, calls, counts = statistics.confusion(wells, ["a", "b"])
    assert labels == ["a", "b", "none", "a;b"]
    assert calls == ["a", "b", "unsure", "b;a"]
    assert counts.sum() == 5
    right, of, low, high = statistics.right_share(wells)
    assert (right, of) == (3, 5)
    assert low < 0.6 < high
    assert statistics.disagreements(wells)["label"].tolist() == ["a", "none"]


def test_an_edge_and_a_row_effect_are_found_and_none_is_found_in_noise():
    wells = plate()
    edge = np.array([r in (1, 8) or c in (1, 12) for r, c in PLATE])
    wells["probability:a"] += 0.2 * edge
    (found,) = statistics.positions(wells, "probability:a")
    assert found["edge"] == pytest.approx(0.2, abs=0.03)
    rows = plate()
    rows["probability:a"] += [0.1 * r for r, _ in PLATE]
    (found,) = statistics.positions(rows, "probability:a")
    assert found["rows"] > 0.9
    (found,) = statistics.positions(plate(), "probability:a")
    assert max(found["rows"], found["columns"]) < 0.15
    (few,) = statistics.positions(plate().iloc[:8], "probability:a")
    assert np.isnan(few["edge"])


def test_replicates_that_agree_entirely_have_1_and_noise_has_about_0():
    names = np.repeat([f"t{i}" for i in range(24)], 4)
    same = plate(treatment=names, **{"probability:a": np.repeat(np.arange(24.0), 4)})
    assert statistics.replicate_agreement(same, "probability:a") == (1.0, 24)
    value, groups = statistics.replicate_agreement(plate(treatment=names), "probability:a")
    assert groups == 24
    assert abs(value) < 0.25
    assert np.isnan(statistics.replicate_agreement(plate(), "probability:a")[0])


def test_the_agreement_of_replicates_is_that_of_an_analysis_of_variance():
    values = np.random.default_rng(2).normal(np.repeat(np.arange(8.0), 12) / 4, 1)
    wells = plate(treatment=np.repeat([f"t{i}" for i in range(8)], 12), **{"probability:a": values})
    ratio = stats.f_oneway(*values.reshape(8, 12)).statistic
    assert statistics.replicate_agreement(wells, "probability:a")[0] == pytest.approx((ratio - 1) / (ratio + 11))


@pytest.mark.parametrize(("axis", "at"), [(0, 1), (0, 8), (1, 1), (1, 12)])
def test_each_side_of_a_plate_is_part_of_its_edge(axis, at):
    side = np.array(PLATE)[:, axis] == at
    found = statistics.positions(plate(**{"probability:a": side.astype(float)}), "probability:a")[0]
    assert found["edge"] == pytest.approx(side.sum() / 36)  # 36 of 8 x 12 wells lie at the edge


def test_a_treatment_that_acts_is_a_hit_and_the_others_are_not():
    names = np.repeat([f"t{i}" for i in range(24)], 4)
    wells = plate(treatment=names)
    wells.loc[:7, "label"], wells.loc[:7, "treatment"] = "b", ""  # the plate's reference
    acts = wells["treatment"] == "t9"
    wells.loc[acts, "probability:a"] += 0.4
    found = statistics.hits(wells, "probability:a", "a")
    assert found["treatment"].iloc[0] == "t9"
    assert found["effect"].iloc[0] == pytest.approx(0.4, abs=0.08)
    assert found["low"].iloc[0] < found["effect"].iloc[0] < found["high"].iloc[0]
    assert found["fdr"].iloc[0] < 0.05 < found["fdr"].iloc[1:].min()
    assert len(found) == 22
    assert found.equals(statistics.hits(wells, "probability:a", "a"))


def test_p_values_of_treatments_that_do_nothing_are_uniform():
    names = np.repeat([f"t{i}" for i in range(48)], 2)
    p = np.concatenate(
        [
            statistics.hits(
                plate(treatment=names, **{"probability:a": np.random.default_rng(seed).normal(size=96)}),
                "probability:a", "a", seed, 300,
            )["p"]
            for seed in range(4)
        ]
    )  # fmt: skip
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_p_values_are_never_0_for_no_number_of_permutations_shows_that():
    wells = plate(treatment=np.where(np.arange(96) < 8, "acts", "rest"))
    wells.loc[:7, "probability:a"] += 5
    p = statistics.hits(wells, "probability:a", "a", draws=99).set_index("treatment")["p"]
    assert p["acts"] == 1 / 100
    assert p["rest"] == 1


def test_wells_are_permuted_within_their_plates():
    wells = pd.concat([plate(), plate(plate="Q")], ignore_index=True)
    wells["treatment"] = "x"
    wells.loc[wells["plate"] == "Q", "probability:a"] += 5  # another plate's level is no effect
    wells.loc[:1, "treatment"] = "y"
    found = statistics.hits(wells, "probability:a", "a")
    assert found["effect"].abs().max() < 0.2


def test_false_discovery_rates_are_benjamini_and_hochbergs():
    p = np.random.default_rng(0).uniform(size=30) ** 2
    np.testing.assert_allclose(statistics.false_discovery(p), stats.false_discovery_control(p))


def test_calibration_rests_on_wells_that_no_training_saw():
    wells = plate(label="a", call="a", confidence=0.8)
    wells.loc[::5, "call"] = "b"
    found = statistics.calibration(wells)
    assert found is not None
    assert found.wells.sum() == 96
    assert found.error == pytest.approx(abs(0.8 - (wells["call"] == "a").mean()), abs=0.05)
    assert statistics.calibration(wells.assign(split="train")) is None
    assert statistics.calibration(wells.iloc[:9]) is None


def test_unsure_calls_are_neither_right_nor_wrong_in_the_calibration():
    wells = plate(label="a", call="a", confidence=np.linspace(0.6, 1, 96))
    wells.loc[::5, "call"] = "b"
    unsure = wells.iloc[:30].assign(call="unsure", confidence=0.4)
    one, other = (statistics.calibration(table) for table in (wells, pd.concat([wells, unsure])))
    assert one.error == other.error
    assert one.wells.tolist() == other.wells.tolist()


def test_treatments_are_judged_by_wells_like_the_training_ones():
    wells = plate()
    images = wells[["plate", "well"]].assign(unlike="")
    images.loc[:9, "unlike"] = "dna: brighter"
    two = pd.concat([images, images.iloc[:1].assign(unlike="")])  # the first well has another field, which is fine
    assert statistics.alike(wells, images)["well"].tolist() == wells["well"].tolist()[10:]
    assert statistics.alike(wells, two)["well"].tolist() == [wells["well"].iloc[0], *wells["well"].tolist()[10:]]
    assert len(statistics.alike(wells, images.assign(unlike="dna: brighter"))) == 96  # else nothing would be left


def test_risk_falls_when_only_the_surest_are_called():
    wells = plate(label="a", confidence=np.linspace(1, 0, 96))
    wells["call"] = np.where(np.arange(96) < 72, "a", "b")
    coverage, risk = statistics.risk_coverage(wells)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx(0.25)
    assert risk[71] == 0


def test_risk_is_the_wrong_share_of_the_wells_that_are_called():
    wells = plate().iloc[:4].assign(label="a", call=["a", "b", "a", "b"], confidence=[0.9, 0.8, 0.7, 0.6])
    coverage, risk = statistics.risk_coverage(wells)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
