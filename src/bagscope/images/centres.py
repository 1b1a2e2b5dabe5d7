"""Where another program says that cells lie: a table of images and centres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np

from bagscope.errors import Problem, TableError
from bagscope.tables.table import Screen
from bagscope.tables.text_columns import text_table

COLUMNS = ("image", "y", "x")
_SHOWN = 3


def read_centres(path: Path, screen: Screen) -> tuple[dict[int, np.ndarray], list[Problem]]:
    """Read centres of cells and say which field each belongs to.

    Parameters
    ----------
    path : CSV, TSV or parquet with the columns image, y, x: an image of the screen's table as it is written there (any
        channel's), or its file name where only one field has it; row and column in the image's own pixels.

    Returns
    -------
    Position of the field -> (N, 2) centres in the order of the file; and warnings.

    Raises
    ------
    TableError : no such table, coordinates that are no numbers, or no image of the screen in it.
    """
    try:
        table = text_table(path.read_bytes(), str(path))
    except OSError as error:
        cause = f"cannot read the cells' centres: {error.strerror}"
        raise TableError([Problem("refuse", "no_table", cause, "Check the path.", str(path))]) from None
    if table.problems:
        raise TableError(table.problems)
    missing = [name for name in COLUMNS if name not in table.header]
    if missing:
        cause = f"no column {', '.join(missing)}; there are {', '.join(table.header)}"
        raise TableError([Problem("refuse", "no_column", cause, "Name them image, y, x.", str(path))])
    at = [table.header.index(name) for name in COLUMNS]
    images, *texts = (
        zip(*([row[i].strip() for i in at] for row in table.rows), strict=True) if table.rows else ((),) * 3
    )
    points = np.array([[_number(text) for text in column] for column in texts], float).T.reshape(-1, 2)
    _refuse_bad(points, table.lines, str(path))
    return _by_field(images, points, screen, str(path))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _refuse_bad(points: np.ndarray, lines: Sequence[int], file: str) -> None:
    bad = np.flatnonzero(~np.isfinite(points).all(1)).tolist()
    if bad:
        cause, fix = "y or x is no number", "Give row and column in pixels of the image; the first pixel is 0."
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise TableError([Problem("refuse", "bad_centre", cause + more, fix, file, lines[bad[0]], "y")])


def _by_field(
    images: Sequence[str], points: np.ndarray, screen: Screen, file: str
) -> tuple[dict[int, np.ndarray], list[Problem]]:
    exact, by_name = _names(screen)
    place = {name: exact.get(name, by_name.get(PurePath(name.replace("\\", "/")).name, -1)) for name in set(images)}
    rows = np.array([place[name] for name in images], int)
    unknown = sorted(name for name, at in place.items() if at < 0)
    shown = ", ".join(unknown[:_SHOWN]) + (f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else "")
    if not (rows >= 0).any():
        cause = f"none of its images is one of the table's: {shown or 'it has no rows'}"
        fix = "Write the images as in the screen table."
        raise TableError([Problem("refuse", "unknown_image", cause, fix, file, None, "image")])
    said = []
    if unknown:
        cause = f"images that the table does not have, or has several times: {shown}"
        said.append(Problem("warn", "unknown_image", cause, "Their cells are left out.", file, None, "image"))
    return {int(at): points[rows == at] for at in np.unique(rows[rows >= 0])}, said


def _names(screen: Screen) -> tuple[dict[str, int], dict[str, int]]:
    """Fields by the texts of their image columns, and by file names that only one field has; -1 where several do."""
    exact: dict[str, int] = {}
    by_name: dict[str, int] = {}
    for column in screen.image_columns:
        for at, text in enumerate(screen.rows[column]):
            for names, name in ((exact, text), (by_name, PurePath(text.replace("\\", "/")).name)):
                names[name] = at if names.get(name, at) == at else -1
    return exact, by_name
