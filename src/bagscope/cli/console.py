"""What a person sees while a command works: a bar on a terminal, plain lines elsewhere, nothing if asked."""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from typing import Any, TextIO

LINE_EVERY_S = 10.0


def duration(seconds: float) -> str:
    """A duration as people say it: "40 s", "3 min", "2 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


class Console:
    """The listener of a stage that writes to stderr.

    Parameters
    ----------
    quiet : say nothing but warnings.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self._began = 0.0
        self._first = 0
        self._last_line = 0.0

    def say(self, text: str) -> None:
        """Print one line."""
        if not self.quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """Print one line in red where the terminal has colours."""
        self._print(f"\033[31mWarning:\033[0m {text}" if sys.stderr.isatty() else f"Warning: {text}")

    def progress(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Move the bar, or print a line now and then."""
        if self.quiet:
            return
        if what != self._what:
            self.close()
            self._what, self._began, self._first = what, time.monotonic(), done - 1
            self._last_line = self._began
        if sys.stderr.isatty():
            self._move_bar(what, done, total, detail)
        elif done == total or time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._print(f"{what}: {done} of {total}, {self._remaining(done, total)}{detail and '; ' + detail}")
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the bar, if there is one."""
        if self._bar is not None:
            self._bar.stop()
            atexit.unregister(self.close)
        self._bar, self._what = None, ""

    def _remaining(self, done: int, total: int) -> str:
        passed = time.monotonic() - self._began
        if done >= total:
            return f"took {duration(passed)}"
        return f"{duration(passed / max(1, done - self._first) * (total - done))} left"

    def _move_bar(self, what: str, done: int, total: int, detail: str) -> None:
        if self._bar is None:
            from rich.console import Console as Rich
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[detail]}"), console=Rich(stderr=True))
            self._task = self._bar.add_task(what, total=total, detail=detail)
            self._bar.start()
            # Work that ends with an error leaves its bar open, and a terminal without a cursor.
            atexit.register(self.close)
        self._bar.update(self._task, completed=done, total=total, detail=detail)

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            complaint(text)


def result(text: str) -> None:
    """Print a result to stdout, where other programs read it."""
    _write(sys.stdout, text)


def complaint(text: str) -> None:
    """Print a line to stderr, where people read it."""
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        # Who reads, such as `head`, has seen enough: the work goes on, and its exit code stands.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def summary(values: dict[str, Any]) -> None:
    """Print the machine-readable summary, one line of JSON."""
    result(json.dumps(values, allow_nan=False, default=str))
