"""What a trained network looks for, and what its layers see in a field or a cell: arrays for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from bagscope.engine.events import Events
from bagscope.engine.inputs import make_source
from bagscope.engine.tasks import TASKS
from bagscope.errors import SettingsError
from bagscope.files.worker import DecodingWorker
from bagscope.images.predict import Model
from bagscope.images.score import checked
from bagscope.nets import layers
from bagscope.settings.jobs import ReadJob
from bagscope.settings.sections import ImagesSection
from bagscope.tables.table import Screen


@dataclass(frozen=True)
class Activations:
    """What a layer gives for one field, or for one cell of it: (filters, h, w), >= 0.

    seen : (C, H, W) the normalised image that the network ate. where : what it is, for a title.
    """

    values: np.ndarray
    seen: np.ndarray
    where: str


def first_filters(model: Model) -> np.ndarray:
    """Weights of the first convolution, (filters, C, k, k): what every later layer builds on."""
    return layers.first_filters(model.network.body).cpu().numpy()  # type: ignore[arg-type]


def layer_names(model: Model) -> tuple[str, ...]:
    """Names of the convolutions, first to last."""
    return tuple(layers.layer_names(model.network.body))  # type: ignore[arg-type]


def activations(
    model: Model, pixels: np.ndarray, layer: str, cell: tuple[float, float] | None = None, where: str = ""
) -> Activations:
    """Show what a layer gives for a field, or for the window of one cell.

    Parameters
    ----------
    pixels : (C, H, W) grey values, channels as the model's.
    layer : one of `layer_names`; its filters are numbered from 0.
    cell : row and column of a cell in the image's own pixels; None: the whole field.

    Raises
    ------
    SettingsError : no such layer. BagscopeError : a cell outside the image.
    """
    kind = TASKS.load(model.card.task)
    view = kind.FieldView(model.network, model.card, pixels, None, model.device)
    if cell is None:
        seen, body = view.prepared[None], model.network.body
    else:
        seen, body = view.windows(np.array([cell], float)), model.network.cells or model.network.body
    found = layers.activations(body, seen, layer)  # type: ignore[arg-type]
    return Activations(found[0].cpu().numpy(), seen[0].cpu().numpy(), where)


def activations_of_row(
    model: Model, screen: Screen | Path | str, row: int, layer: str, cell: tuple[float, float] | None, events: Events
) -> Activations:
    """Read a row of a screen table and show what a layer gives for it; see `activations`.

    Parameters
    ----------
    row : line of the table, the header being line 1.

    Raises
    ------
    SettingsError : no such row, or one that cannot be used. ImageReadError : it cannot be read.
    """
    reading = model.card.reading
    images = ImagesSection(**(reading.model_dump() if reading else {}))  # as in training: the same plane of a stack
    job = ReadJob(images=images)
    report = checked(model.card, screen, job, events)
    found = cast(Screen, report.screen)
    at = np.flatnonzero(found.rows["row"].to_numpy() == row)
    if not len(at) or int(at[0]) not in report.headers:
        lines = [int(found.rows["row"].iloc[i]) for i in sorted(report.headers)]
        cause = f"no row {row} that can be used"
        raise SettingsError(cause, f"Usable rows are {lines[0]} to {lines[-1]}.", code="no_row")
    with DecodingWorker(job.compute.io_timeout) as worker:
        headers = {int(at[0]): report.headers[int(at[0])]}
        source, misfits = make_source(found, headers, job.images, model.card.channels, worker, 0)
        if misfits:
            said = misfits[0].problem
            raise SettingsError(said.cause, said.fix, code=said.code)
        pixels = source.store.whole(0)
    one = found.rows.iloc[int(at[0])]
    where = f"{one['plate']} {one['well']} site {one['site']}"
    return activations(model, pixels, layer, cell, where)
