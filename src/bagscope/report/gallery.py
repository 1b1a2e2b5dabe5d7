"""Which pictures of a screen a page shows, and how large they may be."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagscope.files.field import FieldFiles
from bagscope.report.findings import Findings
from bagscope.report.page_images import PageImages
from bagscope.report.pictures import (
    FieldPicture,
    Look,
    cell_picture,
    contrast_of,
    field_of,
    field_picture,
)

# Bytes of all pictures of fields; base64 makes a third more of them. A plate of 96 wells gets 13 MB, and thousands of
# wells 40 MB, in smaller pictures.
BUDGET_SMALL, BUDGET_LARGE, SMALL_WELLS = 9_500_000, 29_000_000, 400
# A picture of so many pixels a side takes about this many bytes with its outlines.
_BYTES_PER_PIXEL = 0.42
LARGEST_EDGE, SMALLEST_EDGE = 420, 64
MOST_SITES = 4
CELLS_PER_CLASS = 18
_LOOKS = 24
# Below these shares of the screen's medians a field is out of focus, or holds nearly nothing; the last is the share of
# saturated pixels from which on they are too many.
DULL, FAINT, SATURATED = 0.5, 0.2, 0.02


@dataclass
class Gallery:
    """Pictures by key: of fields (`f<row>`), their outlines (`o<row>`) and cells; flags by row; cells by class.

    edge : pixels a side of a field's picture. field : height and width of a field; None when none could be read.
    """

    pictures: dict[str, str]
    flags: dict[int, list[str]]
    cells: dict[str, list[dict[str, Any]]]
    edge: int
    field: tuple[int, int] | None = None


def make_gallery(
    findings: Findings, images: PageImages, progress: Callable[[int, int], None], *, has_images: bool = True
) -> Gallery:
    """Read every field that is shown once, and draw it.

    Parameters
    ----------
    progress : called with fields done and all fields.
    has_images : False for a screen that has none to draw, such as one of volumes.
    """
    shown = _shown(findings.images)
    gallery = Gallery({}, {}, {name: [] for name in findings.classes}, edge_for(len(shown)))
    if findings.screen is None or not len(shown) or not has_images:
        return gallery
    look = _look(findings, images, shown)
    if look is None:
        return gallery
    wanted = _cells_to_show(findings)
    seen: dict[int, tuple[float, float]] = {}
    asked, places = sorted({*shown, *wanted}), set(shown)

    def draw(job: tuple[int, FieldFiles]) -> _Drawn | None:
        position, field = job
        pixels = images.read(field)
        if pixels is None or len(pixels) != len(look.hues):
            return None
        picture = None
        if position in places:
            mask = images.read_mask(_mask(findings, position))
            picture = field_picture(pixels, look, mask, gallery.edge)
        edge = _cell_edge(findings)
        cells = [cell_picture(pixels, look, cell["y"], cell["x"], edge) for _, cell in wanted.get(position, ())]
        return _Drawn((pixels.shape[1], pixels.shape[2]), picture, cells)

    # Filtering and packing let go of Python's lock, so fields are drawn side by side.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (position, drawn) in enumerate(zip(asked, pool.map(draw, fields_at(findings, asked)), strict=True)):
            row = int(findings.images["row"].iloc[position])
            if drawn is not None:
                gallery.field = gallery.field or drawn.shape
                if drawn.picture is not None:
                    seen[row] = _keep(gallery, row, drawn.picture)
                for (number, cell), picture in zip(wanted.get(position, ()), drawn.cells, strict=True):
                    gallery.pictures[f"c{number}"] = picture
                    gallery.cells[cell["call"]].append({**cell, "picture": f"c{number}", "row": row})
            progress(done + 1, len(asked))
    for row, flag in odd_fields(seen).items():
        gallery.flags.setdefault(row, []).insert(0, flag)
    return gallery


@dataclass(frozen=True)
class _Drawn:
    """What was made of one field: its height and width, its picture when it is shown, and its cells to show."""

    shape: tuple[int, int]
    picture: FieldPicture | None
    cells: list[str]


def _keep(gallery: Gallery, row: int, drawn: FieldPicture) -> tuple[float, float]:
    """Put a field's picture and flags into the gallery; return its focus and contrast."""
    gallery.pictures[f"f{row}"] = drawn.image
    if drawn.outlines:
        gallery.pictures[f"o{row}"] = drawn.outlines
    if drawn.saturated > SATURATED:
        gallery.flags.setdefault(row, []).append(f"saturated ({drawn.saturated:.0%} of pixels)")
    return drawn.focus, drawn.contrast


