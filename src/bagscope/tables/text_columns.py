"""How a table file of either kind, text or parquet, becomes cells of text."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from bagscope.errors import BagscopeError
from bagscope.tables.csvfile import TextTable, parse_csv
from bagscope.tables.frames import parquet_frame, unmark_formula

# Beyond this a float no longer tells neighbouring whole numbers apart.
_EXACT = 2**53


def text_table(content: bytes, file: str, required: str = "image") -> TextTable:
    """Take CSV, TSV or parquet bytes for a table of text; what is wrong stands in its `problems`.

    Parameters
    ----------
    required : start of a column name that the header is expected to hold.
    """
    if content[:4] != b"PAR1":
        table = parse_csv(content, file, required)
        return replace(table, rows=[[unmark_formula(cell) for cell in row] for row in table.rows])
    try:
        frame = parquet_frame(content, file)
    except BagscopeError as error:
        return TextTable([], [], [], problems=[error.problem])
    columns = [as_text(frame.iloc[:, at]) for at in range(frame.shape[1])]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return TextTable([str(name) for name in frame.columns], rows, list(range(2, len(rows) + 2)), "parquet")


def as_text(column: pd.Series) -> list[str]:
    """Return values as text, missing ones as ""; whole numbers without a point.

    (A parquet column of whole numbers with gaps comes as floats.)
    """
    result = []
    for value in column.tolist():
        if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
            result.append("")
        elif isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
            result.append(str(int(value)))
        else:
            result.append(str(value))
    return result
