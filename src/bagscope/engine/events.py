"""How a stage tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Events(Protocol):
    """The listener of a stage: a terminal, a log, a notebook, or nobody."""

    def say(self, text: str) -> None:
        """One line that a person should read."""

    def warn(self, text: str) -> None:
        """One line that a person must not miss."""

    def progress(self, what: str, done: int, total: int, detail: str = "") -> None:
        """How far the work is; called often, shown as often as makes sense."""


class Silent:
    """Tells nothing, keeps nothing."""

    def say(self, text: str) -> None:
        """Keep quiet."""

    def warn(self, text: str) -> None:
        """Keep quiet."""

    def progress(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Keep quiet."""


SILENT = Silent()
