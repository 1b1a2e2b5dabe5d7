"""What a plate map says: one row per well, read by the rules of the screen table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.errors import Problem, TableError, nearest, shown
from bagscope.tables import values
from bagscope.tables.columns import CONCENTRATION
from bagscope.tables.spelling import clean, cleaned
from bagscope.tables.text_columns import text_table


def read_platemap(path: Path, well_free_text: bool = False) -> pd.DataFrame:
    """Read a plate map: CSV, TSV or parquet with `well`, perhaps `plate`, and anything known of a well.

    Returns
    -------
    `row`, `plate` ("" where the map has none), `well`, then the other columns as text, `concentration` as a number.

    Raises
    ------
    TableError : with all that is wrong.
    """
    file = str(path)
    try:
        table = text_table(path.read_bytes(), file, required="well")
    except OSError as error:
        cause = f"cannot read the plate map: {error.strerror}"
        raise TableError([Problem("refuse", "no_table", cause, "Check the path.", file)]) from None
    names = [clean(name) for name in table.header]
    problems = [*table.problems]
    problems += [
        Problem("refuse", "column_twice", f"the column {shown(name)} is there twice", "Remove one.", file, 1, name)
        for name in sorted({name for name in names if name and names.count(name) > 1})
    ]
    if names and "well" not in names:
        near = next((name for name in names if nearest("well", [name])), "")
        cause = f"no column 'well'; found: {', '.join(map(shown, names))}"
        fix = f"Rename {shown(near)} to 'well'." if near else "A plate map has one row per well."
        problems.append(Problem("refuse", "no_well_column", cause, fix, file, 1))
    if problems or not table.rows:
        raise TableError(problems or [Problem("refuse", "empty_table", "no row below the header", "", file)])
    cells = {name: [row[at] for row in table.rows] for at, name in enumerate(names) if name}
    texts, _ = cleaned(cells, table.lines, file)
    texts.setdefault("plate", [""] * len(table.lines))
    texts["well"], more = values.normal_wells(texts["well"], texts["plate"], table.lines, file, well_free_text)
    problems += [problem for problem in more if problem.severity == "refuse"]
    frame: dict[str, object] = {"row": np.array(table.lines, dtype=np.int64)}
    for name in ["plate", "well", *(name for name in texts if name not in ("plate", "well", "row"))]:
        frame[name] = np.array(texts[name], dtype=object)
    if CONCENTRATION in texts:
        numbers, more = values.concentrations(texts[CONCENTRATION], table.lines, file)
        problems += more
        frame[CONCENTRATION] = np.array(numbers)
    if problems:
        raise TableError(problems)
    return pd.DataFrame(frame)
