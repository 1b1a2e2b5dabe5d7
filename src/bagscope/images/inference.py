"""How a network scores fields one by one: read ahead, scored alone, stored at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bagscope.engine.events import Events
from bagscope.engine.failures import Failure
from bagscope.engine.inputs import Source, field_signature
from bagscope.engine.loaded import LoadedModel
from bagscope.engine.parts import FieldPart, Parts, fingerprint
from bagscope.engine.predictions import (
    Predictions,
    RowLimit,
    drive_error,
    refuse_changed,
    score_each,
    training_splits,
)
from bagscope.errors import ImageReadError
from bagscope.feed.cache import Pad
from bagscope.feed.orders import prefetch
from bagscope.files.field import FieldFiles, read_field_header
from bagscope.images.card import ModelCard
from bagscope.images.cell_stage import CellStage
from bagscope.images.field_view import FieldView
from bagscope.images.scoring import FieldPixels, score_field
from bagscope.images.setup import least_px
from bagscope.images.similarity import unlike
from bagscope.settings.jobs import ReadJob

# A field up to this size is read whole, ahead of time; of a larger one, the tiles when they are needed.
WHOLE_BYTES = 256 << 20


@dataclass(frozen=True)
class _Prepared:
    """A field as the reading thread hands it over: stored from an earlier run, read, or failed.

    part : the stored scores. pixels : of a field that is read whole. unlike : how it differs from the training images.
    """

    fingerprint: str = ""
    signature: str = ""
    part: FieldPart | None = None
    pixels: np.ndarray | None = None
    unlike: str = ""
    error: ImageReadError | None = None


class FieldScorer:
    """Scores the fields of a source with a model.

    Parameters
    ----------
    parts : where scores are stored, field by field.
    job : how images are read and scored.
    cells : what is done with single cells.
    """

    def __init__(self, model: LoadedModel[ModelCard], source: Source, parts: Parts, job: ReadJob, cells: CellStage):
        self.model, self.source, self.parts, self.job, self.cells = model, source, parts, job, cells
        self.factors = _factors(model.card, source, job)
        # Among images of several pixel sizes, the coarsest has to be enlarged the least and sets the padding of all.
        smallest = max((least_px(model.card, factor) for factor in set(self.factors.tolist())), default=0)
        pad = None if job.images.pad == "none" else Pad(smallest, job.images.pad)
        self.store = source.store.take(range(len(source.positions)), pad)
        self.splits = training_splits(model.card)

    def __len__(self) -> int:
        return len(self.source.positions)

    def prepare(self, i: int) -> _Prepared:
        """Read field number i of the source, or find its stored scores; never raises for a bad file."""
        field = self.store.fields[i]
        position = int(self.source.positions[i])
        try:
            signature = field_signature(field)
            mark = self._fingerprint(i, signature)
            part = self.parts.load(position, mark)
            if part is not None and self.cells.is_whole(position, self.parts, part.cells):
                return _Prepared(mark, signature, part)
            c, h, w = self.store.shapes[i]
            if c * h * w * 4 > WHOLE_BYTES:
                _refuse_resized(field, self.store.shapes[i])
                return _Prepared(mark, signature)
            pixels = self.store.whole(i)
            refuse_changed(field, signature)
            return _Prepared(mark, signature, None, pixels, unlike(self.model.card, pixels))
        except ImageReadError as error:
            return _Prepared(error=error)
        except OSError as error:
            return _Prepared(error=drive_error(field, error))

    def _fingerprint(self, i: int, signature: str) -> str:
        card, field, position = self.model.card, self.store.fields[i], int(self.source.positions[i])
        return fingerprint(
            card.weights_sha256,
            card.scale,
            field.channels,
            field.selection,
            self.job.images,
            float(self.factors[i]),
            signature,
            self.cells.sign(position),
        )

    def score(self, i: int, prepared: _Prepared, predictions: Predictions) -> None:
        """Score a prepared field and its cells, and store the result.

        A field whose cells cannot be found keeps its score and is listed as a failure too.

        Raises
        ------
        ImageReadError : the field has no score.
        """
        position = int(self.source.positions[i])
        if prepared.signature in self.splits:
            predictions.training_split[position] = self.splits[prepared.signature]
        part = self._field_part(i, prepared)
        predictions.parts[position] = part
        predictions.unlike += bool(part.unlike)
        if prepared.part is not None:
            return
        try:
            part = self._with_cells(i, prepared, part)
        except ImageReadError as error:
            predictions.fail(position, "cells", error)
            return
        predictions.parts[position] = part
        self.parts.save(position, prepared.fingerprint, part)
        predictions.megapixels += float(np.prod(self.store.shapes[i])) / 1e6

    def _field_part(self, i: int, prepared: _Prepared) -> FieldPart:
        if prepared.error is not None:
            raise prepared.error
        if prepared.part is not None:
            return prepared.part
        pixels, (_, h, w) = prepared.pixels, self.store.shapes[i]

        def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
            return self.store.window(i, y0, y1, x0, x1) if pixels is None else pixels[:, y0:y1, x0:x1]

        factor = float(self.factors[i])
        result = score_field(self.model, FieldPixels(read, (h, w)), self.job.compute.tile, factor)
        if pixels is None:
            refuse_changed(self.store.fields[i], prepared.signature)
        return FieldPart(result.log_odds.astype(np.float64), result.head.astype(np.float64), prepared.unlike)

    def _with_cells(self, i: int, prepared: _Prepared, part: FieldPart) -> FieldPart:
        """Add the summary of a field's cells to its part."""
        if self.cells.idle:
            return part
        pixels = prepared.pixels
        if pixels is None:
            pixels = self.store.whole(i)
            refuse_changed(self.store.fields[i], prepared.signature)
        view = FieldView(self.model, pixels, part.log_odds, float(self.factors[i]))
        um = float(self.source.pixel_um[i])
        pixel_um = um if np.isfinite(um) else None
        return replace(part, cells=self.cells.write(view, int(self.source.positions[i]), self.parts, pixel_um))


