"""How blocks are drawn, read with their surroundings, and drawn anew where an image cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from bagscope.blocks.rows import no_blocks
from bagscope.engine.events import Events
from bagscope.engine.failures import Failure, of_error
from bagscope.engine.inputs import Source
from bagscope.errors import ImageReadError, Problem, TableError
from bagscope.files.header import Header
from bagscope.ops.shrink import shrunk
from bagscope.tables.block_form import PLACE, Form
from bagscope.tables.block_views import BlockViews
from bagscope.tables.draws import in_order, spread_draw
from bagscope.tables.table import Screen

# Edge of a view in pixels: more than a screen shows of one is not kept.
MOST_PX = 512
# Position of the image in the screen, x, y, size, coarse class.
Key = tuple[int, int, int, int, str]


@dataclass(frozen=True)
class Request:
    """What is drawn, and how it is shown.

    Parameters
    ----------
    fine : names of the fine classes, the background first; may be empty with `more`.
    per_class : blocks of each coarse class in all. only : coarse classes to draw from; () for all.
    context : surroundings on each side, in edges of the block.
    shows_classes : sort by coarse class and say it, instead of shuffling and keeping it to oneself.
    more : a form of before; its rows are kept, and new ones are added. seed : of the draw.
    """

    fine: tuple[str, ...] = ()
    per_class: int = 12
    only: tuple[str, ...] = ()
    context: int = 1
    shows_classes: bool = False
    more: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Candidates:
    """Blocks to draw from: of images `at`, named `names` by position, with groups; and the form of before."""

    screen: Screen
    headers: Mapping[int, Header]
    channels: tuple[str, ...]
    names: Mapping[int, str]
    groups: Sequence[str]
    at: np.ndarray
    places: pd.DataFrame
    classes: list[str]
    before: Form
    problems: tuple[Problem, ...]


def draw_blocks(
    found: Candidates, source: Source, request: Request, events: Events
) -> tuple[Form, BlockViews, list[Failure]]:
    """Draw, read, and draw anew for images that cannot be read, until all that is shown was seen."""
    rng = np.random.default_rng(request.seed)
    of_source = {int(at): i for i, at in enumerate(source.positions)}
    by_name = {name: at for at, name in found.names.items()}
    blocks = found.before.blocks
    keys = list(zip([by_name[str(name)] for name in blocks["image"]], blocks["x"], blocks["y"], blocks["size"],
                    blocks["coarse"], strict=True))  # fmt: skip
    kept = len(keys)
    cut: dict[tuple[int, int, int, int], tuple[np.ndarray, tuple[int, int, int, int]] | None] = {}
    bad: dict[int, Failure] = {}
    while True:
        missing = {key[:4] for key in keys} - set(cut)
        for at in sorted({key[0] for key in missing}):
            for _, x, y, size in sorted(key for key in missing if key[0] == at):
                cut[at, x, y, size] = None
                if at in bad:
                    continue
                try:
                    cut[at, x, y, size] = window_of(source, of_source[at], x, y, size, request.context)
                except ImageReadError as error:
                    bad[at] = of_error(at, "read", error)
            events.progress("reading blocks", sum(key[:4] in cut for key in keys), len(keys))
        keys = keys[:kept] + [key for key in keys[kept:] if key[0] not in bad]
        usable = np.array([int(at) in of_source and int(at) not in bad for at in found.at], bool)
        more = _draw(found, usable, keys, request, rng)
        if not more:
            break
        keys += more
    if not any(cut[key[:4]] for key in keys):
        raise TableError([no_blocks(str(found.screen.path or ""))] if not bad else [f.problem for f in bad.values()])
    form = _form(found, keys, kept, request, rng)
    order = [(by_name[str(row["image"])], row["x"], row["y"], row["size"]) for row in form.blocks.to_dict("records")]
    seen = [cut[key] for key in order]
    headers = [found.headers[key[0]] for key in order]
    views = BlockViews(
        tuple(None if one is None else one[0] for one in seen),
        tuple((0, 0, 0, 0) if one is None else one[1] for one in seen),
        source.channels,
        len(source.channels) == 3 and all(header.axes.endswith("S") for header in headers),
        request.context,
        request.shows_classes,
    )
    return form, views, list(bad.values())


def _draw(
    found: Candidates, usable: np.ndarray, keys: Sequence[Key], request: Request, rng: np.random.Generator
) -> list[Key]:
    """Draw what is missing of each class."""
    there = {key[:4] for key in keys}
    more: list[Key] = []
    label = found.places["coarse"].astype(str).to_numpy()
    corner = found.places[["x", "y", "size"]].to_numpy(np.int64)
    for name in found.classes:
        own = [key for key in keys if key[4] == name]
        wanted = request.per_class - len(own)
        if wanted <= 0:
            continue
        at = np.flatnonzero(usable & (label == name))
        at = at[[(int(found.at[k]), *corner[k].tolist()) not in there for k in at]] if there and len(at) else at
        chosen = at[spread_draw(found.at[at], found.groups, wanted, rng, [key[0] for key in own])]
        more += [(int(found.at[k]), *corner[k].tolist(), name) for k in chosen]
    return more


def _form(found: Candidates, keys: Sequence[Key], kept: int, request: Request, rng: np.random.Generator) -> Form:
    """Number the blocks: those of before as they were, then the new ones, shuffled unless classes are shown."""
    new = list(keys[kept:])
    new = new if request.shows_classes else [new[k] for k in rng.permutation(len(new))]
    before = found.before
    first = int(before.blocks["block"].max()) + 1 if len(before) else 1
    rows = [(first + k, found.names[at], x, y, size, name) for k, (at, x, y, size, name) in enumerate(new)]
    blocks = pd.concat([before.blocks, pd.DataFrame(rows, columns=list(PLACE))], ignore_index=True)
    whole = dict.fromkeys(("block", "x", "y", "size"), np.int64)
    shares = np.concatenate([before.shares, np.full((len(rows), len(before.fine)), np.nan)])
    form = Form(blocks.astype(whole), before.fine, shares)
    if not request.shows_classes:
        return form
    rank = {name: k for k, name in enumerate(in_order(form.blocks["coarse"].tolist()))}
    return form.take(np.argsort([rank[name] for name in form.blocks["coarse"]], kind="stable"))


def window_of(
    source: Source, i: int, x: int, y: int, size: int, context: int
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Read a block with its surroundings, the block in the middle, zeros beyond the image, shrunk to 512 pixels.

    Returns
    -------
    (C, E, E) in the stored type of number, and the part of it that lies in the image.

    Raises
    ------
    ImageReadError : it cannot be read.
    """
    c, height, width = source.store.shapes[i]
    around = context * size
    top, left, edge = y - around, x - around, size + 2 * around
    y0, y1, x0, x1 = max(0, top), min(height, top + edge), max(0, left), min(width, left + edge)
    pixels = source.store.window(i, y0, y1, x0, x1)
    canvas = np.zeros((c, edge, edge), pixels.dtype)
    canvas[:, y0 - top : y1 - top, x0 - left : x1 - left] = pixels
    step = -(-edge // MOST_PX)
    small = shrunk(canvas, step)
    small = small if canvas.dtype.kind == "f" else np.rint(small).astype(canvas.dtype)
    places = (y0 - top, y1 - top, x0 - left, x1 - left)
    inside = tuple(min(place // step, small.shape[1]) for place in places)
    return small, cast(tuple[int, int, int, int], inside)
