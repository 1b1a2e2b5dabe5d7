"""How figures are kept: a row is a measure, its setting, and a plain number."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("measure", "setting", "value")


class Row(NamedTuple):
    """One figure."""

    measure: str
    setting: str
    value: float


def read_rows(path: Path) -> list[Row]:
    """Read the figures of an earlier run; none when there was none."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [Row(row["measure"], row["setting"], float(row["value"])) for row in csv.DictReader(stream)]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write figures with four digits: a run's noise is larger."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((row.measure, row.setting, f"{row.value:.4g}") for row in rows)