def odd_fields(seen: dict[int, tuple[float, float]]) -> dict[int, str]:
    """Say which fields are nearly empty or out of focus beside all others: focus and contrast by row, to words."""
    if not seen:
        return {}
    sharp, shapes = np.median(np.array(list(seen.values())), axis=0)
    found = {}
    for row, (focus, contrast) in seen.items():
        if contrast < FAINT * shapes:
            found[row] = "nearly empty (little contrast)"
        elif focus < DULL * sharp:
            found[row] = "out of focus (little fine detail)"
    return found


def edge_for(pictures: int) -> int:
    """Pixels a side that let so many pictures stay within their budget."""
    budget = BUDGET_SMALL if pictures <= SMALL_WELLS else BUDGET_LARGE
    edge = math.sqrt(budget / max(1, pictures) / _BYTES_PER_PIXEL)
    return int(min(LARGEST_EDGE, max(SMALLEST_EDGE, edge)))


def _shown(images: pd.DataFrame) -> list[int]:
    """Positions of the first four scored fields of every well."""
    scored = np.flatnonzero((images["n_fields"] > 0).to_numpy())
    order = images.iloc[scored].groupby(["plate", "well"], sort=False).cumcount().to_numpy()
    return scored[order < MOST_SITES].tolist()


def fields_at(findings: Findings, positions: list[int]) -> Iterator[tuple[int, FieldFiles]]:
    """Name the files of the fields at some positions of the screen, when it is there."""
    screen = findings.screen
    images = findings.run.get("settings", {}).get("images", {})
    for position in positions:
        if screen is not None:
            row = {name: str(screen.rows[name].iloc[position]) for name in ("page", "z", "t") if name in screen.rows}
            yield position, field_of(screen.files(position), screen.channels, row, images)


def _look(findings: Findings, images: PageImages, shown: list[int]) -> Look | None:
    step = max(1, len(shown) // _LOOKS)
    read = [pixels for _, field in fields_at(findings, shown[::step]) if (pixels := images.read(field)) is not None]
    if not read:
        return None
    channels = len(read[0])
    names = findings.channels if len(findings.channels) == channels else [str(k) for k in range(channels)]
    return contrast_of([pixels for pixels in read if len(pixels) == channels], names)


def _mask(findings: Findings, position: int) -> Path | None:
    name = str(findings.images["mask_file"].iloc[position]) if "mask_file" in findings.images else ""
    path = findings.folder / name
    return path if name and path.is_file() else None


def _cells_to_show(findings: Findings) -> dict[int, list[tuple[int, dict[str, Any]]]]:
    """Of each class the cells that are surest, from different wells: position of the field -> number and cell."""
    cells = findings.cells
    found: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    if not len(cells):
        return found
    place = {int(row): at for at, row in enumerate(findings.images["row"])}
    number = 0
    for name in findings.classes:
        mine = cells[cells["call"] == name].sort_values("confidence", ascending=False, kind="stable")
        # The surest cell of every well first, then the second of every well.
        mine = mine.assign(turn=mine.groupby(["plate", "well"]).cumcount())
        mine = mine.sort_values(["turn", "confidence"], ascending=[True, False], kind="stable").head(CELLS_PER_CLASS)
        for one in mine.to_dict("records"):
            told = {key: one[key] for key in ("plate", "well", "cell", "y", "x", "call", "confidence")}
            found.setdefault(place[int(one["row"])], []).append((number, told))
            number += 1
    return found


def _cell_edge(findings: Findings) -> int:
    px = findings.card.get("scale", {}).get("cell_diameter_px") if findings.card else None
    return int(1.6 * float(px)) if px else 64