def predict_fields(scorer: FieldScorer, failures: Sequence[Failure], events: Events) -> Predictions:
    """Score all fields of a source; stored scores that are still valid are taken over.

    A field is scored alone, so its score depends on no other field and on no order. A field that cannot be read, or
    whose score is not a number, is a failure; the others go on.

    Parameters
    ----------
    failures : rows that failed before; they count among the failures.

    Raises
    ------
    BagscopeError : more rows fail than the settings allow; what was scored stays.
    """
    predictions, total = Predictions(failures=list(failures)), len(scorer)
    rows = (
        (int(scorer.source.positions[i]), partial(scorer.score, i, prepared, predictions))
        for i, prepared in enumerate(prefetch(scorer.prepare, 0, total))
    )
    limit = RowLimit(scorer.job, total + len(failures))
    score_each(rows, predictions, limit, lambda done: events.progress("scoring", done, total))
    return predictions


def _factors(card: ModelCard, source: Source, job: ReadJob) -> np.ndarray:
    """Return the scale of each field, (R,): the model's, or the factor to the model's pixel size."""
    factor, trained = card.scale.factor, card.scale.pixel_um
    if not job.images.rescale or not trained:
        return np.full(len(source.positions), factor)
    return factor * np.where(np.isfinite(source.pixel_um), source.pixel_um / trained, 1.0)


def _refuse_resized(field: FieldFiles, shape: tuple[int, int, int]) -> None:
    """Refuse an image that has grown since its header was read: its windows would be those of another image."""
    header = read_field_header(field)
    if header.height > shape[1] or header.width > shape[2]:
        cause = f"changed since it was checked: {header.height}x{header.width} pixels"
        fix = "Let no program write to the images meanwhile."
        raise ImageReadError(cause, fix, code="changed", file=field.paths[0])
