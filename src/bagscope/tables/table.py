"""What a screen table says: one row per field, its keys, label and files, all problems named at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from bagscope.errors import Problem, Severity, TableError, shown
from bagscope.tables import values
from bagscope.tables.columns import CONCENTRATION, KNOWN, Columns, sort_columns
from bagscope.tables.duplicates import same_pictures
from bagscope.tables.labels import label_conflicts
from bagscope.tables.paths import ImageFolder, Located
from bagscope.tables.spelling import case_twins, cleaned, join_spellings
from bagscope.tables.text_columns import as_text, text_table

LabelLevel = Literal["well", "image"]
# Columns whose values are names: look-alike letters must not make two of one.
_NAMES = ("plate", "label", "treatment", "unit", "replicate", "group")
_DELIMITER_NAMES = {",": "','", ";": "';'", "\t": "tab", "parquet": "parquet"}


@dataclass(frozen=True)
class Screen:
    """All images of a study, one row per field, in the order of the table.

    Parameters
    ----------
    rows : `row` (line of the table, header = 1), the image columns, then text columns `plate`, `well`, `site`,
        `label`, `treatment`, `unit`, `replicate`, `group`, `split`, `page`, `z`, `t`, `mask` ("" = missing),
        `concentration` (float, NaN = missing), then unknown columns as text.
    path : the table's file, if it came from one.
    root : folder that the relative paths in the image columns start from.
    image_columns : ("image",) or one per channel.
    channels : () for a single column `image`, else the channels' names.
    warnings : what was said while reading, rows without their files among it; nothing that was refused.
    found : per row the files as they were located on disk.
    masks : per row the file of its own segmentation, as located; None where the table names none.
    delimiter : what stood between the cells, for messages.
    """

    rows: pd.DataFrame
    path: Path | None
    root: Path
    image_columns: tuple[str, ...]
    channels: tuple[str, ...]
    warnings: tuple[Problem, ...] = ()
    found: tuple[tuple[Path, ...], ...] = ()
    masks: tuple[Path | None, ...] = ()
    delimiter: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files of a row by its position: one, or one per channel."""
        if self.found:
            return self.found[index]
        return tuple(self.root / self.rows[name].iloc[index] for name in self.image_columns)

    def mask(self, index: int) -> Path | None:
        """Return the file of a row's own segmentation, None when it has none."""
        return self.masks[index] if self.masks else None

    def take(self, positions: Sequence[int] | np.ndarray) -> Screen:
        """Return a screen of these rows alone (positions, or one True or False per row)."""
        chosen = np.asarray(positions)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        found = tuple(self.found[at] for at in chosen) if self.found else ()
        masks = tuple(self.masks[at] for at in chosen) if self.masks else ()
        return replace(self, rows=self.rows.iloc[chosen].reset_index(drop=True), found=found, masks=masks)


def read_screen(
    path: Path | str,
    *,
    root: Path | str | None = None,
    label_level: LabelLevel = "image",
    allow_outside: bool = False,
    well_free_text: bool = False,
) -> Screen:
    """Read a screen table; what training asks of the labels is left to `bagscope.check` and `bagscope.train`.

    Parameters
    ----------
    path : CSV, TSV or parquet.
    root : folder of the images; default: the table's own.
    label_level : "well" also refuses a well with two labels.
    allow_outside : take relative paths and links that lead out of the folder.
    well_free_text : take well names as they are.

    Raises
    ------
    TableError : with all problems of the table that have to be mended first.
    """
    screen, problems = parse_screen(
        path, root=root, label_level=label_level, allow_outside=allow_outside, well_free_text=well_free_text
    )
    refused = [problem for problem in problems if problem.severity == "refuse"]
    if refused or screen is None:
        raise TableError(refused)
    return screen


