"""What is true of a simulated plate, and the tables that say so apart from the images."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bagscope.files.writer import write_atomic
from bagscope.synth.fields import Cell
from bagscope.synth.layout import COMPOUNDS, PlannedWell, Treatment, curve_table


@dataclass(frozen=True)
class WellTruth:
    """What is true of a well: the curve's share, the well's own, and what was drawn by chance."""

    well: str
    label: str
    treatment: str
    concentration: float | None
    unit: str
    replicate: int
    odd: str  # "" or one of layout.ODD_KINDS
    share_curve: float
    share_well: float
    n_cells: int
    n_positive: int
    n_visible: int
    n_visible_positive: int

    @property
    def share_positive(self) -> float:
        """Share of the drawn cells that responded; nan in a well without cells."""
        return self.n_positive / self.n_cells if self.n_cells else float("nan")

    @property
    def share_visible_positive(self) -> float:
        """The same among cells whose reporter shows it: what a perfect reader of the images can find."""
        return self.n_visible_positive / self.n_visible if self.n_visible else float("nan")


@dataclass(frozen=True)
class PlateTruth:
    """A simulated plate: where it lies and what is true of it."""

    folder: Path
    plate: str
    images: tuple[Path, ...]
    wells: tuple[WellTruth, ...]
    treatments: tuple[Treatment, ...] = COMPOUNDS


def well_truth(planned: PlannedWell, odd: str, share: float, cells: list[Cell]) -> WellTruth:
    """Count what was drawn in a well."""
    visible = [cell for cell in cells if cell.is_visible]
    return WellTruth(
        well=planned.well,
        label=planned.label,
        treatment=planned.treatment,
        concentration=planned.concentration,
        unit=planned.unit,
        replicate=planned.replicate,
        odd=odd,
        share_curve=planned.share,
        share_well=share,
        n_cells=len(cells),
        n_positive=sum(cell.responded for cell in cells),
        n_visible=len(visible),
        n_visible_positive=sum(cell.responded for cell in visible),
    )


def cell_row(image: str, cell: Cell) -> dict[str, object]:
    """Describe a cell in the words of `truth/cells.csv`."""
    return {
        "image": image,
        "cell": cell.cell,
        "y": cell.y,
        "x": cell.x,
        "class": "positive" if cell.responded else "negative",
        "visible": "yes" if cell.is_visible else "no",
        "expression": cell.expression,
        "ratio": cell.ratio,
    }


def write_tables(
    out: Path, plate: str, plan: tuple[PlannedWell, ...], wells: tuple[WellTruth, ...], cells: list[dict[str, object]]
) -> None:
    """Write `platemap.csv` (what the person at the bench knows) and the tables of the truth."""
    platemap = [
        {
            "plate": plate,
            "well": p.well,
            "label": p.label,
            "treatment": p.treatment,
            "concentration": p.concentration,
            "unit": p.unit,
            "replicate": p.replicate,
        }
        for p in plan
    ]
    write_atomic(out / "platemap.csv", _csv_text(platemap))
    write_atomic(out / "truth" / "wells.csv", _csv_text(_well_row(plate, well) for well in wells))
    write_atomic(out / "truth" / "treatments.csv", _csv_text(curve_table()))
    write_atomic(out / "truth" / "cells.csv", _csv_text(cells, header=cell_row("", Cell(0, 0, 0, False, False, 0, 0))))


def _well_row(plate: str, well: WellTruth) -> dict[str, object]:
    return {
        "plate": plate,
        "well": well.well,
        "treatment": well.treatment,
        "concentration": well.concentration,
        "unit": well.unit,
        "odd": well.odd,
        "share_curve": round(well.share_curve, 6),
        "share_well": round(well.share_well, 6),
        "share_positive": round(well.share_positive, 6) if well.n_cells else None,
        "share_visible_positive": round(well.share_visible_positive, 6) if well.n_visible else None,
        "n_cells": well.n_cells,
        "n_positive": well.n_positive,
        "n_visible": well.n_visible,
        "n_visible_positive": well.n_visible_positive,
    }


def _csv_text(rows: Iterable[Mapping[str, object]], header: Iterable[str] = ()) -> str:
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(listed[0] if listed else header), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()
