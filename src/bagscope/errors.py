"""What can go wrong for a user: every error says where, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

Severity = Literal["refuse", "list", "warn"]
# The worst first.
SEVERITIES: tuple[Severity, ...] = ("refuse", "list", "warn")

_SHOWN = 80


def shown(value: object) -> str:
    """A value as a message may show it: quoted, escaped, at most 80 characters."""
    text = repr(str(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 2] + "…" + text[-1]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as " (did you mean 'noisy_and'?)", or nothing when no known name is near; case does not matter."""
    spelled = {k.lower(): k for k in known}
    found = get_close_matches(name.lower(), spelled, n=1, cutoff=0.6)
    return f" (did you mean '{spelled[found[0]]}'?)" if found else ""


@dataclass(frozen=True)
class Problem:
    """One finding about the input.

    `refuse` stops the command before any work, `list` drops the row into failures.csv and goes on,
    `warn` goes on and is said. `row` is the line of the table (the header is line 1).
    """

    severity: Severity
    code: str
    cause: str
    fix: str = ""
    file: str = ""
    row: int | None = None
    column: str = ""

    def place(self) -> str:
        """Where: file, row and column as far as they are known."""
        parts = [self.file] if self.file else []
        parts += [f"row {self.row}"] if self.row is not None else []
        parts += [f"column '{self.column}'"] if self.column else []
        return ", ".join(parts)

    def __str__(self) -> str:
        text = f"{self.place()}: {self.cause}" if self.place() else self.cause
        return f"{text}; {self.fix}" if self.fix else text


class BagscopeError(Exception):
    """The base of everything a user can cause; printed without a traceback.

    Parameters
    ----------
    cause : what is wrong, with the value.
    fix : what to do about it.
    code : a short stable name, for tables and tests.
    file, row, column : the place, as far as it is known.
    """

    exit_code = 2

    def __init__(
        self,
        cause: str,
        fix: str = "",
        *,
        code: str = "",
        file: str | Path = "",
        row: int | None = None,
        column: str = "",
    ):
        self.problem = Problem("refuse", code or type(self).__name__, cause, fix, str(file), row, column)
        super().__init__(str(self.problem))


class SettingsError(BagscopeError):
    """An option or setting that does not exist or has no sense."""


class TableError(BagscopeError):
    """A screen table that cannot be used; `problems` holds all that is wrong with it."""

    def __init__(self, problems: list[Problem]):
        first = problems[0]
        super().__init__(first.cause, first.fix, code=first.code, file=first.file, row=first.row, column=first.column)
        self.problems = problems

    def __reduce__(self) -> tuple[type[TableError], tuple[list[Problem]]]:
        """Say how it is made again in another process: from its problems, not from its text."""
        return type(self), (self.problems,)


class ImageReadError(BagscopeError):
    """An image file that cannot be read, whatever the decoder raised."""


class ModelError(BagscopeError):
    """A model folder that is damaged, foreign or of another version."""


class TrainingError(BagscopeError):
    """Training that cannot go on, such as a loss that is no number."""

    exit_code = 1


class FolderError(BagscopeError):
    """An output folder that is in use, cannot be written, or has no room."""

    exit_code = 4


class Interrupted(BagscopeError):  # a request of the user, no fault
    """The user or the cluster asked to stop; everything finished so far is whole."""

    exit_code = 130
