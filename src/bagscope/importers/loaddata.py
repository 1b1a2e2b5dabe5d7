"""CellProfiler's LoadData CSV: a column of file names and one of folders (or URLs) per channel."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bagscope.errors import Problem, TableError, shown
from bagscope.importers.layout import Layout
from bagscope.tables.csvfile import parse_csv
from bagscope.tables.wells import well_of

_FILE = re.compile(r"(?:Image_)?FileName_(.+)")
_FOLDER = re.compile(r"(?:Image_)?PathName_(.+)")
_URL = re.compile(r"(?:Image_)?URL_(.+)")
_METADATA = re.compile(r"(?:Image_)?Metadata_(.+)")
_KEYS = {
    "plate": ("plate", "platename", "plateid", "assayplatebarcode"),
    "well": ("well", "wellposition", "wellid"),
    "site": ("site", "field", "fieldid", "fieldindex"),
    "label": ("label", "class"),
    "treatment": ("treatment", "compound"),
    "concentration": ("concentration",),
    "unit": ("unit", "concentrationunit"),
    "replicate": ("replicate",),
    "group": ("group",),
}
_PLACE = {"row": ("row", "wellrow"), "column": ("col", "column", "wellcol", "wellcolumn")}


def read_loaddata(source: Path, images: str | Path = "") -> Layout:
    """Take images and metadata from a LoadData CSV.

    `FileName_X` with `PathName_X`, or `URL_X`, becomes `image_X`; `Metadata_Plate`, `_Well`, `_Site`,
    `_Compound` and their kin become keys, other columns are handed through.

    Parameters
    ----------
    images : folder of the images, in place of what `PathName_X` says (written on another machine, say).

    Raises
    ------
    TableError : the file is no such table.
    """
    if not source.is_file():
        problem = Problem("refuse", "no_source", "not a file", "Name the LoadData CSV.", str(source))
        raise TableError([problem])
    table = parse_csv(source.read_bytes(), str(source), required="Image_FileName")
    if table.problems:
        raise TableError(table.problems)
    columns = {name: [row[at] for row in table.rows] for at, name in enumerate(table.header)}
    cells, used = _images(columns, source, Path(images) if images else None)
    cells |= _keys(columns, used)
    for name, column in columns.items():
        if name and name not in used and name not in cells:
            cells[name] = column
    return Layout(cells, source.absolute().parent)


def _images(columns: dict[str, list[str]], source: Path, images: Path | None) -> tuple[dict[str, list[str]], set[str]]:
    files, folders, urls = (_by_channel(columns, kind) for kind in (_FILE, _FOLDER, _URL))
    channels = list(dict.fromkeys([*files, *urls]))
    if not channels:
        cause = f"no column FileName_<channel> or URL_<channel>; found {', '.join(map(shown, list(columns)[:8]))}"
        fix = "Is it a LoadData CSV? `bagscope import pattern` reads keys from file names."
        raise TableError([Problem("refuse", "no_image_column", cause, fix, str(source), 1)])
    used = {name for kind in (files, folders, urls) for name in kind.values()}
    cells = {}
    for channel in channels:
        if channel in files:
            names = columns[files[channel]]
            places = columns[folders[channel]] if channel in folders and not images else [""] * len(names)
            cells[f"image_{channel}"] = [_join(place, name, images) for place, name in zip(places, names, strict=True)]
        else:
            cells[f"image_{channel}"] = [_path_of_url(url, images) for url in columns[urls[channel]]]
    return cells, used


def _by_channel(columns: dict[str, list[str]], kind: re.Pattern[str]) -> dict[str, str]:
    return {match[1]: name for name in columns if (match := kind.fullmatch(name))}


def _join(folder: str, name: str, images: Path | None) -> str:
    if not name.strip():
        return ""
    if images:
        return str(images.absolute() / name)
    return f"{folder.rstrip('/')}/{name}" if folder.strip() else name


def _path_of_url(url: str, images: Path | None) -> str:
    """Take the path of a file: URL; other URLs stay as they are, for the table to refuse."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return url
    path = unquote(parts.path)
    if images:
        return str(images.absolute() / Path(path).name)
    return path[1:] if re.match(r"/[A-Za-z]:", path) else path


def _keys(columns: dict[str, list[str]], used: set[str]) -> dict[str, list[str]]:
    metadata = {match[1].casefold().replace("_", ""): name for name in columns if (match := _METADATA.fullmatch(name))}
    cells = {}
    for key, aliases in _KEYS.items():
        for alias in aliases:
            if alias in metadata:
                cells[key] = columns[metadata[alias]]
                used.add(metadata[alias])
                break
    if "well" not in cells:
        row, column = (next((metadata[a] for a in aliases if a in metadata), "") for aliases in _PLACE.values())
        if row and column:
            cells["well"] = [well_of(r, c) for r, c in zip(columns[row], columns[column], strict=True)]
            used.update((row, column))
    return cells
