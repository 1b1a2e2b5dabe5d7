"""Which blocks are known of the images of a screen: coarse labels and pixel labels, read and held against the image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.engine.inputs import fields_of
from bagscope.errors import BagscopeError, ImageReadError, Problem, TableError
from bagscope.files.field import FieldFiles, read_field_header
from bagscope.files.reader import Header, read_labels
from bagscope.files.worker import DecodingWorker
from bagscope.settings.block_sections import BlocksSection
from bagscope.settings.sections import ImagesSection
from bagscope.tables.boxes import Blocks, blocks_of_labels, coarser, in_per_cent, read_boxes
from bagscope.tables.frames import read_csv
from bagscope.tables.paths import ImageFolder
from bagscope.tables.splits import TEST, VALIDATION
from bagscope.tables.table import Screen

COARSE = "coarse"
_BOXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class KnownBlocks:
    """Blocks of one image, and its pixel labels (0 = unknown, k = the k-th fine class) where there are any."""

    blocks: Blocks
    pixels: np.ndarray | None


@dataclass(frozen=True)
class LabelReading:
    """How the labels of images are read.

    Parameters
    ----------
    section : settings of blocks. classes : number of fine classes that pixel labels may name.
    worker : decodes label images. per_cent : see `read_boxes`.
    """

    section: BlocksSection
    classes: int
    worker: DecodingWorker
    per_cent: bool = False


def blocks_of_row(
    screen: Screen, at: int, header: Header, reading: LabelReading, zoom: tuple[float, float] = (1.0, 1.0)
) -> tuple[KnownBlocks, list[Problem]]:
    """Read what a row's columns say of its image.

    Parameters
    ----------
    zoom : see `zoom_of`.

    Raises
    ------
    BagscopeError : no such file, or one that does not fit the image.
    """
    problems: list[Problem] = []
    none = np.empty(0, np.int64)
    blocks = Blocks(none, none, none, np.empty(0, dtype=object))
    path = side_file(screen, at, COARSE)
    if path is not None:
        if path.suffix.lower() in _BOXES:
            size = round(header.height * zoom[0]), round(header.width * zoom[1])
            blocks, problems = read_boxes(path, *size, per_cent=reading.per_cent)
            every = len(blocks)
            blocks, off = coarser(blocks, zoom)
            if off:
                cause = f"{off} of {every} boxes do not lie on whole pixels of the level that is read"
                fix = "Boxes count pixels of the full resolution; choose a level that divides their edges."
                problems.append(Problem("warn", "off_level", cause, fix, str(path)))
            if not len(blocks) and problems:
                said = next((one for one in problems if one.code != "per_cent"), problems[0])
                cause = f"no box can be used: {said.cause}"
                raise ImageReadError(cause, said.fix, code=said.code, file=path)
        else:
            try:
                labels, size = reading.worker.run(read_labels, path), (header.height, header.width)
                section = reading.section
                blocks, problems = blocks_of_labels(labels, *size, section.size, section.nodata, str(path))
            except TableError as error:
                said = error.problem
                raise ImageReadError(said.cause, said.fix, code=said.code, file=path) from None
    pixels = None
    if reading.section.pixels:
        place = side_file(screen, at, reading.section.pixels)
        pixels = None if place is None else pixel_labels(place, header, reading.classes, reading.worker)
    return KnownBlocks(blocks, pixels), problems


def zoom_of(field: FieldFiles, header: Header) -> tuple[float, float]:
    """Pixels of the full resolution in one of the level that is read, downwards and to the right."""
    if not field.selection.level:
        return 1.0, 1.0
    full = read_field_header(replace(field, selection=replace(field.selection, level=0)))
    return full.height / header.height, full.width / header.width


def known_blocks(
    screen: Screen, headers: Mapping[int, Header], images: ImagesSection, reading: LabelReading
) -> tuple[dict[int, KnownBlocks], list[Problem]]:
    """Read what is known of each image of the training part; images of which nothing is known are left out.

    Parameters
    ----------
    headers : of the images, by position. reading : its `per_cent` is set here, from the tables of all images.
    """
    known: dict[int, KnownBlocks] = {}
    problems: list[Problem] = []
    fields = fields_of(screen, images)
    learned = [at for at in sorted(headers) if str(screen.rows["split"].iloc[at]) not in (VALIDATION, TEST)]
    reading = replace(reading, per_cent=says_per_cent(screen, learned))
    for at in learned:
        try:
            labels, more = blocks_of_row(screen, at, headers[at], reading, zoom_of(fields[at], headers[at]))
            problems += more
            if len(labels.blocks) or labels.pixels is not None:
                known[at] = labels
        except BagscopeError as error:
            severity = "refuse" if error.problem.code in ("swapped", "no_column", "mixed") else "list"
            problem = listed(error, str(screen.path or ""), int(screen.rows["row"].iloc[at]))
            problems.append(replace(problem, severity=severity))  # type: ignore[arg-type]
    return known, problems


def says_per_cent(screen: Screen, positions: Iterable[int]) -> bool:
    """Whether the boxes of these rows are told in per cent; tables that cannot be read are told of one by one."""
    return in_per_cent(_tables(screen, positions))


def _tables(screen: Screen, positions: Iterable[int]) -> Iterator[pd.DataFrame]:
    for at in positions:
        try:
            path = side_file(screen, at, COARSE)
            if path is not None and path.suffix.lower() in _BOXES:
                yield read_csv(path)
        except BagscopeError:
            continue


def no_blocks(file: str) -> Problem:
    """Refuse a screen of which no block is known."""
    fix = "Name a label image or a table of boxes for each image in the column 'coarse'."
    return Problem("refuse", "no_blocks", "no image has a block with a coarse class", fix, file, None, COARSE)


def side_file(screen: Screen, at: int, column: str) -> Path | None:
    """Return the file that a row names in a column of its own, None when the cell is empty.

    Raises
    ------
    ImageReadError : the file is not there, or not allowed.
    """
    if column not in screen.rows:
        return None
    text = str(screen.rows[column].iloc[at]).strip()
    if not text:
        return None
    spot = ImageFolder(screen.root).locate(text)
    if spot.severity and spot.severity != "warn":
        raise ImageReadError(spot.cause, spot.fix, code=spot.code, file=spot.path, column=column)
    return spot.path


def pixel_labels(path: Path, header: Header, classes: int, worker: DecodingWorker) -> np.ndarray:
    """Read pixel labels of an image.

    Raises
    ------
    ImageReadError : another size, or numbers beyond the classes.
    """
    labels = worker.run(read_labels, path)
    if labels.shape != (header.height, header.width):
        cause = f"labels of {labels.shape[0]}x{labels.shape[1]}, the image is {header.height}x{header.width}"
        raise ImageReadError(cause, "Give the labels of this very image.", code="mask_size", file=path)
    beyond = np.unique(labels[(labels < 0) | (labels > classes)])
    if len(beyond):
        count = int(np.isin(labels, beyond).sum())
        cause = f"numbers {', '.join(map(str, beyond[:5]))} on {count:,} pixels; there are {classes} classes"
        raise ImageReadError(cause, "0 is unknown, k the k-th fine class of the table.", code="label_range", file=path)
    return labels.astype(np.int64)


def listed(error: BagscopeError, file: str, line: int) -> Problem:
    """Turn an error of a side file into a problem of its row."""
    said = error.problem
    cause = f"{Path(said.file).name}: {said.cause}" if said.file else said.cause
    return replace(said, severity="list", cause=cause, file=file, row=line, column=said.column or COARSE)


def total(parts: Sequence[Blocks]) -> int:
    """Blocks of all images."""
    return sum(len(part) for part in parts)
