"""Which rows of a table name the same picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bagscope.errors import Problem, shown

_PLANE = ("page", "z", "t")


def same_pictures(rows: pd.DataFrame, found: Sequence[tuple[Path, ...]], file: str) -> tuple[list[int], list[Problem]]:
    """Find rows that name one picture (the same plane of the same file).

    Equal rows are one row written twice: the first is kept. One picture in two wells or under two
    labels is refused, for then the label says nothing about it, or a test picture would be trained on.

    Parameters
    ----------
    rows : columns `row`, `plate`, `well`, `label`, `page`, `z`, `t` and others.
    found : the files of each row, located.

    Returns
    -------
    Positions of the rows to leave out, and the problems.
    """
    others = [
        name for name in rows.columns if name not in ("row", "site", "well_written") and not name.startswith("image")
    ]
    records = rows[others].to_dict("records")
    written_sites = rows["site"].tolist()
    lines = rows["row"].tolist()
    holders: dict[tuple[str, ...], list[int]] = {}
    for at, paths in enumerate(found):
        plane = tuple(str(records[at][name]) for name in _PLANE)
        for path in dict.fromkeys(paths):
            holders.setdefault((os.path.realpath(path), *plane), []).append(at)
    out: set[int] = set()
    problems: list[Problem] = []
    reported: set[tuple[int, int]] = set()
    for (picture, *_), positions in holders.items():
        first = positions[0]
        for at in positions[1:]:
            if (first, at) in reported:
                continue
            reported.add((first, at))
            same_files = found[first] == found[at] or list(map(os.path.realpath, found[first])) == list(
                map(os.path.realpath, found[at])
            )
            same_cells = _same(records[first], records[at]) and written_sites[first] == written_sites[at]
            if same_files and same_cells:
                out.add(at)
                cause = f"the same as row {lines[first]}; one of them is kept"
                problems.append(Problem("warn", "row_twice", cause, "Remove one.", file, lines[at]))
            else:
                problems.append(_conflict(picture, records, lines, (first, at), file))
    return sorted(out), problems


def _same(one: dict, other: dict) -> bool:
    return all(a == b or (a != a and b != b) for a, b in zip(one.values(), other.values(), strict=True))


def _conflict(path: str, records: list[dict], lines: list[int], pair: tuple[int, int], file: str) -> Problem:
    first, at = pair
    place = f"rows {lines[first]} and {lines[at]}"
    for name, word in (("label", "labels"), ("plate", "plates"), ("well", "wells")):
        one, other = records[first][name], records[at][name]
        if one != other:
            cause = f"the picture {shown(Path(path).name)} has two {word}, {shown(one)} and {shown(other)} ({place})"
            fix = "Correct one of the rows; a label of several classes is written with ';' between them."
            return Problem("refuse", "picture_twice", cause, fix, file, lines[at], name)
    cause = f"the picture {shown(Path(path).name)} is in two rows of one well ({place})"
    return Problem("refuse", "picture_twice", cause, "Keep one row per field.", file, lines[at])
