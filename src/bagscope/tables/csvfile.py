"""How a text table becomes rows of text cells, with the line each row stands on, or a list of what is wrong."""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass, field

from bagscope.errors import Problem, shown

DELIMITERS = (",", ";", "\t")
# Rows looked at to choose the delimiter; more would not change the choice in a table that is in order.
_SNIFFED_ROWS = 50
_SHOWN_BYTES = 4
_LINE_END = re.compile(r"\r\n|\n|\r")

# Longest first: the UTF-32 mark begins with the UTF-16 one.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FOREIGN_HEADS = (
    (b"PK\x03\x04", "this is an Excel workbook (or another zip file), not a text table", "Export it as CSV UTF-8."),
    (b"\xd0\xcf\x11\xe0", "this is an old Excel workbook, not a text table", "Export it as CSV UTF-8."),
    (b"%PDF", "this is a PDF, not a text table", "Export the table as CSV UTF-8."),
    (b"\x1f\x8b", "this is a gzip file, not a text table", "Unpack it first."),
)


@dataclass(frozen=True)
class TextTable:
    """Cells as written: `header` names the columns, `lines[i]` is the line on which `rows[i]` begins (header = 1)."""

    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    delimiter: str = ","
    problems: list[Problem] = field(default_factory=list)


def parse_csv(content: bytes, file: str = "", required: str = "image") -> TextTable:
    """Split the bytes of a CSV or TSV file into cells, all of them text.

    The encoding is UTF-8, or what a byte order mark says; the delimiter is one of comma, semicolon and tab.
    Rows whose cells are all empty are left out. Nothing is guessed: a row with too few or too many
    cells, an open quote or a NUL is a problem that names its line.

    Parameters
    ----------
    content : the file's bytes.
    file : its name, for messages.
    required : start of a column name that the header is expected to hold; helps to tell delimiters apart.

    Returns
    -------
    The table; its `problems` hold all that is wrong, and its rows what could be read nevertheless.
    """
    text, problem = _decode(content, file)
    if problem:
        return TextTable([], [], [], problems=[problem])
    delimiter = _delimiter(text, required)
    records, problems = _records(text, delimiter, file)
    if not records:
        cause, fix = "the table is empty", "It needs a header line and one row per image."
        return TextTable([], [], [], problems=problems or [Problem("refuse", "empty_table", cause, fix, file)])
    header = [name.strip() for name in records[0][1]]
    rows, lines = [], []
    for line, cells in records[1:]:
        if len(cells) == len(header):
            rows.append(cells)
            lines.append(line)
        else:
            problems.append(_ragged(line, cells, header, file))
    return TextTable(header, rows, lines, delimiter, problems)


def _decode(content: bytes, file: str) -> tuple[str, Problem | None]:
    if not content.strip():
        cause, fix = "the file is empty", "It needs a header line and one row per image."
        return "", Problem("refuse", "empty_table", cause, fix, file)
    for head, cause, fix in _FOREIGN_HEADS:
        if content.startswith(head):
            return "", Problem("refuse", "not_a_table", cause, fix, file)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        return "", _undecodable(content, error, encoding, file)
    at = text.find("\0")
    if at >= 0:
        line, column = _place(text[:at])
        cause = f"a NUL character at character {column} of the line"
        fix = "Save the table as CSV UTF-8 (a UTF-16 file needs its byte order mark)."
        return "", Problem("refuse", "nul_character", cause, fix, file, line)
    return text, None


def _undecodable(content: bytes, error: UnicodeDecodeError, encoding: str, file: str) -> Problem:
    before = content[: error.start].decode(encoding, errors="ignore")
    line, column = _place(before)
    byte = content[error.start : error.start + _SHOWN_BYTES].hex(" ")
    cause = f"not {encoding.removesuffix('-sig').upper()}: byte(s) {byte} at character {column} of the line"
    return Problem("refuse", "bad_encoding", cause, "Save the table as CSV UTF-8.", file, line)


def _place(before: str) -> tuple[int, int]:
    # Not splitlines: that also splits at characters that end no line of a table.
    lines = _LINE_END.split(before)
    return len(lines), len(lines[-1]) + 1


def _delimiter(text: str, required: str) -> str:
    """Choose the delimiter whose header names the required column, whose rows are equally long, and longest."""
    best, best_mark = DELIMITERS[0], (-1, -1, -1)
    for delimiter in DELIMITERS:
        records, _ = _records(text, delimiter, "", _SNIFFED_ROWS)
        if not records:
            continue
        header = records[0][1]
        named = any(name.strip().startswith(required) for name in header) and len(header) > 1
        equal = all(len(cells) == len(header) for _, cells in records)
        mark = (int(named), int(equal) if len(header) > 1 else 0, len(header))
        if mark > best_mark:
            best, best_mark = delimiter, mark
    return best


def _records(
    text: str, delimiter: str, file: str, most: int | None = None
) -> tuple[list[tuple[int, list[str]]], list[Problem]]:
    """Return (line, cells) of each record that is not empty; stops at the first broken quote."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((line, cells))
            line = reader.line_num + 1
            if most and len(found) > most:
                break
    except csv.Error as error:
        cause = f"a quoted cell that begins in this row does not end properly ({error})"
        fix = 'Close the quote; a quote inside a quoted cell is written twice ("").'
        return found, [Problem("refuse", "open_quote", cause, fix, file, line)]
    return found, []


def _ragged(line: int, cells: list[str], header: list[str], file: str) -> Problem:
    kind = "few" if len(cells) < len(header) else "many"
    cause = f"too {kind} cells: {len(cells)} where the header names {len(header)} (the first is {shown(cells[0])})"
    fix = "Fill the row up with empty cells, or quote cells that hold the delimiter."
    return Problem("refuse", "ragged_row", cause, fix, file, line)
