"""Which columns a screen table has, and which of them hold images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bagscope.errors import Problem, nearest, shown
from bagscope.tables.spelling import clean

IMAGE = "image"
IMAGE_OF_CHANNEL = "image_"
KEYS = ("plate", "well", "site")
CONCENTRATION = "concentration"
KNOWN = (*KEYS, "label", "treatment", CONCENTRATION, "unit", "replicate", "group", "split", "page", "z", "t", "mask")
# Names that bagscope gives to columns of its own; a user's column of that name is handed through with a mark.
RESERVED = ("row", "well_written", "n_fields", "n_wells", "n_cells", "mask_file", "map_file", "call", "confidence")
RESERVED_STARTS = ("mil_probability:", "probability:", "share:", "log_odds:", "logit:")
HANDED_MARK = "table_"
_SHOWN_COLUMNS = 12


@dataclass(frozen=True)
class Columns:
    """What a header holds: position of each column in the file by name, and the image columns among them."""

    places: dict[str, int]
    images: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, or nothing when one column `image` holds whole files."""
        return () if self.images == (IMAGE,) else tuple(name.removeprefix(IMAGE_OF_CHANNEL) for name in self.images)


def sort_columns(header: Sequence[str], file: str = "") -> Columns:
    """Find the columns that bagscope knows; the others are handed through, nameless ones are not.

    Problems: no image column (with the columns found and the nearest name), `image` beside
    `image_<channel>`, a known column twice, a name that is nearly a known one.
    """
    places: dict[str, int] = {}
    problems: list[Problem] = []
    for at, written in enumerate(header):
        name = clean(written)
        if name in RESERVED or name.startswith(RESERVED_STARTS):
            problems.append(_renamed(name, file))
            name = HANDED_MARK + name
        if not name:
            continue
        if name in places:
            problems.append(_twice(name, file))
            continue
        places[name] = at
        if not _is_known(name) and name.strip().casefold().replace(" ", "_") in (*KNOWN, IMAGE):
            problems.append(_nearly(name, file))
    images = tuple(name for name in places if _is_image(name))
    if not images:
        problems.append(_no_image(list(places), file))
    if IMAGE in images and len(images) > 1:
        cause = f"both '{IMAGE}' and {', '.join(repr(n) for n in images if n != IMAGE)} are there"
        fix = "Keep 'image' (a file with all channels) or image_<channel> (a file per channel); rename the others."
        problems.append(Problem("refuse", "two_kinds_of_image", cause, fix, file, 1))
        images = (IMAGE,)
    return Columns(places, images, problems)


def _is_image(name: str) -> bool:
    return name == IMAGE or (name.startswith(IMAGE_OF_CHANNEL) and len(name) > len(IMAGE_OF_CHANNEL))


def _is_known(name: str) -> bool:
    return name in KNOWN or _is_image(name)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    return ", ".join(shown(name) for name in names[:_SHOWN_COLUMNS]) + more


def _no_image(names: Sequence[str], file: str) -> Problem:
    near = next((name for name in names if nearest(IMAGE, [name]) or nearest(name, [IMAGE])), "")
    hint = f"rename {shown(near)} to 'image'" if near else "name the column of the image files 'image'"
    if any("." in name or "/" in name for name in names):
        hint = "the first line looks like data: put a header line above it, and " + hint
    cause = f"no column 'image' or 'image_<channel>'; found: {_listed(names) or 'no names at all'}"
    return Problem("refuse", "no_image_column", cause, f"{hint[0].upper()}{hint[1:]}.", file, 1)


def _twice(name: str, file: str) -> Problem:
    if _is_known(name):
        cause = f"the column {shown(name)} is there twice"
        return Problem("refuse", "column_twice", cause, "Remove or rename one of them.", file, 1, name)
    cause = f"the column {shown(name)} is there twice; the first is handed through"
    return Problem("warn", "column_twice", cause, "Rename one of them to keep both.", file, 1, name)


def _nearly(name: str, file: str) -> Problem:
    right = name.strip().casefold().replace(" ", "_")
    cause = f"the column {shown(name)} is not used: names are compared exactly"
    return Problem("warn", "nearly_a_column", cause, f"Rename it to '{right}' if that is meant.", file, 1, name)


def _renamed(name: str, file: str) -> Problem:
    cause = f"'{name}' is a name of bagscope's own; the column is handed through as '{HANDED_MARK}{name}'"
    return Problem("warn", "reserved_column", cause, "", file, 1, name)
