"""Tables as CSV (for people) and parquet (for programs), and back without loss."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bagscope.atomic import replacing
from bagscope.errors import Problem, TableError
from bagscope.tables.csvfile import parse_csv

CSV_ROWS = 100_000
WHOLE = ("row", "n_fields", "n_wells", "n_cells")
_REAL = ("concentration", "confidence", "unsure", "height_px", "width_px")
_CLASS_VALUES = ("mil_probability", "probability", "share", "log_odds", "logit", "area_um2", "area_px")
# Spreadsheets run what begins like this as a formula (OWASP, CSV injection).
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")
_PLAIN_NUMBER = re.compile(r"[+-](\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def mark_formula(text: str) -> str:
    """Put a `'` before a text that a spreadsheet would run as a formula; plain numbers stay.

    Examples
    --------
    >>> mark_formula("=1+1"), mark_formula("-0.5"), mark_formula("DMSO")
    ("'=1+1", '-0.5', 'DMSO')
    """
    # A text that already looks marked gets one mark more, so that unmarking gives every text back.
    return "'" + text if _FORMULA.match(text) and not _PLAIN_NUMBER.fullmatch(text) else text


def unmark_formula(text: str) -> str:
    """Undo `mark_formula`: unmark(mark(text)) is text, whatever it is."""
    return text[1:] if _MARKED.match(text) else text


def is_number_column(name: str) -> bool:
    """Tell whether a column of the images, wells and treatments tables holds numbers; all others hold text."""
    kind, colon, _ = name.partition(":")
    value = kind.removesuffix("_low").removesuffix("_high")
    return name in WHOLE or name in _REAL or (bool(colon) and value in _CLASS_VALUES)


def csv_bytes(frame: pd.DataFrame, delimiter: str = ",") -> bytes:
    """Return the frame as CSV for people: UTF-8, numbers in full, formulas in text disarmed."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow([mark_formula(str(name)) for name in frame.columns])
    columns = [_cells(frame.iloc[:, at]) for at in range(frame.shape[1])]
    writer.writerows(zip(*columns, strict=True))
    return stream.getvalue().encode("utf-8")


def _cells(column: pd.Series) -> list[str]:
    if pd.api.types.is_bool_dtype(column.dtype):
        return ["true" if value else "false" for value in column]
    if pd.api.types.is_integer_dtype(column.dtype):
        return [str(int(value)) for value in column]
    if pd.api.types.is_float_dtype(column.dtype):
        return [_number(float(value)) for value in column]
    return [mark_formula(_text(value)) for value in column]


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)


def read_csv(path: Path | str, numbers: Iterable[str] | None = None) -> pd.DataFrame:
    """Read a CSV that bagscope wrote: text as it was, an empty cell as "".

    Parameters
    ----------
    numbers : columns that hold numbers (empty: NaN); default: those that bagscope's tables have.

    Raises
    ------
    TableError : the file is no such table.
    """
    table = parse_csv(Path(path).read_bytes(), str(path), required="")
    if table.problems:
        raise TableError(table.problems)
    wanted = None if numbers is None else set(numbers)
    names = [unmark_formula(name) for name in table.header]
    columns = {}
    for at, name in enumerate(names):
        texts = [row[at] for row in table.rows]
        number = is_number_column(name) if wanted is None else name in wanted
        columns[name] = _numbers(texts, name) if number else np.array([*map(unmark_formula, texts)], dtype=object)
    return pd.DataFrame(columns)


def _numbers(texts: list[str], name: str) -> np.ndarray:
    values = np.array([float(text) if text else math.nan for text in texts], dtype=np.float64)
    return values.astype(np.int64) if name in WHOLE and not np.isnan(values).any() else values


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return the frame as parquet; the type of a column depends on its dtype alone, never on its content.

    So parts of one table always fit together, also when a column is empty in one of them or a part has no rows.
    """
    sink = io.BytesIO()
    pq.write_table(_arrow_table(frame), sink)
    return sink.getvalue()


def _arrow_table(frame: pd.DataFrame) -> pa.Table:
    arrays = [_arrow(frame.iloc[:, at]) for at in range(frame.shape[1])]
    return pa.Table.from_arrays(arrays, names=[str(name) for name in frame.columns])


def _arrow(column: pd.Series) -> pa.Array:
    if pd.api.types.is_bool_dtype(column.dtype):
        return pa.array(column.to_numpy(bool), pa.bool_())
    if pd.api.types.is_integer_dtype(column.dtype):
        return pa.array(column.to_numpy(np.int64), pa.int64())
    if pd.api.types.is_float_dtype(column.dtype):
        return pa.array(column.to_numpy(np.float64), pa.float64(), from_pandas=False)
    return pa.array([_text(value) for value in column], pa.string())


def table_files(frame: pd.DataFrame, name: str) -> dict[str, bytes]:
    """Return the files of a table in a score folder: parquet always, CSV as long as people would open it."""
    files = {f"{name}.parquet": parquet_bytes(frame)}
    if len(frame) <= CSV_ROWS:
        files[f"{name}.csv"] = csv_bytes(frame)
    return files


def write_parquet_of(frames: Iterable[pd.DataFrame], path: Path | str) -> None:
    """Write many frames of equal columns as one parquet table; without frames nothing is written.

    Raises
    ------
    FolderError : the file cannot be written; it is whole or absent.
    """
    tables = map(_arrow_table, frames)
    first = next(tables, None)
    if first is None:
        return
    with replacing(Path(path), 0) as stream, pq.ParquetWriter(stream, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)


def read_parquet(path: Path | str) -> pd.DataFrame:
    """Read a parquet table that bagscope wrote.

    Raises
    ------
    TableError : the file is no parquet table.
    """
    return parquet_frame(Path(path).read_bytes(), str(path))


def parquet_frame(content: bytes, file: str) -> pd.DataFrame:
    """Parse parquet bytes; pandas' own metadata is not used, so that nothing but values is taken from them."""
    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise TableError([not_parquet(file, error)]) from None
    return table.to_pandas(ignore_metadata=True)


def not_parquet(file: str, error: Exception) -> Problem:
    """Describe a file that pretends to be parquet."""
    cause = f"no readable parquet table ({str(error).splitlines()[0][:80]})"
    return Problem("refuse", "not_a_table", cause, "Write it anew, or save the table as CSV UTF-8.", file)
