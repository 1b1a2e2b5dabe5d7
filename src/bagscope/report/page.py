"""How a score folder becomes one page that opens anywhere, offline: plates, wells, hits, and why."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_atomic
from bagscope.report import sections, shapes, why
from bagscope.report.findings import Findings, read_findings
from bagscope.report.gallery import make_gallery
from bagscope.report.maps import holds_maps, maps_page
from bagscope.report.network import Network, Picture, network_pictures
from bagscope.report.page_images import PageImages
from bagscope.report.page_parts import json_text, page_file, rendered

SECTIONS = (
    ("plates", "Plates"),
    ("controls", "Controls"),
    ("hits", "Treatments"),
    ("classes", "Classes"),
    ("quality", "Quality"),
    ("model", "Model"),
    ("origin", "Origin"),
)


@dataclass(frozen=True)
class ExtraTable:
    """A table that stands beside the calls, such as a simulator's truth: title, sentences, columns, rows of text."""

    title: str
    lines: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_report(
    scores: Path,
    out: Path,
    *,
    beside: ExtraTable | None = None,
    model: Any = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the page of a score folder; it is whole or absent.

    One file without any request to another place: style, script, data and pictures are in it, and nothing from a table,
    a class name or a file name can become markup or script.

    Parameters
    ----------
    scores : folder that `bagscope score` made.
    beside : what stands beside the calls.
    model : that made the scores; its filters and the answers of its layers are shown.
    progress : called with fields read and all fields that are shown.

    Raises
    ------
    ModelError : no finished scores there. FolderError : the page cannot be written.
    """
    findings = read_findings(Path(scores))
    # Its process starts with the first image: a page of volumes shows none.
    with closing(DecodingWorker(findings.io_timeout)) as worker:
        images = PageImages(worker)
        if holds_maps(findings):
            page = maps_page(findings, images, progress)
        else:
            page = _page(findings, images, beside, model, progress)
    write_atomic(Path(out), page)
    return Path(out)


def _page(
    findings: Findings,
    images: PageImages,
    beside: ExtraTable | None,
    model: Any,
    progress: Callable[[int, int], None],
) -> str:
    solids = shapes.read_solids(findings.folder, findings.model_folder, findings.classes)
    gallery = make_gallery(findings, images, progress, has_images=solids is None)
    pictures = network_pictures(model, findings, images) if isinstance(model, Network) else []
    script = "".join(map(page_file, ("theme.js", "page.js", "solids.js")))
    content = _content(findings, gallery, beside, pictures, solids)
    content["warnings"] += images.warnings
    return rendered("page.html", content, style=page_file("page.css"), script=script)


def _content(
    findings: Findings,
    gallery: Any,
    beside: ExtraTable | None,
    pictures: Sequence[Picture],
    solids: shapes.Solids | None,
) -> dict[str, Any]:
    wells, plates, legend = sections.plates(findings, gallery)
    values = sections.value_columns(findings)
    blocks, surfaces = shapes.shape_blocks(solids, findings.classes)
    data = {
        "wells": wells,
        "solids": surfaces,
        "ranges": sections.ranges(findings, values),
        "pictures": gallery.pictures,
        "first": sections.first_well(findings),
    }
    told = [(name, title) for name, title in SECTIONS]
    if beside:
        told.insert(5, ("truth", beside.title))
    return {
        "skip": "plates",
        "title": sections.title(findings),
        "lead": sections.lead(findings),
        "sections": told,
        "warnings": [*findings.warnings, *([solids.note] if solids is not None and solids.note else [])],
        "cards": sections.cards(findings),
        "plates": plates,
        "elsewhere": sections.without_place(findings),
        "legend": legend,
        "values": values,
        **sections.controls(findings),
        "hits": sections.hits(findings),
        "spectra": why.spectra(findings, gallery) if solids is None else [],
        "shapes": blocks,
        "methods": shapes.methods(solids),
        "contrast": "its 1 % and 99.7 % quantiles",
        **why.quality(findings, gallery),
        "beside": beside,
        "model": why.model(findings, [(one.name, _png(one.png)) for one in pictures], gallery.field),
        "origin": why.origin(findings),
        "data": json_text(data),
    }


def _png(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
