"""Sample of blocks for an expert: drawn from the images of a screen, and written as a sheet and a form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import pandas as pd

from bagscope.blocks.check import check_images
from bagscope.blocks.draw_blocks import Candidates, Request, draw_blocks
from bagscope.blocks.rows import LabelReading, known_blocks, no_blocks
from bagscope.engine.compute import threads
from bagscope.engine.events import Events
from bagscope.engine.failures import failure_table, of_check
from bagscope.engine.inputs import channels_of, make_source
from bagscope.engine.run import Target
from bagscope.errors import BagscopeError, FolderError, Problem, SettingsError, TableError, nearest
from bagscope.files.folder import claimed
from bagscope.files.header import Header
from bagscope.files.run_names import FAILURES, FORM, PICTURE, SHEET
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_atomic
from bagscope.settings.jobs import BlocksReadJob
from bagscope.tables.block_form import PLACE, Form, fine_classes, read_form
from bagscope.tables.block_views import BlockViews
from bagscope.tables.draws import in_order
from bagscope.tables.frames import csv_bytes
from bagscope.tables.splits import groups_of
from bagscope.tables.table import Screen

OURS = (FORM, SHEET, PICTURE, FAILURES)
PLACE_COLUMNS = ("x", "y", "size", "coarse")


class Sheet(Protocol):
    """What makes pictures and a page of blocks."""

    def page(self, form: Form, views: BlockViews) -> str:
        """Return a page with a field for each share."""

    def picture(self, form: Form, views: BlockViews) -> bytes:
        """Return all blocks on one sheet, as PNG."""


@dataclass(frozen=True)
class Sampled:
    """What was written: the form, how many images failed, and classes that have fewer blocks than were asked for."""

    form: Form
    failed: int
    short: dict[str, int]


def sample_blocks(
    screen: Path | str, target: Target, request: Request, job: BlocksReadJob, sheet: Sheet, events: Events
) -> Sampled:
    """Draw blocks of each coarse class, and write form.csv, sheet.html and sheet.png; see the docs on blocks.

    Blocks of images of the test part are never drawn. A block whose image cannot be read is replaced by another.

    Raises
    ------
    TableError : no blocks, or an earlier form that does not belong to this table. SettingsError : no such class.
    FolderError : the folder is in use, or holds a form that somebody has begun to fill in.
    """
    out = target.folder
    _refuse_filled(out)
    with (
        threads(job.compute.threads),
        claimed(out, OURS, finished=FORM, overwrite=target.overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        candidates = _candidates(screen, job, request, worker, events)
        table = candidates.screen
        source, misfits = make_source(table, candidates.headers, job.images, candidates.channels, worker, 0)
        form, views, unreadable = draw_blocks(candidates, source, request, events)
        failures = [*of_check(table, candidates.problems), *misfits, *unreadable]
        if failures:
            write_atomic(out / FAILURES, csv_bytes(failure_table(table, failures)))
            events.warn(f"{len(failures)} of {len(table)} images failed, see {out / FAILURES}")
        write_atomic(out / PICTURE, sheet.picture(form, views))
        write_atomic(out / SHEET, sheet.page(form, views))
        write_atomic(out / FORM, form.to_csv())
    counts = form.blocks["coarse"].value_counts().to_dict()
    short = {name: counts.get(name, 0) for name in candidates.classes if counts.get(name, 0) < request.per_class}
    return Sampled(form, len(failures), short)


def _candidates(
    screen: Path | str, job: BlocksReadJob, request: Request, worker: DecodingWorker, events: Events
) -> Candidates:
    before = _form_of_before(request, events)
    report = check_images(screen, job)
    report.refuse()
    table = cast(Screen, report.screen)
    # Pixel labels, where there are any, are nothing to draw by.
    section = job.blocks.model_copy(update={"pixels": ""})
    known, more = known_blocks(table, report.headers, job.images, LabelReading(section, 0, worker))
    problems = [*report.problems, *more]
    for problem in problems:
        if problem.severity != "refuse":
            events.warn(str(problem))
    refused = [problem for problem in problems if problem.severity == "refuse"]
    if refused or not known:
        raise TableError(refused or [no_blocks(str(table.path or ""))])
    names = _names(table, list(report.headers))
    blocks_of = {position: labels.blocks for position, labels in known.items()}
    at = np.concatenate([np.full(len(blocks), position) for position, blocks in blocks_of.items()])
    tables = [pd.DataFrame({name: getattr(blocks, name) for name in PLACE_COLUMNS}) for blocks in blocks_of.values()]
    places = pd.concat(tables, ignore_index=True)
    classes = in_order(places["coarse"].astype(str).tolist())
    for name in request.only:
        if name not in classes:
            cause = f"no block is of coarse class '{name}'{nearest(name, classes)}"
            raise SettingsError(cause, f"There are {', '.join(classes[:20])}.", code="no_class")
    classes = [name for name in classes if not request.only or name in request.only]
    headers = dict(report.headers)
    channels = channels_of(table, headers, job.images.channels)
    _refuse_strangers(before, headers, names, str(request.more))
    groups = groups_of(table.rows).tolist()
    return Candidates(table, headers, channels, names, groups, at, places, classes, before, tuple(problems))


def _form_of_before(request: Request, events: Events) -> Form:
    if request.more is None:
        fine = fine_classes(request.fine)
        return Form(pd.DataFrame({name: [] for name in PLACE}), fine, np.empty((0, len(fine))))
    before, warnings = read_form(request.more)
    for problem in warnings:
        events.warn(str(problem))
    if request.fine and tuple(request.fine) != before.fine:
        cause = f"--fine {','.join(request.fine)}, but {request.more} has {','.join(before.fine)}"
        raise SettingsError(cause, "Leave --fine out: it is taken from the form.", code="other_fine")
    return before


def _names(screen: Screen, positions: Iterable[int]) -> dict[int, str]:
    """Name each image as its table does, with the plane that is meant where the table says one."""
    rows, column = screen.rows, screen.image_columns[0]
    names = {}
    for at in positions:
        planes = [f"{name} {rows[name].iloc[at]}" for name in ("page", "z", "t") if str(rows[name].iloc[at])]
        names[at] = " ".join([str(rows[column].iloc[at]), *planes])
    return names


def _refuse_strangers(before: Form, headers: Mapping[int, Header], names: Mapping[int, str], file: str) -> None:
    """Refuse rows of an earlier form whose image is not in the table, or that lie outside of it."""
    place = {name: at for at, name in names.items()}
    problems = []
    for row in before.blocks.to_dict("records"):
        header = headers.get(place.get(str(row["image"]), -1))
        fix = "Name the table that the form was drawn from."
        if header is None:
            cause = f"block {row['block']}: image '{row['image']}' is not among those of the table that can be used"
            problems.append(Problem("refuse", "no_image", cause, fix, file))
        elif row["x"] + row["size"] > header.width or row["y"] + row["size"] > header.height or not row["size"]:
            cause = f"block {row['block']} lies outside of '{row['image']}', {header.height}x{header.width}"
            problems.append(Problem("refuse", "outside", cause, fix, file))
    if problems:
        raise TableError(problems)


def _refuse_filled(out: Path) -> None:
    """Refuse to replace what somebody has filled in, whatever options say."""
    path = out / FORM
    if not path.is_file():
        return
    try:
        has_work = bool(read_form(path)[0].filled.any())
    except BagscopeError:
        has_work = True  # half filled, or filled in wrongly
    if has_work:
        cause = "somebody has begun to fill in this form"
        fix = f"Name another folder with -o; to add blocks to it, use --more {path}."
        raise FolderError(cause, fix, code="filled", file=path)
