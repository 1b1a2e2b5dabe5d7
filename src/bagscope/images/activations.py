"""What a trained network looks for, and what its layers see in a field or a cell: arrays for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bagscope.engine.events import Events
from bagscope.engine.inputs import make_source
from bagscope.engine.loaded import LoadedModel
from bagscope.engine.run import announce
from bagscope.engine.scoring import screen_of
from bagscope.errors import SettingsError
from bagscope.files.worker import DecodingWorker
from bagscope.images.card import ModelCard
from bagscope.images.check import check_for_model
from bagscope.images.field_view import FieldView
from bagscope.nets import layers
from bagscope.settings.jobs import ReadJob
from bagscope.settings.sections import ImagesSection
from bagscope.tables.table import Screen

ImageModel = LoadedModel[ModelCard]


@dataclass(frozen=True)
class Activations:
    """What a layer gives for one field, or for one cell of it: (filters, h, w), >= 0.

    seen : (C, H, W) the normalised image that the network ate. where : what it is, for a title.
    """

    values: np.ndarray
    seen: np.ndarray
    where: str


def first_filters(model: ImageModel) -> np.ndarray:
    """Weights of the first convolution, (filters, C, k, k): what every later layer builds on."""
    return layers.first_filters(model.network.body).cpu().numpy()


def layer_names(model: ImageModel) -> tuple[str, ...]:
    """Names of the convolutions, first to last."""
    return tuple(layers.layer_names(model.network.body))


def activations(
    model: ImageModel, pixels: np.ndarray, layer: str, cell: tuple[float, float] | None = None, where: str = ""
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
    view = FieldView(model, pixels)
    if cell is None:
        seen, body = view.prepared[None], model.network.body
    else:
        seen, body = view.windows(np.array([cell], float)), model.network.cells or model.network.body
    found = layers.activations(body, seen, layer)
    return Activations(found[0].cpu().numpy(), seen[0].cpu().numpy(), where)


def activations_of_row(
    model: ImageModel,
    screen: Screen | Path | str,
    row: int,
    layer: str,
    cell: tuple[float, float] | None,
    events: Events,
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
    report = check_for_model(screen, job, model.card)
    announce(report, events)
    found = screen_of(report)
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
