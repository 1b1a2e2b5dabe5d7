"""What a plate looks like in a terminal: a letter and a colour per call."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bagscope.report.marks import marks
from bagscope.tables.wells import well_name, well_place

if TYPE_CHECKING:
    import pandas as pd

# Black on colours that differ in brightness too, so that they are told apart without colour vision.
_COLOURS = ("43", "46", "42", "45", "44", "41", "47")
_SPECIAL = {"none": "2", "unsure": "7", "": "31"}
_MOST_PLATES = 6
_SHOWN_PLATE = 24


def plate_grids(wells: pd.DataFrame, classes: Sequence[str], colour: bool | None = None) -> str:
    """Draw the calls of all wells, plate by plate (the first six), with a legend.

    Parameters
    ----------
    wells : table of a score folder.
    classes : of the model; each gets a letter.
    colour : default: when stdout is a terminal.
    """
    colour = sys.stdout.isatty() if colour is None else colour
    drawn = _coloured(classes)
    plates = list(dict.fromkeys(wells["plate"]))
    blocks = []
    for plate in plates[:_MOST_PLATES]:
        here = wells[wells["plate"] == plate]
        blocks.append(_grid(str(plate), dict(zip(here["well"], here["call"], strict=True)), drawn, colour))
    blocks = [block for block in blocks if block]
    if len(plates) > _MOST_PLATES:
        blocks.append(f"... and {len(plates) - _MOST_PLATES} more plates")
    return "\n".join([*blocks, _legend(wells["call"].tolist(), drawn, colour)])


def _coloured(classes: Sequence[str]) -> dict[str, tuple[str, str]]:
    colours = {name: f"30;{_COLOURS[at % len(_COLOURS)]}" for at, name in enumerate(classes)} | _SPECIAL
    return {call: (letter, colours[call]) for call, letter in marks(classes).items()}


def _mark(call: str, drawn: dict[str, tuple[str, str]], colour: bool) -> str:
    letter, code = drawn.get(call, ("&", "1"))
    return f"\033[{code}m {letter} \033[0m" if colour else f" {letter} "


def _grid(plate: str, calls: dict[str, str], drawn: dict[str, tuple[str, str]], colour: bool) -> str:
    places = {place: call for well, call in calls.items() if (place := well_place(well))}
    if not places:
        return ""
    last_row, last_column = (max(place[axis] for place in places) for axis in (0, 1))
    lines = [_printable(plate[:_SHOWN_PLATE]), "   " + "".join(f"{column:^3d}" for column in range(1, last_column + 1))]
    for row in range(1, last_row + 1):
        cells = [
            _mark(places[row, column], drawn, colour) if (row, column) in places else "   "
            for column in range(1, last_column + 1)
        ]
        lines.append(f"{well_name(row, 1)[:-2]:>2} " + "".join(cells).rstrip())
    return "\n".join(lines)


def _legend(calls: Sequence[str], drawn: dict[str, tuple[str, str]], colour: bool) -> str:
    parts = []
    for call in [*drawn, *dict.fromkeys(call for call in calls if call not in drawn)]:
        count = calls.count(call)
        if count:
            parts.append(f"{_mark(call, drawn, colour)}{_printable(call) or 'failed'}: {count}")
    return "calls of wells: " + ", ".join(part.strip() for part in parts)


def _printable(text: str) -> str:
    """A name out of a table must not move the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
