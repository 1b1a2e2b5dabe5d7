"""Pictures of a network for the page: its first filters, and what its layers give for the surest cell of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from bagscope.errors import BagscopeError
from bagscope.report.findings import Findings
from bagscope.report.gallery import fields_at
from bagscope.report.layers import filters_figure, layers_figure
from bagscope.report.page_images import PageImages

# Each takes 60 kB.
MOST_CLASSES = 4


@dataclass(frozen=True)
class Picture:
    """A picture of the network (PNG) and what it shows."""

    name: str
    png: bytes


@runtime_checkable
class Network(Protocol):
    """A model whose layers can be shown; `bagscope.Model` is one."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of its channels."""
        ...

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of its convolutions."""
        ...

    def filters(self) -> np.ndarray:
        """Weights of the first one, (F, C, k, k)."""
        ...

    def activations(self, pixels: np.ndarray, layer: str, cell: tuple[float, float] | None = None) -> np.ndarray:
        """What a layer gives, (F, h, w)."""
        ...


def network_pictures(model: Network, findings: Findings, images: PageImages) -> list[Picture]:
    """Draw the first filters, and for each class the layers' answers to its surest cell, or field where cells are not.

    A field that cannot be read any more, and a network without layers in a row, have no picture.
    """
    try:
        found = [Picture("First filters of the network", filters_figure(model.filters(), model.channels))]
    except BagscopeError:
        return []
    for name in findings.classes[:MOST_CLASSES]:
        place = _surest(findings, name)
        if place is not None:
            found += _layers_of(model, findings, images, name, *place)
    return found


def _surest(findings: Findings, name: str) -> tuple[int, tuple[float, float] | None] | None:
    """Position of a field, and the centre of a cell in it, that show a class most surely."""
    cells = findings.cells
    if len(cells) and (cells["call"] == name).any():
        best = cells[cells["call"] == name].nlargest(1, "confidence").to_dict("records")[0]
        at = int(np.flatnonzero(findings.images["row"] == best["row"])[0])
        return at, (float(best["y"]), float(best["x"]))
    odds = findings.images[f"mil_probability:{name}"]
    return (int(odds.to_numpy(float, na_value=-1).argmax()), None) if odds.notna().any() else None


def _layers_of(
    model: Network,
    findings: Findings,
    images: PageImages,
    name: str,
    position: int,
    cell: tuple[float, float] | None,
) -> Sequence[Picture]:
    pixels = next((images.read(field) for _, field in fields_at(findings, [position])), None)
    if pixels is None or len(pixels) != len(model.channels):
        return []
    try:
        values = [(layer, model.activations(pixels, layer, cell)) for layer in model.layers]
    except BagscopeError:
        return []
    one = findings.images.iloc[position]
    where = f"{one['plate']} {one['well']}" + ("" if cell is None else f", cell at {cell[0]:.0f}, {cell[1]:.0f}")
    return [Picture(f"What the layers give for {name}: {where}", layers_figure(values))]
