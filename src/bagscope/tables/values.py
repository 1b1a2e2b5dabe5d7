"""Which values the known columns may hold, and what stands where a key is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from bagscope.errors import Problem, nearest, shown
from bagscope.tables import wells
from bagscope.tables.spelling import some_lines

SPLITS = ("train", "validation", "test")
NO_PLATE = "plate"
PLANE_WORDS = ("max", "mid")
_MOST_JOINED = 5
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def concentrations(values: Sequence[str], lines: Sequence[int], file: str) -> tuple[list[float], list[Problem]]:
    """Read the one column of numbers; a decimal comma is fine as long as no cell has a decimal point.

    Returns
    -------
    Finite numbers, NaN where the cell is empty or wrong, and the problems.
    """
    points = any("." in value for value in values)
    result, problems = [], []
    for value, line in zip(values, lines, strict=True):
        number = math.nan
        if value:
            number, cause = _number(value, points)
            if cause:
                fix = "Write a plain number such as 0.5, and the unit into the column 'unit'."
                problems.append(Problem("refuse", "bad_number", cause, fix, file, line, "concentration"))
        result.append(number)
    return result, problems


def _number(value: str, points: bool) -> tuple[float, str]:
    if not _NUMBER.fullmatch(value):
        return math.nan, f"{shown(value)} is no number"
    if "," in value and points:
        return math.nan, f"{shown(value)} has a comma, other rows have a decimal point: which is meant is unclear"
    number = float(value.replace(",", "."))
    return (number, "") if math.isfinite(number) else (math.nan, f"{shown(value)} is too large a number")


def normal_wells(
    values: Sequence[str], plates: Sequence[str], lines: Sequence[int], file: str, free_text: bool
) -> tuple[list[str], list[Problem]]:
    """Give each well its one spelling; an empty one becomes `-`.

    Parameters
    ----------
    free_text : take all names as they are.
    """
    result, problems = [], []
    spellings: dict[tuple[str, str], dict[str, int]] = {}
    for value, plate, line in zip(values, plates, lines, strict=True):
        name = value if free_text else wells.normal_well(value)
        if value in ("", wells.NO_WELL):
            name = wells.NO_WELL
        elif name is None:
            cause = f"{shown(value)} names no well: {wells.RANGE}"
            fix = "Correct it, or take well names as they are with --set table.well_free_text=true."
            problems.append(Problem("refuse", "bad_well", cause, fix, file, line, "well"))
            name = value
        else:
            spellings.setdefault((plate, name), {}).setdefault(value, line)
        result.append(name)
    joined = [(key, at) for key, at in spellings.items() if len(at) > 1]
    for (plate, name), at in joined[:_MOST_JOINED]:
        cause = f"well {name} of plate {shown(plate)} is written {', '.join(map(shown, at))}"
        fix = f"They were joined ({len(joined)} well(s) in all)."
        problems.append(Problem("warn", "wells_joined", cause, fix, file, sorted(at.values())[-1], "well"))
    return result, problems


def fill_sites(keys: Sequence[tuple[str, str]], sites: Sequence[str]) -> list[str]:
    """Return the sites; missing ones are numbered within their well: 1, 2, …, leaving out numbers that are taken."""
    taken: dict[tuple[str, str], set[str]] = {}
    for key, site in zip(keys, sites, strict=True):
        taken.setdefault(key, set()).add(site)
    last: dict[tuple[str, str], int] = {}
    result = []
    for key, site in zip(keys, sites, strict=True):
        if not site:
            number = last.get(key, 0) + 1
            while str(number) in taken[key]:
                number += 1
            last[key] = number
            site = str(number)
        result.append(site)
    return result


def is_plane(column: str, value: str) -> bool:
    """Tell whether a cell of `page`, `z` or `t` is empty, a whole number from 0, or (z) `max` or `mid`."""
    return not value or bool(re.fullmatch(r"[0-9]{1,9}", value)) or (column == "z" and value in PLANE_WORDS)


def check_planes(column: str, values: Sequence[str], lines: Sequence[int], file: str) -> list[Problem]:
    """Find cells of `page`, `z` or `t` that are no plane number from 0 (z: nor `max` nor `mid`)."""
    wrong: dict[str, list[int]] = {}
    for value, line in zip(values, lines, strict=True):
        if not is_plane(column, value):
            wrong.setdefault(value, []).append(line)
    fix = f"Give a whole number from 0{' or max, mid' if column == 'z' else ''}, or leave the cell empty."
    return [
        Problem("refuse", "bad_plane", f"{shown(value)} is no plane ({some_lines(at)})", fix, file, at[0], column)
        for value, at in wrong.items()
    ]


def check_splits(values: Sequence[str], lines: Sequence[int], file: str) -> list[Problem]:
    """Find cells of `split` that are none of train, validation, test."""
    wrong: dict[str, list[int]] = {}
    for value, line in zip(values, lines, strict=True):
        if value and value not in SPLITS:
            wrong.setdefault(value, []).append(line)
    return [
        Problem("refuse", "bad_split", f"{shown(value)} is no part{nearest(value, SPLITS)} ({some_lines(at)})",
                "Use train, validation or test, or leave the cell empty.", file, at[0], "split")
        for value, at in wrong.items()
    ]  # fmt: skip


def label_parts(label: str) -> tuple[str, ...]:
    """Return the classes that a label joins by `;`, without empty and repeated ones.

    Examples
    --------
    >>> label_parts("b; a;b"), label_parts("")
    (('b', 'a'), ())
    """
    return tuple(dict.fromkeys(part.strip() for part in label.split(";") if part.strip()))


def check_labels(values: Sequence[str], lines: Sequence[int], file: str) -> list[Problem]:
    """Find labels that say `none` and a class at once, or have the name of an undecided call."""
    problems = []
    for value, line in zip(values, lines, strict=True):
        parts = label_parts(value)
        if "none" in parts and len(parts) > 1:
            cause = f"{shown(value)} says 'none' (no class applies) and names a class"
            problems.append(Problem("refuse", "none_and_class", cause, "Keep one of them.", file, line, "label"))
        if "unsure" in parts:
            cause = "'unsure' is what a call is named that the scores do not decide, and no class"
            fix = "Leave the cell empty, or name the class otherwise."
            problems.append(Problem("refuse", "reserved_label", cause, fix, file, line, "label"))
    return problems
