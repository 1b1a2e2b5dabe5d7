"""Does the shapes experiment run from its data to its table, and go on where it stopped?"""

import csv

import numpy as np
import pytest

from bagscope.engine.events import Silent
from bagscope.reproduce import run_experiment, shapes
from bagscope.reproduce.shapes_text import key_table


class Told(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def quick(out, events, data=None):
    asked = {"data": data, "seeds": None, "only": None, "quick": True, "test_data": data}
    return run_experiment("shapes", out=out, device="cpu", threads=1, events=events, **asked)


@pytest.fixture(autouse=True)
def _two_folds(monkeypatch):
    """As many folds as a cross-validation needs."""
    monkeypatch.setattr(shapes, "FOLDS", 2)


@pytest.mark.slow
def test_a_smoke_run_measures_every_method_and_is_not_done_twice(tmp_path):
    told = Told()
    out = quick(tmp_path / "shapes", told)
    with (out / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    settings = {row["setting"] for row in rows}
    assert settings == {f"{kind}/simulated" for kind in ("quick", "sparse", "morphometry", "boosting", "six", "dense")}
    assert all(0 <= float(row["value"]) <= 1 for row in rows if row["measure"].startswith("auc"))
    changes = {row["setting"] for row in rows if row["measure"] == "rotation_change"}
    assert changes == {"quick/simulated", "sparse/simulated", "dense/simulated"}
    assert "minutes on two quiet cores" in told.said[0]
    again = Told()
    quick(tmp_path / "shapes", again)
    assert "0 still to do" in again.said[0]


@pytest.mark.slow
def test_test_data_are_judged_by_every_method_beside_the_cross_validation(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "val"):
        labels = np.arange(30)[:, None] % 2
        radii = [rng.uniform(3, 4, 3) if one else rng.uniform((1.5, 4, 4), (2, 6, 6)) for one in labels.ravel()]
        axes = np.stack(np.meshgrid(*[np.arange(28) - 13.5] * 3, indexing="ij"), -1)
        arrays[f"{part}_images"] = np.stack([((axes / each) ** 2).sum(-1) <= 1 for each in radii]).astype(np.uint8)
        # In the part that is judged at the end the labels are the wrong way round.
        arrays[f"{part}_labels"] = labels if part == "train" else 1 - labels
    (tmp_path / "data" / "adrenal3d").mkdir(parents=True)
    np.savez(tmp_path / "data" / "adrenal3d" / "adrenalmnist3d_trainval.npz", **arrays)
    out = quick(tmp_path / "shapes", Told(), tmp_path / "data")
    with (out / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {(row["setting"], row["measure"]): float(row["value"]) for row in rows}
    kinds = ("quick", "sparse", "morphometry", "boosting", "six", "dense")
    assert {setting for setting, measure in found if measure == "auc_test"} == {f"{kind}/adrenal28" for kind in kinds}
    # Flat and round: their measures tell them apart in rows that no training saw, wherever these come from.
    assert found["morphometry/adrenal28", "auc_cv"] == 1
    assert found["morphometry/adrenal28", "auc_test"] == 0
    assert found["quick/adrenal28", "bags"] == 24


def test_the_table_has_a_row_per_set_and_a_column_per_method():
    one = {"auc_cv": 0.9, "auc_cv_low": 0.8, "auc_cv_high": 0.95, "rotation_change": 0.01}
    table = key_table(
        {("default/nuclei", 0): one, ("default/nuclei", 1): one | {"auc_cv": 0.8}, ("six/nuclei", 0): one}
    )
    assert "| nuclei of embryos | 0.850 (0.800 to 0.950) | 0.900 (0.800 to 0.950) | 0.0100 |" in table
