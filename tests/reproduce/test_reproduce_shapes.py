"""Does the shapes experiment run from its data to its table, and go on where it stopped?"""

import csv

import pytest

from bagscope.reproduce import run_experiment
from bagscope.reproduce.shapes_text import key_table
from bagscope.run.events import Silent


class Told(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def quick(out, events):
    asked = {"data": None, "seeds": None, "only": None, "quick": True, "test_data": None}
    return run_experiment("shapes", out=out, device="cpu", threads=1, events=events, **asked)


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


def test_the_table_has_a_row_per_set_and_a_column_per_method():
    one = {"auc_cv": 0.9, "auc_cv_low": 0.8, "auc_cv_high": 0.95, "rotation_change": 0.01}
    table = key_table(
        {("default/nuclei", 0): one, ("default/nuclei", 1): one | {"auc_cv": 0.8}, ("six/nuclei", 0): one}
    )
    assert "| nuclei of embryos | 0.850 (0.800 to 0.950) | 0.900 (0.800 to 0.950) | 0.0100 |" in table
