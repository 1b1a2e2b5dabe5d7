"""Which shares a person means by what is typed into a form: per cent or shares, with a comma or a dot."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from bagscope.errors import Problem, shown

# Shares of a block that add up to 1 within this much are rounded, not wrong.
ROUNDED = 1e-3
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)")
_SHOWN = 5


def typed_shares(
    texts: Sequence[Sequence[str]], fine: Sequence[str], blocks: Sequence[str], lines: Sequence[int], file: str = ""
) -> tuple[np.ndarray, list[Problem]]:
    """Read the cells of a form.

    A form is in per cent as soon as one cell has a % sign or is above 1. One cell of a row may be empty: it is what
    the others leave of 1. Shares that add up to 1 within 0.001 are made to add up exactly.

    Parameters
    ----------
    texts : (N, C) cells as typed. fine : (C,) names of their columns, C >= 2.
    blocks : (N,) names of the rows. lines : (N,) where they stand in the file.

    Returns
    -------
    (N, C) shares in [0, 1], each row adding up to 1 or all NaN (nothing typed, or only zeros), and what is wrong:
    cells that are no number or out of range, per cent mixed with shares, rows that do not add up or are half filled.
    """
    cells = [[_cell(text) for text in row] for row in texts]
    value = np.array([[number for number, _ in row] for row in cells], float).reshape(len(texts), len(fine))
    signed = np.array([[sign for _, sign in row] for row in cells], bool).reshape(value.shape)
    typed = np.array([[bool(text.strip()) for text in row] for row in texts], bool).reshape(value.shape)
    large = ~signed & (value > 1)
    per_cent = bool((signed | large).any())
    problems = _mixed(value, signed, large, lines, file) if per_cent else []
    if any(problem.severity == "refuse" for problem in problems):
        return np.full(value.shape, np.nan), problems
    share = value / 100 if per_cent else value
    for row, column in zip(*np.nonzero(typed & ~((share >= 0) & (share <= 1))), strict=True):
        cause = f"block {blocks[row]}: {shown(texts[row][column])} is no share"
        fix = "Write a number from 0 to 100 (per cent), or from 0 to 1 throughout."
        problems.append(Problem("refuse", "bad_share", cause, fix, file, lines[row], fine[column]))
    for at in range(len(share)):
        if not any(problem.row == lines[at] for problem in problems):
            share[at], wrong = _row(share[at], typed[at], blocks[at])
            problems += [Problem("refuse", code, cause, fix, file, lines[at]) for code, cause, fix in wrong]
    return share, problems


def per_cent_text(share: float) -> str:
    """Write a share so that nobody takes it for another: with a % sign; NaN is empty.

    Examples
    --------
    >>> per_cent_text(0.75), per_cent_text(1), per_cent_text(float("nan"))
    ('75%', '100%', '')
    """
    return "" if np.isnan(share) else f"{100 * share:.6g}%"


def _cell(text: str) -> tuple[float, bool]:
    """Return the number of a cell (NaN: none) and whether it has a % sign."""
    # Spreadsheets put a space that does not break between number and sign.
    plain = text.replace("\u00a0", " ").replace("\u202f", " ").strip()
    number = plain.removesuffix("%").strip()
    is_number = _NUMBER.fullmatch(number) is not None
    return (float(number.replace(",", ".")) if is_number else np.nan), is_number and plain.endswith("%")


def _mixed(value: np.ndarray, signed: np.ndarray, large: np.ndarray, lines: Sequence[int], file: str) -> list[Problem]:
    small = ~signed & (value > 0) & (value < 1)
    if small.any():
        cause = (
            f"{int(small.sum())} cells between 0 and 1 ({_told(lines, small)}) "
            f"and {int((signed | large).sum())} in per cent ({_told(lines, signed | large)})"
        )
        fix = "Write all as 75, or all as 0.75; less than 1 per cent with its sign, as 0.5%."
        return [Problem("refuse", "mixed", cause, fix, file)]
    problems = []
    ones = ~signed & (value == 1)
    if large.any():
        cause = "numbers above 1: the form is read as per cent"
        problems.append(Problem("warn", "per_cent", cause, "", file))
    if ones.any():
        cause = f"1 is read as 1 per cent ({_told(lines, ones)})"
        problems.append(Problem("warn", "one_per_cent", cause, "Write 100 where all of the block is meant.", file))
    return problems


def _told(lines: Sequence[int], chosen: np.ndarray) -> str:
    found = [line for line, row in zip(lines, chosen, strict=True) if row.any()]
    more = ", ..." if len(found) > _SHOWN else ""
    return f"line{'s' if len(found) > 1 else ''} {', '.join(map(str, found[:_SHOWN]))}{more}"


def _row(share: np.ndarray, typed: np.ndarray, block: str) -> tuple[np.ndarray, list[tuple[str, str, str]]]:
    """Complete one row; NaN where nothing was said of the block."""
    nothing, total, missing = np.full(len(share), np.nan), float(share[typed].sum()), int((~typed).sum())
    if missing == len(share) or (not missing and total == 0):
        return nothing, []
    if missing > 1:
        cause = f"block {block}: {missing} of {len(share)} shares are missing"
        return nothing, [("half_filled", cause, "Fill all cells of the row but one, or none.")]
    if total > 1 + ROUNDED + 1e-9 or (not missing and total < 1 - ROUNDED - 1e-9):
        cause = f"block {block}: its shares add up to {total:.4g}"
        return nothing, [("no_sum", cause, "The shares of all fine classes of a block add up to 1, or 100 per cent.")]
    whole = np.where(typed, share, max(0.0, 1 - total))
    return whole / whole.sum(), []
