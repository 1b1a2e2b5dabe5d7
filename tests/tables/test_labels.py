"""Do labels become the right classes and targets, and is it said when they cannot be learned from?"""

import numpy as np
import pytest

from bagscope.errors import BagscopeError
from bagscope.tables.labels import classes_of, several_labels, targets, training_problems, unknown_labels


def test_classes_are_sorted_and_none_is_no_class_but_None_is():
    assert classes_of(["b;a", "none", "None", "", "a"]) == (("None", "a", "b"), True)
    assert classes_of(["x", ""]) == (("x",), False)


def test_several_labels_are_told_from_one_per_row():
    assert several_labels(["a", "b;c"])
    assert not several_labels(["a", "b;", "b;b", "none", ""])


def test_targets_hold_the_classes_of_each_row_and_zeros_for_none():
    found = targets(["a", "b; a", "none", ""], ("a", "b"))
    np.testing.assert_array_equal(found, [[1, 0], [1, 1], [0, 0], [0, 0]])
    assert found.dtype == np.float32


def test_a_label_that_is_no_class_of_the_model_is_refused_and_counted():
    with pytest.raises(BagscopeError, match="'new'"):
        targets(["new"], ("a",))
    assert unknown_labels(["new", "a;new", "none", "", "b"], ("a",)) == {"new": 2, "b": 1}


def problems_of(labels, groups):
    return training_problems(labels, groups, range(2, len(labels) + 2))


def test_one_class_is_refused_with_its_wells():
    (problem,) = problems_of(["DMSO"] * 8, list("abcdefgh"))
    assert "1 class (DMSO, 8 well(s)); at least 2" in problem.cause
    (problem,) = problems_of(["none"] * 3, list("abc"))
    assert problem.code == "one_class"


def test_a_table_without_labels_is_refused():
    assert [problem.code for problem in problems_of(["", ""], list("ab"))] == ["no_label"]


def test_a_class_of_one_well_is_refused_with_the_well_and_its_row():
    (problem,) = problems_of(["A"] * 10 + ["B", "B"], [*"abcdefghij", "lone", "lone"])
    assert (problem.code, problem.row) == ("lonely_class", 12)
    assert "'B' has 1 well, 'lone'" in problem.cause


def test_two_classes_of_two_wells_can_be_trained():
    assert problems_of(["A", "A", "none", "none"], list("abcd")) == []
