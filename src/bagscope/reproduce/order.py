"""What was asked of an experiment, and which of its parts this means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bagscope import __version__
from bagscope.errors import SettingsError, nearest


@dataclass(frozen=True)
class Order:
    """An experiment by name, its data and output, and how much of it is wanted; see `run_experiment`."""

    name: str
    data: Path | None
    out: Path
    seeds: int | None = None
    only: str | None = None
    quick: bool = False
    test_data: Path | None = None
    device: str | None = None
    threads: int | None = None

    def folder(self, where: Path | None, source: str, name: str | None = None) -> Path:
        """Return the experiment's own folder of data: `where/name`, or `where` itself when it is called so.

        Parameters
        ----------
        name : of the data, where the experiment is called otherwise.

        Raises
        ------
        SettingsError : it is not there; `source` says where the data come from.
        """
        name = name or self.name
        fix = f"Name the folder that holds '{name}' with --data DIR or $BAGSCOPE_DATA; it comes from {source}."
        if where is None:
            cause = f"no data for {self.name}"
            raise SettingsError(cause, fix, code="no_data")
        for place in (where / name, where):
            if place.is_dir() and place.name == name:
                return place
        cause = f"no folder '{name}' in {where}"
        raise SettingsError(cause, fix, code="no_data")

    def protocol(self) -> dict[str, object]:
        """What of an order decides a result, beside setting and seed; see `Ledger`."""
        return {"version": __version__, "quick": self.quick, "test_data": str(self.test_data or "")}

    @property
    def options(self) -> str:
        """What of the command line decides which results there are."""
        return " --quick" if self.quick else f" --only {self.only}" if self.only else ""

    def settings(self, known: Sequence[str]) -> list[str]:
        """Return the settings to run: all, or the one asked for, or all that begin with it and '/'.

        Raises
        ------
        SettingsError : there is none of that name.
        """
        if self.only is None:
            return list(known)
        chosen = [name for name in known if name == self.only or name.startswith(f"{self.only}/")]
        if not chosen:
            cause = f"no setting '{self.only}'{nearest(self.only, known)}"
            raise SettingsError(cause, f"Known: {', '.join(known)}.", code="unknown_setting")
        return chosen
