"""From what an importer found to a screen: options checked, plate map joined, table written."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagscope.errors import Problem, SettingsError, TableError, nearest
from bagscope.files.writer import write_atomic
from bagscope.importers.platemap import join_platemap
from bagscope.tables.columns import KNOWN
from bagscope.tables.frames import csv_bytes, parquet_bytes
from bagscope.tables.table import Screen, make_screen

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg")
_ALWAYS = ("plate", "well", "site", "label")
# What the table room adds; it is made again when the table is read.
_MADE = ("row", "well_written")


@dataclass(frozen=True)
class Layout:
    """What an importer found: columns of text (image paths relative to `root`, or absolute), and remarks."""

    cells: Mapping[str, list[str]]
    root: Path
    problems: list[Problem] = field(default_factory=list)


def finish(
    format: str, read: Callable[..., Layout], source: Path, labels: Path | None, options: Mapping[str, Any]
) -> Screen:
    """Run an importer and make a screen of what it found.

    Raises
    ------
    SettingsError : an option that the format does not have.
    TableError : with all problems that are refused.
    """
    known = [name for name in inspect.signature(read).parameters if name != "source"]
    for name in options:
        if name not in known:
            cause = f"the format '{format}' has no option '{name}'{nearest(name, known)}"
            raise SettingsError(cause, f"Its options: {', '.join(known) or 'none'}.", code="unknown_option")
    if not source.exists():
        raise TableError([Problem("refuse", "no_source", "there is nothing", "Check the path.", str(source))])
    layout = read(source, **options)
    screen, problems = make_screen(layout.cells, layout.root)
    problems = [*layout.problems, *problems]
    if labels is not None:
        screen, more = join_platemap(screen, labels)
        problems += more
    refused = [problem for problem in problems if problem.severity == "refuse"]
    if refused:
        raise TableError(refused)
    return replace(screen, warnings=tuple(problems))


def image_files(folder: Path) -> list[Path]:
    """Return all image files below a folder, sorted; hidden ones are left out, links are followed once.

    Raises
    ------
    TableError : the folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    pending = [folder]
    while pending:
        here = pending.pop()
        try:
            identity = here.stat()
            # A folder that was reached before, by a link perhaps, would give its files twice, or never end.
            if (identity.st_dev, identity.st_ino) in seen and identity.st_ino:
                continue
            seen.add((identity.st_dev, identity.st_ino))
            entries = sorted(here.iterdir())
        except OSError as error:
            cause = f"cannot read the folder: {error.strerror}"
            raise TableError([Problem("refuse", "no_source", cause, "Check path and rights.", str(here))]) from None
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                pending.append(entry)
            elif entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
                found.append(entry)
    return sorted(found)


def no_images(source: Path, expected: str) -> TableError:
    """Say that a source holds nothing of what the format expects."""
    cause = f"no image files ({', '.join(IMAGE_SUFFIXES)}) as expected: {expected}"
    return TableError([Problem("refuse", "no_images", cause, "Check the folder and the format.", str(source))])


def write(screen: Screen, path: Path) -> None:
    """Write a screen as CSV, TSV or parquet, whole or not at all."""
    folder = path.absolute().parent
    rows = screen.rows
    columns: dict[str, np.ndarray] = {}
    for at, name in enumerate(screen.image_columns):
        places = [_relative(screen.files(row)[at], folder, rows[name].iloc[row]) for row in range(len(rows))]
        columns[name] = np.array(places, dtype=object)
    for name in rows.columns:
        if name in (*_MADE, *screen.image_columns):
            continue
        column = rows[name]
        empty = column.isna().all() if name == "concentration" else not any(column)
        if name in _ALWAYS or name not in KNOWN or not empty:
            columns[name] = column.to_numpy()
    frame = pd.DataFrame(columns)
    delimiter = "\t" if path.suffix in (".tsv", ".txt") else ","
    write_atomic(path, parquet_bytes(frame) if path.suffix == ".parquet" else csv_bytes(frame, delimiter))


def _relative(file: Path, folder: Path, text: str) -> str:
    if not text:
        return ""
    # Not resolved: a link below the folder stays what the user sees; '..' would be refused on reading.
    plain = Path(os.path.normpath(file.absolute()))
    return plain.relative_to(folder).as_posix() if plain.is_relative_to(folder) else str(plain)
