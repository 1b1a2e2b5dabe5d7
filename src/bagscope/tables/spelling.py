"""Which names are one name: outer spaces, invisible characters and look-alike letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from bagscope.errors import Problem, shown

# Zero-width space, non-joiner, joiner, word joiner, byte order mark, soft hyphen, direction marks.
_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f]")
_SHOWN_LINES = 5


def clean(text: str) -> str:
    r"""Return the text without outer white space (no-break spaces too) and without invisible characters.

    Examples
    --------
    >>> clean(" DM\u200bSO\u00a0")
    'DMSO'
    """
    return _INVISIBLE.sub("", text).strip()


def folded(text: str) -> str:
    """Return the form in which names are compared: look-alike letters (µ U+00B5 and μ U+03BC) are one."""
    return unicodedata.normalize("NFKC", text)


def join_spellings(
    values: Sequence[str], lines: Sequence[int], column: str, file: str
) -> tuple[list[str], list[Problem]]:
    """Give names that differ only in look-alike letters their first spelling; report it.

    Parameters
    ----------
    values, lines : a column's cells and the lines they stand on.
    """
    first: dict[str, str] = {}
    joined: dict[str, list[int]] = {}
    result = []
    for value, line in zip(values, lines, strict=True):
        kept = first.setdefault(folded(value), value)
        if kept != value:
            joined.setdefault(kept, []).append(line)
        result.append(kept)
    problems = [
        Problem("warn", "look_alike", f"{shown(name)} is also spelled with look-alike letters ({some_lines(at)})",
                "They were joined under the first spelling.", file, at[0], column)
        for name, at in joined.items()
    ]  # fmt: skip
    return result, problems


def case_twins(names: Iterable[str], column: str, file: str, what: str = "classes") -> list[Problem]:
    """Warn of names that differ only in case; they stay apart."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(folded(name).casefold(), []).append(name)
    return [
        Problem("warn", "case_twins", f"two {what} differ only in case: {' and '.join(map(shown, twins))}",
                "They are kept apart; give them one spelling if they are one.", file, None, column)
        for twins in groups.values() if len(twins) > 1
    ]  # fmt: skip


def some_lines(lines: Sequence[int]) -> str:
    """Say on which rows: "row 7" or "rows 3, 5, 8, 9, 12 and 40 more"."""
    listed = ", ".join(str(line) for line in lines[:_SHOWN_LINES])
    more = f" and {len(lines) - _SHOWN_LINES:,} more" if len(lines) > _SHOWN_LINES else ""
    return f"row{'s' if len(lines) > 1 else ''} {listed}{more}"


def cleaned(
    columns: Mapping[str, Sequence[str]], lines: Sequence[int], file: str
) -> tuple[dict[str, list[str]], list[Problem]]:
    """Clean every cell of the given columns; one warning per column says which rows had something to remove."""
    result, problems = {}, []
    for name, values in columns.items():
        known = {value: clean(value) for value in set(values)}
        result[name] = [known[value] for value in values]
        at = [line for value, line in zip(values, lines, strict=True) if known[value] != value]
        if at:
            cause = f"outer spaces or invisible characters in {some_lines(at)}"
            problems.append(Problem("warn", "spaces", cause, "They were removed.", file, at[0], name))
    return result, problems
