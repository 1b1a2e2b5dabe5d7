"""Which rows could not be used, and the table that says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.engine.events import Events
from bagscope.errors import ImageReadError, Problem
from bagscope.files.run_names import FAILURES
from bagscope.files.writer import write_atomic
from bagscope.tables.frames import csv_bytes, read_csv
from bagscope.tables.table import Screen

COLUMNS = ("row", "image", "plate", "well", "stage", "code", "cause", "fix")


@dataclass(frozen=True)
class Failure:
    """A row that could not be used, by its position in the screen: a line of failures.csv."""

    position: int
    stage: str
    problem: Problem


def of_error(position: int, stage: str, error: ImageReadError) -> Failure:
    """Turn what a reader raised into a failure; its cause names the file."""
    said = error.problem
    cause = f"{Path(said.file).name}: {said.cause}" if said.file else said.cause
    problem = Problem("list", said.code, cause, said.fix, said.file, None, said.column)
    return Failure(position, stage, problem)


def of_check(screen: Screen, problems: Sequence[Problem]) -> list[Failure]:
    """Return the rows that a check left out: one failure per row, its first problem."""
    place = {int(line): at for at, line in enumerate(screen.rows["row"])}
    found: dict[int, Failure] = {}
    for problem in problems:
        if problem.severity == "list" and problem.row in place:
            at = place[problem.row]
            found.setdefault(at, Failure(at, "check", problem))
    return list(found.values())


def count_failures(folder: Path) -> int:
    """Return the number of failures that a folder lists; 0 without a list."""
    path = folder / FAILURES
    return len(read_csv(path)) if path.is_file() else 0


def write_failures(folder: Path, screen: Screen, failures: Sequence[Failure], events: Events) -> None:
    """Write failures.csv and warn of it; without failures remove the list of an earlier run."""
    path = folder / FAILURES
    if not failures:
        path.unlink(missing_ok=True)
        return
    write_atomic(path, csv_bytes(failure_table(screen, failures)))
    warn_of_failures(folder, screen, failures, events)


def warn_of_failures(folder: Path, screen: Screen, failures: Sized, events: Events) -> None:
    """Warn that rows failed, with the file that lists them."""
    if len(failures):
        events.warn(f"{len(failures)} of {len(screen)} failed, see {folder / FAILURES}")


def failure_table(screen: Screen, failures: Sequence[Failure]) -> pd.DataFrame:
    """List failures in the order of the screen, one line each."""
    rows, first = screen.rows, screen.image_columns[0]
    ordered = sorted(failures, key=lambda failure: failure.position)
    at = [failure.position for failure in ordered]
    columns = {
        "row": rows["row"].iloc[at].to_numpy(np.int64),
        "image": rows[first].iloc[at].to_numpy(dtype=object),
        "plate": rows["plate"].iloc[at].to_numpy(dtype=object),
        "well": rows["well"].iloc[at].to_numpy(dtype=object),
        "stage": _texts(failure.stage for failure in ordered),
        "code": _texts(failure.problem.code for failure in ordered),
        "cause": _texts(failure.problem.cause for failure in ordered),
        "fix": _texts(failure.problem.fix for failure in ordered),
    }
    return pd.DataFrame({name: columns[name] for name in COLUMNS})


def _texts(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)
