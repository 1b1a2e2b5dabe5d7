"""Pictures of what a network looks for and what its layers see, as PNG bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bagscope.files.writer import write_atomic
from bagscope.report.figures import png

# More panels than this are too small to be told apart; the most active filters are shown.
MOST_PANELS = 64
CONTRAST = (1.0, 99.8)


def filters_figure(filters: np.ndarray, channels: Sequence[str]) -> bytes:
    """Draw the first layer's filters, one column each, one row per channel: red pulls up, blue pulls down.

    All panels share one scale, so that filters can be compared.

    Parameters
    ----------
    filters : (F, C, k, k).
    channels : C names.
    """
    count = len(filters)
    across = min(count, 16)
    bands = math.ceil(count / across)
    figure = Figure(figsize=(1.2 + 0.62 * across, 0.8 + 0.66 * bands * len(channels)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(bands * len(channels), across, squeeze=False)
    limit = float(np.abs(filters).max()) or 1.0
    for place in panels.ravel():
        _bare(place)
    for number, one in enumerate(filters):
        band, column = divmod(number, across)
        for c, name in enumerate(channels):
            place = panels[band * len(channels) + c, column]
            place.imshow(one[c], cmap="RdBu_r", vmin=-limit, vmax=limit)
            if c == 0:
                place.set_title(str(number), fontsize=7, pad=2)
            if column == 0:
                place.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
                place.axis("on")
    figure.suptitle(f"First layer: {count} filters, scale -{limit:.2g} (blue) to {limit:.2g} (red)", fontsize=10)
    return png(figure)


def activations_figure(values: np.ndarray, seen: np.ndarray, channels: Sequence[str], title: str) -> bytes:
    """Draw what the network ate, channel by channel, and what each filter of a layer gives for it.

    Parameters
    ----------
    values : (F, h, w) >= 0; when there are more than 64 filters, the 64 with the largest mean are drawn.
    seen : (C, H, W) normalised image.
    channels : C names.
    """
    order = np.sort(np.argsort(-values.mean((1, 2)), kind="stable")[:MOST_PANELS])
    across = 8
    bands = math.ceil(len(order) / across)
    top = math.ceil(len(channels) / across)
    figure = Figure(figsize=(1.35 * across, 0.5 + 1.45 * (bands + top)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(top + bands, across, squeeze=False)
    for place in panels.ravel():
        _bare(place)
    for place, one, name in zip(panels[:top].ravel(), seen, channels, strict=False):
        low, high = np.percentile(one, CONTRAST)
        place.imshow(one, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
        place.set_title(name, fontsize=8, pad=2)
    limit = float(values.max()) or 1.0
    for place, number in zip(panels[top:].ravel(), order, strict=False):
        place.imshow(values[number], cmap="magma", vmin=0, vmax=limit)
        place.set_title(str(number), fontsize=7, pad=2)
    silent = int((values.max((1, 2)) == 0).sum())
    told = f"{len(order)} of {len(values)} filters, {silent} silent; scale 0 (black) to {limit:.3g}"
    figure.suptitle(f"{title}: {told}", fontsize=10)
    return png(figure)


def layers_figure(layers: Sequence[tuple[str, np.ndarray]]) -> bytes:
    """Draw the most active filters of each layer, a row each; every layer has a scale of its own.

    Parameters
    ----------
    layers : name and (F, h, w) >= 0; layers of one element are left out.
    """
    shown = [(name, values) for name, values in layers if values[0].size > 1]
    across = 10
    figure = Figure(figsize=(1.0 * across + 0.6, 1.08 * max(1, len(shown))), layout="constrained")
    FigureCanvasAgg(figure)
    for places, (name, values) in zip(figure.subplots(max(1, len(shown)), across, squeeze=False), shown, strict=False):
        order = np.argsort(-values.mean((1, 2)), kind="stable")[:across]
        limit = float(values[order].max()) or 1.0
        for place in places:
            _bare(place)
        for place, number in zip(places, order, strict=False):
            place.imshow(values[number], cmap="magma", vmin=0, vmax=limit)
            place.set_title(str(number), fontsize=6, pad=1)
        places[0].set_ylabel(f"{name}\n{len(values)} filters", fontsize=7)
    return png(figure)


def write_picture(path: Path, picture: bytes) -> None:
    """Write a picture; it is whole or absent."""
    write_atomic(path, picture)


def _bare(place: Axes) -> None:
    place.set_xticks([])
    place.set_yticks([])
    place.spines[:].set_visible(False)
