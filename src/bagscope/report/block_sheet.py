"""How blocks are shown to an expert who says their shares: a page to fill in, and a sheet to print."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bagscope.files.pictures import webp
from bagscope.ops.shrink import shrunk
from bagscope.report.figures import png
from bagscope.report.page_parts import json_text, page_file, rendered
from bagscope.report.pictures import composite, contrast_of, uri
from bagscope.tables.block_form import Form
from bagscope.tables.block_views import BlockViews
from bagscope.tables.frames import csv_bytes

QUALITY = 88
# Beyond the image, where nothing was photographed.
_BEYOND = (96, 96, 96)
_OUTLINE = (255, 221, 0)
_ACROSS = 6
_TILE_PX = 180


def page(form: Form, views: BlockViews) -> str:
    """Return a page with every block and fields for its shares, and a button that saves the form.

    One file without any request to another place; nothing from a table or a file name can become markup or script. All
    blocks are drawn with one contrast.
    """
    drawn = _drawn(views)
    cards = [
        {
            "block": int(form.blocks["block"].iloc[at]),
            "coarse": str(form.blocks["coarse"].iloc[at]) if views.shows_classes else "",
            "picture": "" if one is None else uri(webp(one, quality=QUALITY)),
            "at": at,
        }
        for at, one in enumerate(drawn)
    ]
    values = [["" if np.isnan(share) else f"{100 * share:.6g}" for share in row] for row in form.shares]
    head, *rows = _records(form)
    content = {
        "title": f"Shares of {len(cards)} blocks",
        "cards": cards,
        "rest": form.fine[0],
        "asked": list(enumerate(form.fine))[1:],
        "shows_classes": views.shows_classes,
        "context": views.context,
        "data": json_text({"head": head, "rows": rows, "values": values, "classes": len(form.fine)}),
    }
    style = page_file("sheet.css") + _mark(views.context)
    return rendered("sheet.html", content, style=style, script=page_file("sheet.js"))


def picture(form: Form, views: BlockViews) -> bytes:
    """Return all blocks on one sheet as PNG, six in a row, each outlined, with its number and room for a share."""
    tiles = [_tile(one, views.context) for one in _drawn(views)]
    down = -(-len(tiles) // _ACROSS)
    across = min(_ACROSS, len(tiles))
    figure = Figure(figsize=(across * 1.75, down * 2.05), layout="tight")
    FigureCanvasAgg(figure)
    places = figure.subplots(down, across, squeeze=False).ravel()
    for place in places:
        place.axis("off")
    for at, (place, tile) in enumerate(zip(places, tiles, strict=False)):
        place.imshow(tile)
        block, coarse = form.blocks["block"].iloc[at], form.blocks["coarse"].iloc[at]
        place.set_title(f"{block}{f' ({coarse})' if views.shows_classes else ''}:  ......", fontsize=9, pad=3)
    return png(figure)


def _drawn(views: BlockViews) -> list[np.ndarray | None]:
    """Draw views in colour, (E, E, 3) uint8 each, grey beyond the image."""
    # Contrast is taken from the images alone, not from the zeros beyond them.
    within = [
        pixels[:, y0:y1, x0:x1]
        for pixels, (y0, y1, x0, x1) in zip(views.pixels, views.inside, strict=True)
        if pixels is not None
    ]
    look = None if views.colour and within[0].dtype.kind in "ui" else contrast_of(within, views.channels)
    drawn: list[np.ndarray | None] = []
    for pixels, (y0, y1, x0, x1) in zip(views.pixels, views.inside, strict=True):
        if pixels is None:
            drawn.append(None)
            continue
        whole = np.full((*pixels.shape[1:], 3), _BEYOND, np.uint8)
        cut = pixels[:, y0:y1, x0:x1]
        whole[y0:y1, x0:x1] = _as_photographed(cut) if look is None else composite(cut, look)
        drawn.append(whole)
    return drawn


def _as_photographed(pixels: np.ndarray) -> np.ndarray:
    """Red, green and blue as they are stored, (3, h, w) whole numbers to (h, w, 3) uint8."""
    top = np.iinfo(pixels.dtype).max
    return np.moveaxis(pixels.astype(np.float32) * (255 / top), 0, 2).round().astype(np.uint8)


def _tile(drawn: np.ndarray | None, context: int) -> np.ndarray:
    if drawn is None:
        return np.full((_TILE_PX, _TILE_PX, 3), _BEYOND, np.uint8)
    step = max(1, len(drawn) // _TILE_PX)
    small = np.moveaxis(shrunk(np.moveaxis(drawn, 2, 0), step), 0, 2)
    times = max(1, _TILE_PX // len(small))
    tile = np.repeat(np.repeat(small, times, 0), times, 1).round().astype(np.uint8)
    if context:
        first, last = (round(len(tile) * part / (2 * context + 1)) for part in (context, context + 1))
        for edge in (first - 1, last):
            tile[edge : edge + 2, first - 1 : last + 2] = _OUTLINE
            tile[first - 1 : last + 2, edge : edge + 2] = _OUTLINE
    return tile


def _mark(context: int) -> str:
    """Style of the outline: a page may not say it at the element, lest scripts could hide in a name."""
    return f".mark{{inset:{100 * context / (2 * context + 1):.4f}%}}\n"


def _records(form: Form) -> list[str]:
    """Lines of the form without shares, as CSV, for the page to add them: only ours quotes and marks as it must."""
    text = csv_bytes(form.blocks).decode("utf-8")
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    names = next(csv.reader(io.StringIO(form.take(np.array([], int)).to_csv().decode("utf-8"), newline="")))
    return [_line(names), *(_line(row) for row in rows if len(row) == len(head))]


def _line(cells: Sequence[Any]) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="").writerow(cells)
    return stream.getvalue()
