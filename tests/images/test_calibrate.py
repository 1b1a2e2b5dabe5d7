"""Is a model calibrated on the wells that watched it, and says why when it is not?"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bagscope as bs
import toys
from bagscope.engine.card import CalibrationCard
from bagscope.images import calibrate
from bagscope.ops.calibration import fit_temperature

P = ["probability:filled", "probability:ring", "probability:none"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A screen whose half of wells watches: enough for a temperature."""
    folder = tmp_path_factory.mktemp("many")
    table = toys.toy(folder / "toy", wells_per_class=12)
    return table, toys.quick(table, folder / "model", validation=0.5)


def test_too_few_wells_are_told_and_change_nothing(trained):
    told = bs.load(trained, device="cpu").card.calibration
    assert (told.method, told.temperature) == ("none", 1.0)
    assert "10 are needed" in told.why


def test_enough_wells_give_a_temperature_that_is_said_and_kept(many, tmp_path):
    table, model = many
    told = model.card.calibration
    assert told.method == "temperature"
    assert told.wells >= 10
    assert told.temperature != 1.0
    assert bs.load(model.folder, device="cpu").card.calibration == told
    listener = toys.Listener()
    toys.quick(table, tmp_path / "model", validation=0.5, events=listener)
    assert [text for text in listener.said if f"temperature {told.temperature:.2f}" in text]


def test_a_row_without_a_well_watches_as_a_well_of_its_own(many, tmp_path):
    table, _ = many
    rows = pd.read_csv(table).assign(well="")
    rows.to_csv(table.with_name("no_wells.csv"), index=False)
    told = toys.quick(table.with_name("no_wells.csv"), tmp_path / "model", validation=0.5).card.calibration
    assert told.wells == pytest.approx(len(rows) / 2, abs=1)


def test_probabilities_are_those_of_the_divided_logits_and_the_bags_stay(many, tmp_path):
    table, model = many
    scores = model.score(table, tmp_path / "scores", threads=1).images
    plain = bs.load(model.folder, device="cpu")
    plain.card = plain.card.model_copy(update={"calibration": CalibrationCard()})
    before = plain.score(table, tmp_path / "plain", threads=1).images
    np.testing.assert_array_equal(scores["mil_probability:ring"], before["mil_probability:ring"])
    ratio, was = (np.log(one[P].to_numpy()) - np.log(one[P[:1]].to_numpy()) for one in (scores, before))
    np.testing.assert_allclose(ratio, was / model.card.calibration.temperature, rtol=1e-6, atol=1e-9)
    pixels = np.random.default_rng(0).integers(90, 400, (2, 72, 72)).astype(np.uint16)
    one, other = model.predict(pixels), plain.predict(pixels)
    steps = [np.log(p.probability["ring"] / p.probability["filled"]) for p in (one, other)]
    assert steps[0] == pytest.approx(steps[1] / model.card.calibration.temperature)


def test_the_temperature_is_that_of_the_validation_wells(monkeypatch):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 60)
    logits = np.where(np.arange(2) == truth[:, None], 4.0, 0.0) + rng.normal(0, 4, (60, 2))
    is_validation = np.arange(60) % 2 == 1
    logits[~is_validation] *= 5  # these rows are overconfident by far
    table = pd.DataFrame({"plate": "P", "well": [f"A{at:02d}" for at in range(60)], "site": "1"})
    table["label"] = np.array(["a", "b"], dtype=object)[truth]
    monkeypatch.setattr(calibrate, "_well_logits", lambda model, rows, chosen, *_: logits[chosen])
    model = SimpleNamespace(card=SimpleNamespace(classes=("a", "b"), several_labels=False))
    card = calibrate.calibration_of(model, SimpleNamespace(table=table), is_validation, None)
    assert card.wells == 30
    assert card.temperature == fit_temperature(logits[is_validation], truth[is_validation], False)
    assert card.temperature != fit_temperature(logits[~is_validation], truth[~is_validation], False)