def parse_screen(
    path: Path | str,
    *,
    root: Path | str | None = None,
    label_level: LabelLevel = "well",
    allow_outside: bool = False,
    well_free_text: bool = False,
) -> tuple[Screen | None, list[Problem]]:
    """Read a screen table as far as possible and tell everything that is wrong with it.

    Returns
    -------
    The screen (also when rows have to be refused, so that their files can still be looked at; None when
    the file is no table at all) and all problems; nothing is raised on bad content.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        cause, fix = f"cannot read the table: {error.strerror}", "Check the path."
        return None, [Problem("refuse", "no_table", cause, fix, str(path))]
    table = text_table(content, str(path))
    if not table.header:
        return None, table.problems
    columns = sort_columns(table.header, str(path))
    problems = [*table.problems, *columns.problems]
    if not table.rows and not table.problems:
        problems.append(Problem("refuse", "empty_table", "no row below the header", "Add a row per image.", str(path)))
    if not columns.images or not table.rows:
        return None, problems
    cells = {name: [row[at] for row in table.rows] for name, at in columns.places.items()}
    folder = ImageFolder(Path(root).absolute() if root else path.absolute().parent, allow_outside)
    screen, more = _screen(cells, table.lines, columns, folder, path, label_level, well_free_text)
    problems += more
    said = tuple(problem for problem in problems if problem.severity != "refuse")
    return replace(screen, warnings=said, delimiter=_DELIMITER_NAMES.get(table.delimiter, "")), problems


def make_screen(
    cells: Mapping[str, Sequence[str]] | pd.DataFrame, root: Path | str, *, well_free_text: bool = False
) -> tuple[Screen, list[Problem]]:
    """Make a screen of columns that a program put together (importers, tests), by the same rules.

    Parameters
    ----------
    cells : column name -> values; they are turned into text, missing ones into "".
    root : folder that image paths are relative to; absolute ones are fine.

    Raises
    ------
    TableError : there is no image column.
    """
    frame = pd.DataFrame(cells)
    texts = {str(name): as_text(frame[name]) for name in frame.columns}
    columns = sort_columns(list(texts))
    if not columns.images:
        raise TableError(columns.problems)
    lines = list(range(2, len(frame) + 2))
    folder = ImageFolder(Path(root).absolute())
    screen, problems = _screen(texts, lines, columns, folder, None, "image", well_free_text)
    problems = [*columns.problems, *problems]
    said = tuple(problem for problem in problems if problem.severity != "refuse")
    return replace(screen, warnings=said), problems


def _screen(
    cells: Mapping[str, list[str]],
    lines: list[int],
    columns: Columns,
    folder: ImageFolder,
    path: Path | None,
    label_level: LabelLevel,
    well_free_text: bool,
) -> tuple[Screen, list[Problem]]:
    file = str(path) if path else ""
    rows, problems = _rows(cells, lines, columns, file, well_free_text)
    found, more = _locate(rows, columns, folder, file)
    problems += more
    out, more = same_pictures(rows, [_pictures(files) for files in found], file)
    problems += more
    rows, found = _without(rows, found, set(out))
    rows["plate"] = [plate or values.NO_PLATE for plate in rows["plate"]]
    rows["site"] = values.fill_sites(list(zip(rows["plate"], rows["well"], strict=True)), rows["site"].tolist())
    problems += _site_twins(rows, file)
    if label_level == "well":
        problems += label_conflicts(rows, file)
    located = tuple(tuple(spot.path for spot in files) for files in found)
    masks, more = _masks(rows, folder, file)
    problems += more
    return Screen(rows, path, folder.root, columns.images, columns.channels, (), located, masks), problems


def _rows(
    cells: Mapping[str, list[str]], lines: list[int], columns: Columns, file: str, well_free_text: bool
) -> tuple[pd.DataFrame, list[Problem]]:
    texts, problems = cleaned({name: col for name, col in cells.items() if name not in columns.images}, lines, file)
    for name in KNOWN:
        texts.setdefault(name, [""] * len(lines))
    for name in _NAMES:
        texts[name], more = join_spellings(texts[name], lines, name, file)
        problems += more
    classes = dict.fromkeys(part for label in texts["label"] for part in values.label_parts(label))
    problems += case_twins(classes, "label", file)
    problems += values.check_labels(texts["label"], lines, file)
    problems += values.check_splits(texts["split"], lines, file)
    for name in ("page", "z", "t"):
        wrong = values.check_planes(name, texts[name], lines, file)
        if wrong:
            # Refused; emptied so that the row's file can still be looked at.
            texts[name] = [value if values.is_plane(name, value) else "" for value in texts[name]]
        problems += wrong
    written = texts["well"]
    texts["well"], more = values.normal_wells(written, texts["plate"], lines, file, well_free_text)
    problems += more
    numbers, more = values.concentrations(texts[CONCENTRATION], lines, file)
    problems += more
    frame: dict[str, object] = {"row": np.array(lines, dtype=np.int64)}
    order = [*columns.images, *KNOWN, *(name for name in texts if name not in KNOWN)]
    for name in order:
        column = cells[name] if name in columns.images else texts[name]
        frame[name] = np.array(numbers) if name == CONCENTRATION else np.array(column, dtype=object)
    if any(a not in (b, "") for a, b in zip(written, texts["well"], strict=True)):
        frame["well_written"] = np.array(written, dtype=object)
    return pd.DataFrame(frame), problems


def _locate(
    rows: pd.DataFrame, columns: Columns, folder: ImageFolder, file: str
) -> tuple[list[tuple[Located, ...]], list[Problem]]:
    """Find the files of every row; a row without one of its channels is listed as a whole."""
    problems: list[Problem] = []
    found = []
    lines = rows["row"].tolist()
    for at, texts in enumerate(zip(*(rows[name] for name in columns.images), strict=True)):
        spots = []
        for name, text in zip(columns.images, texts, strict=True):
            if text.strip():
                spot = folder.locate(text)
            else:
                cause, fix = "no file is named; the whole field is left out", "Fill in the file name."
                spot = Located(folder.root, "list", "missing_channel", cause, fix)
            spots.append(spot)
            if spot.severity:
                problems.append(Problem(spot.severity, spot.code, spot.cause, spot.fix, file, lines[at], name))
        found.append(tuple(spots))
        if len({spot.path for spot in spots if spot.usable}) < sum(spot.usable for spot in spots):
            cause = f"one file stands for several channels: {shown(texts[0])}"
            fix = "Name one file per channel, or use a single column 'image'."
            problems.append(Problem("refuse", "channel_twice", cause, fix, file, lines[at]))
    return found, problems


def _masks(rows: pd.DataFrame, folder: ImageFolder, file: str) -> tuple[tuple[Path | None, ...], list[Problem]]:
    """Find the label images by the rules of images; a missing one costs the field its cells, not its score."""
    problems: list[Problem] = []
    found: list[Path | None] = []
    for line, text in zip(rows["row"], rows["mask"], strict=True):
        if not text.strip():
            found.append(None)
            continue
        spot = folder.locate(text)
        found.append(spot.path)
        if spot.severity:
            severity: Severity = "refuse" if spot.severity == "refuse" else "warn"
            problems.append(Problem(severity, spot.code, spot.cause, spot.fix, file, int(line), "mask"))
    return (tuple(found) if any(found) else ()), problems


def _pictures(spots: tuple[Located, ...]) -> tuple[str, ...]:
    return tuple(spot.real for spot in spots) if all(spot.usable for spot in spots) else ()


def _without(
    rows: pd.DataFrame, found: list[tuple[Located, ...]], out: set[int]
) -> tuple[pd.DataFrame, list[tuple[Located, ...]]]:
    kept = [at for at in range(len(rows)) if at not in out]
    return rows.iloc[kept].reset_index(drop=True), [found[at] for at in kept]


def _site_twins(rows: pd.DataFrame, file: str) -> list[Problem]:
    keys = ["plate", "well", "site", "page", "z", "t"]
    twins = rows[rows.duplicated(keys, keep="first")]
    if not len(twins):
        return []
    one = twins.iloc[0]
    cause = f"{len(twins)} row(s) repeat plate, well and site of another, the first {one.plate}/{one.well}/{one.site}"
    fix = "Give every field of a well its own site, or leave the column empty."
    return [Problem("warn", "site_twice", cause, fix, file, int(one["row"]), "site")]
