"""Are measured runs found again by what they were, and never taken for others?"""

import pytest

from bagscope.reproduce.ledger import Ledger, spread_table
from bagscope.reproduce.order import Order


def test_a_run_is_found_by_its_setting_seed_and_protocol_alone(tmp_path):
    ledger = Ledger(tmp_path, "digits", {"version": "1", "quick": False})
    ledger.keep("lse r=5", 0, {"errors": 3, "unknown": float("nan")})
    assert ledger.find("lse r=5", 0) == {"errors": 3.0}
    assert ledger.find("lse r=5", 1) is None
    assert Ledger(tmp_path, "digits", {"version": "2", "quick": False}).find("lse r=5", 0) is None


def test_a_setting_whose_folder_has_the_same_name_is_another_one(tmp_path):
    ledger = Ledger(tmp_path, "digits", {})
    ledger.keep("lse r=5", 0, {"errors": 3})
    assert ledger.place("lse r 5", 0) == ledger.place("lse r=5", 0)
    assert ledger.find("lse r 5", 0) is None


def test_the_table_has_mean_sample_sd_and_range_over_seeds():
    runs = {("a", seed): {"errors": value} for seed, value in enumerate((1.0, 2.0, 6.0))} | {("b", 0): {"errors": 4.0}}
    assert spread_table(runs).splitlines()[2:] == [
        "| a | errors | 3 | 2.65 | 1 | 6 | 3 |",  # sd of 1, 2 and 6 with n - 1: the root of 7
        "| b | errors | 4 |  | 4 | 4 | 1 |",
    ]


@pytest.mark.parametrize(
    ("only", "chosen"), [(None, ["lse", "lse/few", "lsex"]), ("lse", ["lse", "lse/few"]), ("lsex", ["lsex"])]
)
def test_a_setting_is_run_with_its_variants_and_no_other(tmp_path, only, chosen):
    assert Order("digits", None, tmp_path, only=only).settings(["lse", "lse/few", "lsex"]) == chosen
