"""How a network judges fields one by one: read ahead, scored alone, kept at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bagscope.engine.card import ModelCard
from bagscope.engine.events import Events
from bagscope.engine.failures import Failure, of_error
from bagscope.engine.inputs import Source, field_signature
from bagscope.engine.parts import FieldPart, Parts, fingerprint
from bagscope.engine.predictions import JudgedFields, gone, refuse_changed, stop_when_too_many
from bagscope.engine.tasks import TASKS
from bagscope.errors import ImageReadError
from bagscope.feed.cache import Pad, PixelStore
from bagscope.feed.orders import prefetch
from bagscope.files.field import FieldFiles, read_field_header
from bagscope.images.cell_stage import CellStage
from bagscope.images.similarity import unlike
from bagscope.settings.jobs import ReadJob
from bagscope.tables.splits import TRAIN, VALIDATION

# A field up to this size is read whole, ahead of time; of a larger one, the tiles when they are needed.
WHOLE_BYTES = 256 << 20


@dataclass(frozen=True)
class Judge:
    """A network, what is known of it, where it computes, and the folder that it came from."""

    network: nn.Module
    card: ModelCard
    device: torch.device
    folder: Path | None = None


@dataclass(frozen=True)
class _Field:
    """A field as the reading thread hands it over: kept from before, read, or failed."""

    mark: str = ""
    sign: str = ""
    part: FieldPart | None = None
    pixels: np.ndarray | None = None
    unlike: str = ""
    error: ImageReadError | None = None


def judge_fields(
    judge: Judge,
    source: Source,
    parts: Parts,
    job: ReadJob,
    events: Events,
    before: Sequence[Failure] = (),
    *,
    cells: CellStage,
) -> JudgedFields:
    """Score all fields of a source; what was scored before and has not changed is taken over.

    A field is scored alone, so its score depends on no other field and on no order. One that cannot be
    read, or whose score is no number, is a failure; the others go on.

    Parameters
    ----------
    before : rows that failed before; they count among the failures.
    cells : what is done with single cells. A field whose cells cannot be had keeps its score, and is a failure too.

    Raises
    ------
    BagscopeError : more fields fail than the settings allow; what was scored stays.
    """
    task, judged = TASKS.load(judge.card.task), JudgedFields(failures=list(before))
    factors = _factors(judge.card, source, job)
    # Of images with several pixel sizes, the coarsest have to be enlarged the least and set what all are given.
    least = max((task.least_px(judge.card, factor) for factor in set(factors.tolist())), default=0)
    pad = None if job.images.pad == "none" else Pad(least, job.images.pad)
    store = source.store.take(range(len(source.positions)), pad)
    known = {sign: part for part in (TRAIN, VALIDATION) for sign in judge.card.training.get("rows", {}).get(part, ())}
    total = len(source.positions)
    um = [float(one) if np.isfinite(one) else None for one in source.pixel_um]
    stop_when_too_many(judged, job, total + len(before))

    def prepare(i: int) -> _Field:
        return _prepared(judge.card, store, i, parts, int(source.positions[i]), job, float(factors[i]), cells)

    for i, found in enumerate(prefetch(prepare, 0, total)):
        position = int(source.positions[i])
        if found.sign in known:
            judged.known[position] = known[found.sign]
        stage = "score"
        try:
            part = _part(judge, store, i, found, job.compute.tile, float(factors[i]))
            judged.parts[position] = part
            judged.unlike += bool(part.unlike)
            if found.part is None:
                stage = "cells"
                part = _with_cells(judge, store, i, found, part, cells, parts, position, float(factors[i]), um[i])
                judged.parts[position] = part
                parts.save(position, found.mark, part)
                judged.megapixels += float(np.prod(store.shapes[i])) / 1e6
        except ImageReadError as error:
            judged.failures.append(of_error(position, stage, error))
            stop_when_too_many(judged, job, total + len(before))
        events.progress("scoring", i + 1, total)
    return judged


def _factors(card: ModelCard, source: Source, job: ReadJob) -> np.ndarray:
    """(R,) scale of each field: the model's, or what brings its pixel size to the model's."""
    factor, trained = card.scale.factor, card.scale.pixel_um
    if not job.images.rescale or not trained:
        return np.full(len(source.positions), factor)
    return factor * np.where(np.isfinite(source.pixel_um), source.pixel_um / trained, 1.0)


def _prepared(
    card: ModelCard,
    store: PixelStore,
    i: int,
    parts: Parts,
    position: int,
    job: ReadJob,
    factor: float,
    cells: CellStage,
) -> _Field:
    own = store.fields[i]
    try:
        sign = field_signature(own)
        mark = fingerprint(
            card.weights_sha256, card.scale, own.channels, own.selection, job.images, factor, sign, cells.sign(position)
        )
        part = parts.load(position, mark)
        if part is not None and cells.is_whole(position, parts, part.cells):
            return _Field(mark, sign, part)
        c, h, w = store.shapes[i]
        if c * h * w * 4 > WHOLE_BYTES:
            _refuse_resized(own, store.shapes[i])
            return _Field(mark, sign)
        pixels = store.whole(i)
        refuse_changed(own, sign)
        return _Field(mark, sign, None, pixels, unlike(card, pixels))
    except ImageReadError as error:
        return _Field(error=error)
    except OSError as error:
        return _Field(error=gone(own, error))


def _part(judge: Judge, store: PixelStore, i: int, found: _Field, tile: int, factor: float) -> FieldPart:
    if found.error is not None:
        raise found.error
    if found.part is not None:
        return found.part
    pixels, (_, h, w) = found.pixels, store.shapes[i]

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return store.window(i, y0, y1, x0, x1) if pixels is None else pixels[:, y0:y1, x0:x1]

    score = TASKS.load(judge.card.task).score_field
    result = score(judge.network, judge.card, read, (h, w), tile, judge.device, factor)
    if pixels is None:
        refuse_changed(store.fields[i], found.sign)
    return FieldPart(result.log_odds.astype(np.float64), result.head.astype(np.float64), found.unlike)


def _with_cells(
    judge: Judge,
    store: PixelStore,
    i: int,
    found: _Field,
    part: FieldPart,
    cells: CellStage,
    parts: Parts,
    position: int,
    factor: float,
    pixel_um: float | None,
) -> FieldPart:
    """Add what a field's cells say to its part."""
    if cells.idle:
        return part
    pixels = store.whole(i) if found.pixels is None else found.pixels
    if found.pixels is None:
        refuse_changed(store.fields[i], found.sign)
    kind = TASKS.load(judge.card.task)
    view = kind.FieldView(judge.network, judge.card, pixels, part.log_odds, judge.device, factor)
    return replace(part, cells=cells.write(view, position, parts, pixel_um))


def _refuse_resized(field: FieldFiles, shape: tuple[int, int, int]) -> None:
    """Windows of an image that has grown since its header was read would all be there, of another image."""
    header = read_field_header(field)
    if header.height > shape[1] or header.width > shape[2]:
        cause = f"changed since it was checked: {header.height}x{header.width} pixels"
        fix = "Let no program write to the images meanwhile."
        raise ImageReadError(cause, fix, code="changed", file=field.paths[0])
