"""Does an error say where, what, and what to do?"""

import copy

import pytest

from bagscope import errors
from bagscope.errors import (
    SEVERITIES,
    BagscopeError,
    FolderError,
    ImageReadError,
    Interrupted,
    ModelError,
    Problem,
    SettingsError,
    TableError,
    TrainingError,
    nearest,
    shown,
)


def test_an_error_says_place_cause_and_cure_in_one_line():
    error = BagscopeError("no file a.tif", "mount the folder", code="gone", file="screen.csv", row=412, column="dna")
    assert str(error) == "screen.csv, row 412, column 'dna': no file a.tif; mount the folder"
    assert (error.problem.severity, error.problem.code) == ("refuse", "gone")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({}, "cause"),
        ({"file": "a.csv"}, "a.csv: cause"),
        ({"row": 0}, "row 0: cause"),
        ({"file": "a.csv", "column": "label"}, "a.csv, column 'label': cause"),
    ],
)
def test_a_place_is_said_as_far_as_it_is_known(place, words):
    assert str(BagscopeError("cause", **place)) == words
    assert str(BagscopeError("cause", "cure", **place)) == f"{words}; cure"


def test_an_error_without_a_code_has_its_class_for_one():
    assert SettingsError("wrong").problem.code == "SettingsError"


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (BagscopeError, 2),
        (SettingsError, 2),
        (ImageReadError, 2),
        (ModelError, 2),
        (TrainingError, 1),
        (FolderError, 4),
        (Interrupted, 130),
    ],
)
def test_each_kind_of_error_ends_the_program_as_promised(kind, exit_code):
    assert issubclass(kind, BagscopeError)
    assert kind.exit_code == exit_code


def test_every_kind_of_error_is_told_apart_by_its_docstring():
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, BagscopeError)]
    assert len(kinds) >= 8
    assert all(k.__doc__ for k in kinds)
    assert len({k.__doc__ for k in kinds}) == len(kinds)


def test_a_table_error_speaks_for_the_first_problem_and_holds_all():
    problems = [Problem("refuse", "one", "first", "mend", "t.csv", 3, "label"), Problem("warn", "two", "second")]
    error = TableError(problems)
    assert error.problems == problems
    assert error.problem == problems[0]
    assert str(error) == str(problems[0]) == "t.csv, row 3, column 'label': first; mend"


def test_severities_are_ordered_from_the_worst():
    assert SEVERITIES == ("refuse", "list", "warn")


def test_what_is_shown_is_quoted_escaped_and_at_most_80_characters():
    assert shown("a b") == "'a b'"
    assert shown(3) == "'3'"
    assert shown("a\n\x1b[31mred") == r"'a\n\x1b[31mred'"
    assert shown("it's") == '"it\'s"'
    assert shown("x" * 78) == "'" + "x" * 78 + "'"
    long = shown("x" * 79)
    assert len(long) == 80
    assert long.endswith("x…'")
    assert len(shown("\n" * 500)) == 80


def test_the_nearest_known_name_is_given_as_it_is_spelled():
    known = ["noisy_and", "noisy_or", "Donor"]
    assert nearest("noisyand", known) == " (did you mean 'noisy_and'?)"
    assert nearest("NOISY_OR", known) == " (did you mean 'noisy_or'?)"
    assert nearest("donor", known) == " (did you mean 'Donor'?)"
    assert nearest("plate", known) == ""
    assert nearest("", known) == ""
    assert nearest("x", []) == ""


@pytest.mark.parametrize(
    "error",
    [
        ImageReadError("cut", "copy it again", code="truncated", file="a.tif", row=3, column="dna"),
        TableError([Problem("refuse", "one", "first", "mend", "t.csv", 3), Problem("warn", "two", "second")]),
    ],
)
def test_an_error_made_again_elsewhere_says_the_same(error):
    # Copies are made as processes hand errors to one another.
    again = copy.deepcopy(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.problem == error.problem
    assert getattr(again, "problems", None) == getattr(error, "problems", None)
