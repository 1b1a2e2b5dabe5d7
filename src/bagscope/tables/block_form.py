"""What an expert fills in: a form with a row per block, and a column per fine class for its share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.errors import Problem, TableError
from bagscope.tables.csvfile import parse_csv
from bagscope.tables.frames import csv_bytes, unmark_formula
from bagscope.tables.typed_shares import per_cent_text, typed_shares

PLACE = ("block", "image", "x", "y", "size", "coarse")
_WHOLE = ("block", "x", "y", "size")


@dataclass(frozen=True)
class Form:
    """Blocks and what was said of them.

    Parameters
    ----------
    blocks : a row per block, with the columns of `PLACE`: `block`, `x`, `y`, `size` whole numbers, the others text.
    fine : (C,) names of the fine classes, C >= 2; the first is the one that is left over, the background.
    shares : (N, C) in [0, 1], each row adding up to 1, or all NaN where nothing was said.
    """

    blocks: pd.DataFrame
    fine: tuple[str, ...]
    shares: np.ndarray

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def filled(self) -> np.ndarray:
        """Whether something was said of each block, (N,)."""
        return np.isfinite(self.shares).all(1)

    def take(self, chosen: np.ndarray) -> Form:
        """Return some rows."""
        return Form(self.blocks.iloc[chosen].reset_index(drop=True), self.fine, self.shares[chosen])

    def to_csv(self) -> bytes:
        """Return the form as it is written: shares in per cent, with their sign."""
        cells = {name: [per_cent_text(share) for share in self.shares[:, c]] for c, name in enumerate(self.fine)}
        return csv_bytes(pd.concat([self.blocks, pd.DataFrame(cells, dtype=object)], axis=1))


def fine_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of fine classes that a form can have.

    Raises
    ------
    TableError : fewer than two, one without a name or there twice, or one that is called like another column.
    """
    found = tuple(name.strip() for name in names)
    cause = ""
    if len(found) < 2:
        cause = f"{len(found)} fine class{'es' * (not found)}; a block is shared by at least two"
    elif "" in found or len(set(found)) < len(found):
        cause = f"fine classes {', '.join(map(repr, found))}: one has no name, or is there twice"
    elif set(found) & set(PLACE):
        cause = f"a fine class called '{next(iter(set(found) & set(PLACE)))}', as another column of the form"
    if cause:
        fix = "Name them all, the background first: --fine other,tumour."
        raise TableError([Problem("refuse", "fine_classes", cause, fix)])
    return found


def read_form(path: Path) -> tuple[Form, list[Problem]]:
    """Read a form, filled or not.

    Returns
    -------
    The form, and warnings.

    Raises
    ------
    TableError : names every problem with its line: no such columns, a block there twice, cells that are no shares, rows
        that do not add up; see `typed_shares`.
    """
    file = str(path)
    try:
        table = parse_csv(Path(path).read_bytes(), file, required="block")
    except OSError as error:
        cause = f"it cannot be read ({error.strerror})"
        fix = "Name the form that `bagscope proportions sample` wrote."
        raise TableError([Problem("refuse", "no_file", cause, fix, file)]) from None
    if table.problems:
        raise TableError(table.problems)
    header = [unmark_formula(name) for name in table.header]
    if tuple(header[: len(PLACE)]) != PLACE or len(header) < len(PLACE) + 2:
        cause = f"columns {', '.join(header[:8])}"
        fix = f"A form has the columns {', '.join(PLACE)}, then one for each fine class, at least two."
        raise TableError([Problem("refuse", "no_column", cause, fix, file)])
    fine = fine_classes(tuple(header[len(PLACE) :]))
    cells = [[unmark_formula(cell).strip() for cell in row] for row in table.rows]
    blocks = pd.DataFrame([row[: len(PLACE)] for row in cells], columns=list(PLACE), dtype=object)
    problems = _wrong_places(blocks, table.lines, file)
    typed = [row[len(PLACE) :] for row in cells]
    shares, more = typed_shares(typed, fine, blocks["block"].tolist(), table.lines, file)
    problems += more
    refused = [problem for problem in problems if problem.severity == "refuse"]
    if refused:
        raise TableError(refused)
    return Form(blocks.astype(dict.fromkeys(_WHOLE, np.int64)), fine, shares), problems


def _wrong_places(blocks: pd.DataFrame, lines: list[int], file: str) -> list[Problem]:
    fix = "Leave these columns as `bagscope proportions sample` wrote them."
    problems = []
    seen: dict[str, int] = {}
    for at, line in enumerate(lines):
        row = blocks.iloc[at]
        wrong = [name for name in _WHOLE if not (row[name].isascii() and row[name].isdigit())]
        wrong += [name for name in ("image", "coarse") if not row[name]]
        problems += [Problem("refuse", "bad_place", f"{name} = {row[name]!r}", fix, file, line, name) for name in wrong]
        if row["block"] in seen:
            cause = f"block {row['block']} stands in line {seen[row['block']]} already"
            problems.append(Problem("refuse", "block_twice", cause, "Leave one of the rows out.", file, line))
        seen.setdefault(row["block"], line)
    return problems
