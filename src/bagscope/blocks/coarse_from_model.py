"""How a model of images says coarse labels of blocks: it judges square tiles of large images, a box for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagscope.engine.compute import threads
from bagscope.engine.events import Events
from bagscope.engine.failures import of_check, of_error, write_failures
from bagscope.engine.inputs import Source, make_source
from bagscope.engine.run import Target, announce
from bagscope.engine.scoring import screen_of
from bagscope.engine.tasks import check_of
from bagscope.errors import ImageReadError, SettingsError, nearest
from bagscope.files.folder import claimed
from bagscope.files.names import field_name
from bagscope.files.run_names import FAILURES
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_atomic
from bagscope.settings.jobs import ReadJob
from bagscope.settings.sections import ImagesSection
from bagscope.tables.frames import csv_bytes
from bagscope.tables.table import Screen
from bagscope.tables.wells import NO_WELL

TABLE = "table.csv"
OURS = (TABLE, FAILURES, "[0-9]*.csv")
# Filled in by reading a table; keys are, too, where no row says its well.
_MADE, _KEYS = ("row", "well_written"), ("plate", "well", "site")


@dataclass(frozen=True)
class Tile:
    """The tiles that are scored: their edge in pixels, and the name of the class whose probability is written."""

    size: int
    name: str


@dataclass(frozen=True)
class TileBoxes:
    """What was written: the table, how many boxes of how many images, and how many images failed."""

    table: Path
    boxes: int
    images: int
    failed: int


def box_tiles(
    model: Any, screen: Screen | Path | str, target: Target, tile: Tile, job: ReadJob, events: Events
) -> TileBoxes:
    """Judge square tiles of each image, and write a table of boxes `x,y,size,probability` per image.

    Also writes table.csv: the screen's rows with the boxes in the column `coarse`, as task `blocks` takes it. Tiles lie
    side by side from the top left; what is left over at the right and bottom edge is no tile.

    Parameters
    ----------
    model : of the task `images` (`bagscope.load`).

    Raises
    ------
    TableError : nothing can be judged. SettingsError : the model has no such class, or needs larger tiles.
    FolderError : `out` is in use or cannot be written.
    """
    size, name, out = tile.size, tile.name, target.folder
    if name not in model.classes:
        cause = f"the model has no class '{name}'{nearest(name, model.classes)}"
        raise SettingsError(cause, f"Its classes: {', '.join(model.classes)}.", code="no_class")
    reading = model.card.reading
    images = ImagesSection(**(reading.model_dump() if reading else {}))  # as in training: the same plane of a stack
    job = job.model_copy(update={"images": images})
    with (
        threads(job.compute.threads),
        claimed(out, OURS, finished=TABLE, overwrite=target.overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        report = check_of(model.card.task).check(screen, job, model.card)
        announce(report, events)
        found = screen_of(report)
        source, failures = make_source(found, report.headers, images, model.card.channels, worker, 0)
        failures += of_check(found, report.problems)
        _refuse_small(source, size)
        files: dict[int, str] = {}
        boxes = 0
        for i, at in enumerate(source.positions.tolist()):
            try:
                one = _boxes(model, source, i, size, name)
            except ImageReadError as error:
                failures.append(of_error(at, "read", error))
                continue
            files[at] = field_name(at, [found.files(at)[0].stem]) + ".csv"
            write_atomic(out / files[at], csv_bytes(one))
            boxes += len(one)
            events.progress("judging images", i + 1, len(source.positions), f"{boxes:,} tiles")
        write_failures(out, found, failures, events)
        write_atomic(out / TABLE, csv_bytes(_table(found, files)))
    return TileBoxes(out / TABLE, boxes, len(files), len(failures))


def _refuse_small(source: Source, size: int) -> None:
    if all(min(shape[1:]) < size for shape in source.store.shapes):
        cause = f"no image is as large as a tile of {size} pixels"
        raise SettingsError(cause, "Give a smaller --size.", code="bad_size")


def _boxes(model: Any, source: Source, i: int, size: int, name: str) -> pd.DataFrame:
    """Judge the tiles of one image, one at a time."""
    _, height, width = source.store.shapes[i]
    rows = []
    for y in range(0, height - size + 1, size):
        for x in range(0, width - size + 1, size):
            pixels = source.store.window(i, y, y + size, x, x + size)
            rows.append((x, y, size, model.predict(pixels).probability[name]))
    table = pd.DataFrame(rows, columns=["x", "y", "size", "probability"])
    return table.astype({"x": np.int64, "y": np.int64, "size": np.int64, "probability": float})


def _table(screen: Screen, files: dict[int, str]) -> pd.DataFrame:
    """Rows of a screen as a table in another folder: files are named in full, boxes beside it."""
    columns: dict[str, list[str]] = {}
    made = _MADE if (screen.rows["well"] != NO_WELL).any() else (*_MADE, *_KEYS)
    for name in screen.rows.columns:
        cells = ["" if pd.isna(cell) else str(cell) for cell in screen.rows[name]]
        if name in made or not any(cells):
            continue
        if name in screen.image_columns:
            place = screen.image_columns.index(name)
            cells = [str(screen.files(at)[place].absolute()) for at in range(len(screen))]
        else:
            cells = [_in_full(screen.root, cell) for cell in cells]
        columns[name] = cells
    columns["coarse"] = [files.get(at, "") for at in range(len(screen))]
    return pd.DataFrame(columns)


def _in_full(root: Path, cell: str) -> str:
    place = Path(root) / cell
    try:
        return str(place.absolute()) if cell and place.is_file() else cell
    except (OSError, ValueError):
        return cell
