"""Is an expert's table read whole, and refused with place and cure where it is wrong?"""

from __future__ import annotations

import numpy as np
import pytest

from bagscope.errors import TableError
from bagscope.tables.proportions import missing_classes, read_proportions, table_warnings

GOOD = """coarse,fine,mean,sd,n
low,tumour,0.2,0.1,12
low,other,0.8,0.1,12
high,tumour,0.9,0.05,10
high,other,0.1,0.05,10
"""


def written(folder, text):
    path = folder / "proportions.csv"
    path.write_text(text)
    return path


def refused(folder, text):
    with pytest.raises(TableError) as caught:
        read_proportions(written(folder, text))
    return {problem.code for problem in caught.value.problems}, caught.value.problems


def test_a_table_is_read_in_its_order_and_written_as_it_was(tmp_path):
    table = read_proportions(written(tmp_path, GOOD))
    assert table.coarse == ("low", "high")
    assert table.fine == ("tumour", "other")
    assert table.mean.tolist() == [[0.2, 0.8], [0.9, 0.1]]
    assert table.n.tolist() == [[12, 12], [10, 10]]
    (tmp_path / "again.csv").write_bytes(table.to_csv())
    again = read_proportions(tmp_path / "again.csv")
    assert np.array_equal(again.sd, table.sd)


def test_means_that_are_rounded_are_made_to_add_up(tmp_path):
    table = read_proportions(written(tmp_path, GOOD.replace("0.8,0.1,12", "0.81,0.1,12")))
    assert table.mean.sum(1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("0.8,0.1,12", "0.5,0.1,12", "no_sum"),
        ("0.2,0.1", "20,0.1", "bad_number"),
        ("0.2,0.1", "x,0.1", "bad_number"),
        ("0.2,0.1", "0.2,0.7", "bad_number"),
        ("0.2,0.1", "0.2,0", "no_spread"),
        ("0.1,12\nlow,other", "0.1,0\nlow,other", "bad_number"),
        ("low,other,0.8,0.1,12\n", "", "no_pair"),
        ("low,other", "low,tumour", "pair_twice"),
        ("low,tumour", ",tumour", "no_name"),
        ("sd,n", "spread,n", "no_column"),
    ],
)
def test_what_is_wrong_is_named(old, new, code, tmp_path):
    codes, problems = refused(tmp_path, GOOD.replace(old, new, 1))
    assert code in codes
    assert all(problem.cause and problem.fix for problem in problems)


def test_a_table_that_is_not_there_is_refused_with_its_name(tmp_path):
    with pytest.raises(TableError, match=r"gone\.csv: it cannot be read"):
        read_proportions(tmp_path / "gone.csv")


def test_all_faults_are_told_at_once_with_their_rows(tmp_path):
    _, problems = refused(tmp_path, GOOD.replace("0.2,0.1,12", "2,0.1,0").replace("0.9,", "0.9x,"))
    assert {(problem.row, problem.column) for problem in problems} >= {(2, "mean"), (2, "n"), (4, "mean")}


def test_what_the_classes_explain_is_weighted_by_their_blocks(tmp_path):
    table = read_proportions(written(tmp_path, GOOD))
    even = table.explained({"low": 5, "high": 5})
    between, within = 0.35**2, (0.1**2 + 0.05**2) / 2
    assert even[0] == pytest.approx(between / (between + within))
    assert table.explained({"low": 1000, "high": 1})[0] < even[0]
    assert table.explained({})[0] == pytest.approx(even[0])


def test_a_weak_table_and_too_many_pixels_are_warned_of(tmp_path):
    weak = GOOD.replace("0.9,0.05", "0.3,0.3").replace("0.1,0.05", "0.7,0.3")
    table = read_proportions(written(tmp_path, weak))
    codes = {problem.code for problem in table_warnings(table, {"low": 5, "high": 5}, 16)}
    assert codes == {"weak_table", "critical_count"}
    good = read_proportions(written(tmp_path, GOOD))
    assert table_warnings(good, {"low": 5, "high": 5}, 4) == []


def test_blocks_of_which_the_table_says_nothing_are_refused(tmp_path):
    table = read_proportions(written(tmp_path, GOOD))
    assert missing_classes(table, ["low", "high", "low"]) == []
    (problem,) = missing_classes(table, ["low", "middle", "middle"])
    assert "'middle'" in problem.cause
