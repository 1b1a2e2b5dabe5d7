"""Which rows of a table name the same picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bagscope.errors import Problem, shown

_PLANE = ("page", "z", "t")
_NOT_COMPARED = ("row", "well_written")


def same_pictures(
    rows: pd.DataFrame, pictures: Sequence[tuple[str, ...]], file: str
) -> tuple[list[int], list[Problem]]:
    """Find rows that name one picture (the same plane of the same file).

    Equal rows are one row written twice: the first is kept. One picture in two wells or under two
    labels is refused, for then the label says nothing about it, or a test picture would be trained on.

    Parameters
    ----------
    rows : columns `row`, `plate`, `well`, `label`, `page`, `z`, `t` and others.
    pictures : the real paths of each row's files; () for a row that is left out.

    Returns
    -------
    Positions of the rows to leave out, and the problems.
    """
    names = [name for name in rows.columns if name not in _NOT_COMPARED and not name.startswith("image")]
    records = rows[names].to_dict("records")
    lines = rows["row"].tolist()
    holders: dict[tuple[str, ...], list[int]] = {}
    for at, files in enumerate(pictures):
        for path in files:
            holders.setdefault((path, *(str(records[at][name]) for name in _PLANE)), []).append(at)
    out: set[int] = set()
    findings: dict[tuple[int, int], Problem] = {}
    for (picture, *_), positions in holders.items():
        first = positions[0]
        for at in positions[1:]:
            if at == first or (first, at) in findings:
                continue
            if pictures[first] == pictures[at] and _same(records[first], records[at]):
                out.add(at)
                cause = f"the same as row {lines[first]}; one of them is kept"
                findings[first, at] = Problem("warn", "row_twice", cause, "Remove one.", file, lines[at])
            else:
                findings[first, at] = _conflict(picture, records, lines, (first, at), file)
    return sorted(out), list(findings.values())


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
