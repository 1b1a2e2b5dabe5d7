"""Does the picture of a plate in a terminal show each well's call in its place?"""

import re

import pandas as pd
import pytest

from bagscope.report.marks import marks
from bagscope.report.plate_grid import plate_grids
from bagscope.tables.wells import well_name


def wells(calls, plate="P1"):
    rows = [{"plate": plate, "well": well, "call": call} for well, call in calls.items()]
    return pd.DataFrame(rows, columns=["plate", "well", "call"])


def drawn(calls, classes=("neg", "pos"), **options):
    frame = calls if isinstance(calls, pd.DataFrame) else wells(calls)
    return plate_grids(frame, classes, colour=False, **options).splitlines()


def test_every_call_stands_in_its_row_and_column():
    lines = drawn({"A01": "neg", "A03": "pos", "C02": "unsure", "B01": "none", "C03": ""})
    assert lines == [
        "P1",
        "    1  2  3 ",
        " A  N     P",
        " B  .",
        " C     ?  x",
        "calls of wells: N neg: 1, P pos: 1, . none: 1, ? unsure: 1, x failed: 1",
    ]


def test_a_plate_of_1536_wells_is_drawn_whole():
    calls = {well_name(row, column): "neg" for row in range(1, 33) for column in range(1, 49)}
    calls["AF48"] = "pos"
    lines = drawn(calls)
    assert len(lines) == 2 + 32 + 1
    assert lines[1].split() == [str(column) for column in range(1, 49)]
    assert lines[-2].startswith("AF ")
    assert lines[-2].endswith(" P")
    assert lines[-1] == "calls of wells: N neg: 1535, P pos: 1"


def test_plates_come_in_their_order_six_at_most():
    frame = pd.concat([wells({"A01": "neg"}, f"P{at}") for at in (3, 1, 2, 4, 5, 6, 7, 8)])
    lines = drawn(frame)
    assert [line for line in lines if line.startswith("P")] == ["P3", "P1", "P2", "P4", "P5", "P6"]
    assert lines[-2:] == ["... and 2 more plates", "calls of wells: N neg: 8"]


def test_fields_without_wells_are_counted_and_not_drawn():
    assert drawn(wells({"-": "neg"})) == ["calls of wells: N neg: 1"]
    assert drawn(wells({"left dish": "neg", "A01": "pos"}))[2] == " A  P"
    assert drawn(wells({})) == ["calls of wells: "]


def test_a_call_that_no_class_explains_is_shown_as_such():
    lines = drawn({"A01": "pos;neg"})
    assert lines[2] == " A  &"
    assert lines[-1] == "calls of wells: & pos;neg: 1"


@pytest.mark.parametrize(
    "classes", [["neg", "neutral", "new"], ["a", "A", "á"], ["1", "2"], ["-", "+"], [f"c{at}" for at in range(30)]]
)
def test_every_class_has_a_letter_of_its_own_while_there_are_letters(classes):
    letters = [marks(classes)[name] for name in classes]
    own = [letter for letter in letters if letter != "#"]
    assert len(set(own)) == len(own) >= min(len(classes), 26)
    assert not {".", "?", "x"} & set(letters)


def test_colours_change_nothing_but_colours():
    calls = {"A01": "neg", "B02": "none", "C03": "", "D04": "unsure", "E05": "odd"}
    plain = plate_grids(wells(calls), ["neg"], colour=False)
    bright = plate_grids(wells(calls), ["neg"], colour=True)
    assert "\033[30;43m" in bright
    assert re.sub(r"\033\[[\d;]*m", "", bright).replace(" ", "") == plain.replace(" ", "")


def test_a_name_out_of_a_table_cannot_drive_the_terminal():
    text = plate_grids(wells({"A01": "\033[2Jx"}, "\033]0;evil\007"), ["\033[2Jx"], colour=False)
    assert "\033" not in text
    assert "\007" not in text
