"""What a well is called: `a1`, `A 1` and `A01` are one place on the plate."""

from __future__ import annotations

import re

import pandas as pd

# A 1536-well plate has rows A-AF and columns 1-48; there is no larger standard one.
ROWS = 32
COLUMNS = 48
NO_WELL = "-"
RANGE = "letter(s) A-AF, number 1-48"

_WELL = re.compile(r"([A-Za-z]{1,2})[ _-]?([0-9]{1,3})")


def well_place(text: str) -> tuple[int, int] | None:
    """Row and column of a well, counted from 1, or None when the text names no well of a plate.

    Examples
    --------
    >>> well_place("b3"), well_place("AA12"), well_place("A49"), well_place("1E5")
    ((2, 3), (27, 12), None, None)
    """
    match = _WELL.fullmatch(text.strip())
    if not match:
        return None
    row = 0
    for letter in match[1].upper():
        row = 26 * row + ord(letter) - ord("A") + 1
    column = int(match[2])
    return (row, column) if row <= ROWS and 1 <= column <= COLUMNS else None


def well_name(row: int, column: int) -> str:
    """Name of a well from row and column, counted from 1.

    Examples
    --------
    >>> well_name(1, 1), well_name(27, 12)
    ('A01', 'AA12')
    """
    letters = chr(ord("A") + row - 1) if row <= 26 else "A" + chr(ord("A") + row - 27)
    return f"{letters}{column:02d}"


def normal_well(text: str) -> str | None:
    """Return the well's one spelling, such as A01, or None when the text names no well.

    Examples
    --------
    >>> normal_well("a1"), normal_well("A 1"), normal_well("aa012"), normal_well("A0")
    ('A01', 'A01', 'AA12', None)
    """
    place = well_place(text)
    return well_name(*place) if place else None


def well_of(row: str, column: str) -> str:
    """Name of a well from a row (letter or number) and a column; what names none is only put together.

    Examples
    --------
    >>> well_of("2", "3"), well_of("b", "3"), well_of("x", "y")
    ('B03', 'B03', 'xy')
    """
    if row.isdecimal() and 1 <= int(row) <= ROWS:
        row = well_name(int(row), 1)[:-2]
    return normal_well(row + column) or row + column


def well_keys(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Tell what well each row of a screen is of: plate and well; a row without a well (`-`) is one of its own."""
    places = zip(rows["plate"], rows["well"], strict=True)
    return [(plate, well, str(at) if well == NO_WELL else "") for at, (plate, well) in enumerate(places)]
