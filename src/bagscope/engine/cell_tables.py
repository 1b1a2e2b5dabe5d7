"""Cells in the tables of a score folder: a row each in cells.parquet, shares of classes in the other tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.engine.parts import FieldPart, Parts
from bagscope.files.run_names import CELLS
from bagscope.files.writer import write_atomic
from bagscope.ops.shares import dispersion, share_interval
from bagscope.tables.frames import CSV_ROWS, csv_bytes, read_parquet, write_parquet_of
from bagscope.tables.levels import Levels
from bagscope.tables.table import Screen

CALLED = "n_called:"
# What joins a cell to its well and its treatment.
_KEYS = ("plate", "well", "site", "row", "label", "treatment", "concentration", "unit")


def cell_columns(screen: Screen, classes: Sequence[str], parts: dict[int, FieldPart]) -> dict[str, np.ndarray]:
    """Columns of the fields' table that come from their cells; empty when no field has any.

    Returns
    -------
    `n_cells` and `n_called:<class>` where cells were judged; `mask_file`, `map_file` where these were written.
    """
    found = {at: part.cells for at, part in parts.items() if part.cells is not None}
    columns: dict[str, np.ndarray] = {}
    for name in ("mask_file", "map_file"):
        if any(getattr(cells, name) for cells in found.values()):
            columns[name] = np.array([getattr(found.get(at), name, "") for at in range(len(screen))], dtype=object)
    if any(cells.digest for cells in found.values()):
        counts = np.zeros((len(screen), 1 + len(classes)), np.int64)
        for at, cells in found.items():
            counts[at] = (cells.count, *cells.called)
        columns["n_cells"] = counts[:, 0]
        columns |= {CALLED + name: counts[:, 1 + k] for k, name in enumerate(classes)}
    return columns


def with_shares(levels: Levels, classes: Sequence[str]) -> Levels:
    """Turn counts of called cells into shares of the cells that were called anything.

    `share:<class>` of wells and treatments comes with a 95 % interval, `share_low:<class>` and `share_high:<class>`:
    Wilson's for as many cells as they are worth, since cells of a well resemble each other. How much, replicate wells
    of one treatment and dose, or of one control, tell (see `ops.shares.dispersion`).
    """
    if not any(str(name).startswith(CALLED) for name in levels.images):
        return levels
    factors = [_dispersion(levels.wells, name, classes) for name in classes]
    return replace(
        levels,
        images=_shared(levels.images, classes, None),
        wells=_shared(levels.wells, classes, factors),
        treatments=_shared(levels.treatments, classes, factors),
    )


def _dispersion(wells: pd.DataFrame, name: str, classes: Sequence[str]) -> float:
    keys = [key for key in ("plate", "label", "treatment", "concentration", "unit") if key in wells]
    group = [tuple(map(str, values)) for values in wells[keys].itertuples(index=False)]
    return dispersion(wells[CALLED + name], _called(wells, classes), group)


def _called(frame: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    return frame[[CALLED + name for name in classes]].to_numpy(np.float64).sum(1)


def _shared(frame: pd.DataFrame, classes: Sequence[str], factors: Sequence[float] | None) -> pd.DataFrame:
    total = _called(frame, classes)
    new: dict[str, np.ndarray] = {}
    for k, name in enumerate(classes):
        counted = frame[CALLED + name].to_numpy(np.float64)
        new[f"share:{name}"] = np.where(total > 0, counted / np.maximum(total, 1), np.nan)
        if factors is not None:
            ends = share_interval(counted, total, factors[k])
            new[f"share_low:{name}"], new[f"share_high:{name}"] = ends.low, ends.high
    columns: dict[str, object] = {}
    for column in frame.columns:
        if column.startswith(CALLED):
            continue
        if column == "call":
            columns |= new
        columns[column] = frame[column].to_numpy()
    return pd.DataFrame(columns)


def cells_digest(parts: dict[int, FieldPart]) -> str:
    """Stand for the rows of cells.parquet; "" when no cells were judged."""
    told = [f"{at} {part.cells.digest}" for at, part in sorted(parts.items()) if part.cells and part.cells.digest]
    return hashlib.sha256("\n".join(told).encode()).hexdigest() if told else ""


def write_cells(
    folder: Path, screen: Screen, parts: dict[int, FieldPart], files: Parts, names: tuple[str, str] = CELLS
) -> None:
    """Write cells.parquet, as CSV too up to 100,000 rows, field after field; nothing when no cells were judged.

    Every row has the keys of its field, and `cell`, its number in the field's mask.

    Parameters
    ----------
    names : of the two files, where cells are called otherwise.
    """
    found = {at: part.cells for at, part in sorted(parts.items()) if part.cells is not None and part.cells.digest}
    if not found:
        return
    write_parquet_of(_tables(screen, list(found), files), folder / names[0])
    if sum(cells.count for cells in found.values()) <= CSV_ROWS:
        write_atomic(folder / names[1], csv_bytes(read_parquet(folder / names[0])))


def _tables(screen: Screen, positions: Sequence[int], files: Parts) -> Iterator[pd.DataFrame]:
    keys = screen.rows[[name for name in _KEYS if name in screen.rows]]
    for at in positions:
        cells = read_parquet(files.cells_path(at))
        own = keys.iloc[np.full(len(cells), at)].reset_index(drop=True)
        yield pd.concat([own, cells], axis=1)


def names_table(images: pd.DataFrame, first_image: str) -> pd.DataFrame:
    """Say which files of masks and maps belong to which image."""
    wanted = ["row", first_image, "plate", "well", "site", *(n for n in ("mask_file", "map_file") if n in images)]
    return images[wanted].rename(columns={first_image: "image"})
