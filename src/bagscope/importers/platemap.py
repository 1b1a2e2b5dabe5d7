"""What a plate map says of the wells of a screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.errors import BagscopeError, Problem, TableError, shown
from bagscope.tables.platemap import read_platemap
from bagscope.tables.spelling import folded, some_lines
from bagscope.tables.table import Screen
from bagscope.tables.wells import NO_WELL


def join_platemap(screen: Screen, path: Path) -> tuple[Screen, list[Problem]]:
    """Hand the columns of a plate map to the fields of each well; rows are neither added nor lost.

    Wells are matched by plate and well, or by well alone when the map has no plate column. What the
    map leaves empty stays as it was; what it says wins, with a warning where something else stood there.

    Raises
    ------
    TableError : the map is no table, has no wells, says two things of one well, or fits no field.
    """
    plan = read_platemap(path)
    by_plate = any(plan["plate"])
    place: dict[tuple[str, str], int] = {}
    columns = [name for name in plan.columns if name not in ("row", "plate", "well", "well_written")]
    columns = [name for name in columns if not _empty(plan[name])]
    problems: list[Problem] = []
    for at, (plate, well) in enumerate(zip(plan["plate"], plan["well"], strict=True)):
        key = (folded(plate) if by_plate else "", well)
        first = place.setdefault(key, at)
        if first != at and not plan[columns].iloc[[first, at]].duplicated().iloc[1]:
            cause = (
                f"well {well}{f' of plate {shown(plate)}' if by_plate else ''} is also in row {plan['row'].iloc[first]}"
            )
            fix = "Keep one row per well."
            problems.append(Problem("refuse", "well_twice", cause, fix, str(path), int(plan["row"].iloc[at]), "well"))
    if problems:
        raise TableError(problems)
    rows = screen.rows
    wanted = [(folded(p) if by_plate else "", w) for p, w in zip(rows["plate"], rows["well"], strict=True)]
    found = np.array([place.get(key, -1) if key[1] != NO_WELL else -1 for key in wanted], dtype=np.int64)
    if not (found >= 0).any():
        raise TableError([_no_match(wanted, place, path)])
    result = rows.copy()
    for name in columns:
        problems += _lay_over(result, name, plan[name].to_numpy(), found, path)
    problems += _unmatched(wanted, place, found, path)
    if len(result) != len(rows):
        cause = f"joining the plate map changed {len(rows)} rows into {len(result)}"
        raise BagscopeError(cause, "Please report this.", code="join_grew", file=path)
    return replace(screen, rows=result), problems


def _empty(column: pd.Series) -> bool:
    return bool(column.isna().all()) if column.dtype.kind == "f" else not any(column)


def _lay_over(rows: pd.DataFrame, name: str, values: np.ndarray, found: np.ndarray, path: Path) -> list[Problem]:
    """Lay the map's values of one column over the rows; `found` is the map's row of each field, or -1."""
    number = values.dtype.kind == "f"
    blank = np.nan if number else ""
    old = rows[name].to_numpy() if name in rows else np.full(len(rows), blank, dtype=values.dtype)
    new = np.where(found >= 0, values[np.maximum(found, 0)], blank)
    given = ~np.isnan(new) if number else new != ""
    held = ~np.isnan(old) if number else old != ""
    rows[name] = np.where(given, new, old)
    changed = int((given & held & (new != old)).sum())
    if not changed:
        return []
    cause = f"{changed} field(s) had another {name}, the first {shown(old[given & held & (new != old)][0])}"
    return [Problem("warn", "relabelled", cause, "The plate map's value was taken.", str(path), None, name)]


def _no_match(wanted: list[tuple[str, str]], place: dict[tuple[str, str], int], path: Path) -> Problem:
    one, other = wanted[0], next(iter(place))
    show = " / ".join
    cause = f"no well of the map is in the screen: the screen has {shown(show(one))}, the map {shown(show(other))}"
    return Problem("refuse", "no_match", cause, "Give both the same plate and well names.", str(path))


def _unmatched(
    wanted: list[tuple[str, str]], place: dict[tuple[str, str], int], found: np.ndarray, path: Path
) -> list[Problem]:
    problems = []
    lines = [int(at) + 2 for at in np.flatnonzero(found < 0)]
    if lines:
        cause = f"{len(lines)} field(s) are in no well of the plate map ({some_lines(lines)} of the screen)"
        problems.append(Problem("warn", "not_in_map", cause, "They have no label from it.", str(path)))
    spare = [key for key in place if key not in set(wanted)]
    if spare:
        names = ", ".join(shown(" / ".join(part for part in key if part)) for key in spare[:3])
        cause = f"{len(spare)} well(s) of the plate map have no image, the first {names}"
        problems.append(Problem("warn", "not_in_screen", cause, "", str(path)))
    return problems
