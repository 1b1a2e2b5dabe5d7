"""Images whose names say what they are: a regular expression with named groups, or a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bagscope.errors import Problem, SettingsError, TableError, shown
from bagscope.importers.layout import Layout, image_files, no_images
from bagscope.tables.wells import well_of

# A file per plane is no stack: `z` and `t` of the table would ask for a plane inside the file.
_OF_THE_FILE = {"page": "file_page", "z": "file_z", "t": "file_t"}
_ROW_NAMES, _COLUMN_NAMES = ("row",), ("column", "col")
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)?\}")


def read_pattern(source: Path, pattern: str = "", channels: Mapping[str, str] | str = "") -> Layout:
    """Take keys from the names of the images below `source`.

    Parameters
    ----------
    pattern : a template such as `{plate}_{well}_s{site}_w{channel}.tif` (`{}` matches anything, upper
        and lower case are one), or a regular expression with named groups. With a `/` it is compared with
        the whole path below `source`, else with the file's name. `channel` tells the files of one
        field apart; `row` and `column` make a well.
    channels : names for values of `channel`: "1=dna,2=gfp".

    Raises
    ------
    SettingsError : the pattern is no pattern.
    TableError : no file matches, or two files are the same channel of the same field.
    """
    expression, on_path = _expression(pattern)
    names = _channel_names(channels)
    files = image_files(source)
    if not files:
        raise no_images(source, pattern)
    found: list[tuple[Path, dict[str, str]]] = []
    unmatched = []
    for file in files:
        way = file.relative_to(source)
        match = expression.fullmatch(way.as_posix() if on_path else way.name)
        if match:
            found.append((way, {name: value or "" for name, value in match.groupdict().items()}))
        else:
            unmatched.append(way.as_posix())
    if not found:
        cause = f"no file matches {shown(pattern)}; the first is {shown(unmatched[0])}"
        raise TableError([Problem("refuse", "no_match", cause, "Adapt the pattern to the names.", str(source))])
    problems = []
    if unmatched:
        cause = f"{len(unmatched)} file(s) do not match {shown(pattern)}, the first {shown(unmatched[0])}"
        problems.append(Problem("warn", "not_matched", cause, "They were left out.", str(source)))
    if not any("well" in _keys(keys) for _, keys in found[:1]):
        cause = f"{shown(pattern)} names {', '.join(expression.groupindex)}, but no well: all fields stand in one, '-'"
        fix = "Write {well}, or {row} and {column}, where the names say it."
        problems.append(Problem("warn", "no_well", cause, fix, str(source)))
    return Layout(_fields(found, names, source), source, problems)


def _expression(pattern: str) -> tuple[re.Pattern[str], bool]:
    if not pattern:
        cause = "the format 'pattern' needs a pattern"
        raise SettingsError(cause, "Give --pattern '{plate}_{well}_s{site}.tif'.", code="no_pattern")
    if "(?P<" in pattern:
        try:
            return re.compile(pattern), "/" in pattern
        except re.error as error:
            cause = f"{shown(pattern)} is no regular expression: {error}"
            raise SettingsError(
                cause, "Correct it, or use a template: {plate}_{well}.tif.", code="bad_pattern"
            ) from None
    if not _FIELD.search(pattern):
        cause = f"{shown(pattern)} has neither {{names}} nor named groups (?P<name>…)"
        raise SettingsError(cause, "Write e.g. {plate}_{well}_s{site}_w{channel}.tif.", code="bad_pattern")
    text, last, seen = "", 0, set()
    for place in _FIELD.finditer(pattern):
        text += re.escape(pattern[last : place.start()])
        name = place[1]
        if not name:
            text += "[^/]*?"
        elif name in seen:
            text += f"(?P={name})"
        else:
            text += f"(?P<{name}>[^/]+?)"
        seen.add(name)
        last = place.end()
    return re.compile(text + re.escape(pattern[last:]), re.IGNORECASE), "/" in pattern


def _channel_names(channels: Mapping[str, str] | str) -> dict[str, str]:
    if not isinstance(channels, str):
        return {str(number): str(name) for number, name in channels.items()}
    names = {}
    for part in filter(None, channels.split(",")):
        number, sign, name = part.partition("=")
        if not sign or not name.strip():
            cause = f"channels {shown(channels)}: {shown(part)} has no '='"
            raise SettingsError(cause, "Write them as 1=dna,2=gfp.", code="bad_channels")
        names[number.strip()] = name.strip()
    return names


def _fields(found: list[tuple[Path, dict[str, str]]], names: Mapping[str, str], source: Path) -> dict[str, list[str]]:
    """Put the files of one field side by side."""
    several = "channel" in found[0][1]
    channels = sorted({keys["channel"] for _, keys in found}) if several else []
    columns = ["image_" + names.get(channel, channel) for channel in channels] or ["image"]
    fields: dict[tuple[str, ...], dict[str, str]] = {}
    problems = []
    for way, keys in found:
        column = "image_" + names.get(keys["channel"], keys["channel"]) if several else "image"
        own = {name: value for name, value in keys.items() if name != "channel"}
        # Without channels each file is a field, whatever its keys say.
        key = tuple(own.values()) if several else (str(way),)
        field = fields.setdefault(key, _keys(own))
        if column in field:
            cause = f"{shown(field[column])} and {shown(way.as_posix())} are the same channel of the same field"
            fix = "Let the pattern tell them apart, for example with {site}."
            problems.append(Problem("refuse", "field_twice", cause, fix, str(source)))
        field[column] = way.as_posix()
    if problems:
        raise TableError(problems)
    every = dict.fromkeys([*columns, *(name for field in fields.values() for name in field)])
    return {name: [field.get(name, "") for field in fields.values()] for name in every}


def _keys(groups: dict[str, str]) -> dict[str, str]:
    row = next((groups[name] for name in _ROW_NAMES if name in groups), "")
    column = next((groups[name] for name in _COLUMN_NAMES if name in groups), "")
    keys = {_OF_THE_FILE.get(name, name): value for name, value in groups.items()}
    if "well" not in keys and row and column:
        for name in (*_ROW_NAMES, *_COLUMN_NAMES):
            keys.pop(name, None)
        keys["well"] = well_of(row, column)
    return keys
