"""How a model judges every field of a screen, and what that says of wells and treatments."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from bagscope.engine.card import ModelCard
from bagscope.engine.check import CheckReport, check
from bagscope.engine.compute import device_of, memory_kept, threads
from bagscope.engine.events import Events
from bagscope.engine.failures import FAILURES, of_check
from bagscope.engine.inputs import make_source
from bagscope.engine.parts import PARTS, Parts
from bagscope.engine.score_folder import RUN, TABLES, Provenance, Scores, write_scores
from bagscope.engine.tasks import TASKS
from bagscope.errors import SEVERITIES, Problem
from bagscope.files.folder import claimed
from bagscope.files.worker import DecodingWorker
from bagscope.images import similarity
from bagscope.images.cell_stage import MAPS, MASKS, CellStage
from bagscope.images.inference import Judge, judge_fields
from bagscope.settings.jobs import ReadJob, make_job
from bagscope.tables.table import Screen

OURS = (*TABLES, FAILURES, RUN, PARTS, MASKS, MAPS)


def score(
    judge: Judge,
    screen: Screen | Path | str,
    out: Path | str,
    *,
    config: Path | None,
    resume: bool,
    overwrite: bool,
    events: Events,
    choices: Mapping[str, Any],
) -> Scores:
    """Judge all rows of a screen and write a score folder; see `Model.score`."""
    job, out, began = make_job(ReadJob, config, choices), Path(out), time.monotonic()
    with (
        _where_wanted(judge, job) as judge,
        threads(job.compute.threads),
        memory_kept(),
        # Claimed first: a folder that cannot be written to is told before any image is opened.
        claimed(out, OURS, finished=RUN, resume=resume, overwrite=overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        report = checked(judge.card, screen, job, events)
        screen = cast(Screen, report.screen)
        source, misfits = make_source(screen, report.headers, job.images, judge.card.channels, worker, 0)
        failed = [*of_check(screen, report.problems), *misfits]
        cells = CellStage(job.cells, judge.card, screen, out)
        for problem in cells.warnings:
            events.warn(str(problem))
        judged = judge_fields(judge, source, Parts(out / PARTS), job, events, failed, cells=cells)
        if cells.in_pieces:
            cause = f"in {cells.in_pieces} masks a number stands on separate pieces; they count as one cell"
            events.warn(str(Problem("warn", "pieces", cause, "Number them one by one if they are several.")))
        said = [problem for problem in report.problems if problem.severity == "warn"]
        late = similarity.after_scoring(judged.unlike, len(judged.parts), str(screen.path or ""))
        for problem in late:
            events.warn(str(problem))
        provenance = Provenance(job, tuple(map(str, (*said, *late))), time.monotonic() - began, judge.folder)
        return write_scores(out, screen, judge.card, judged, provenance, events)


@contextmanager
def _where_wanted(judge: Judge, job: ReadJob) -> Iterator[Judge]:
    """Lend the network to the device that was asked for; afterwards it is where it was."""
    if "device" not in job.compute.model_fields_set:
        yield judge
        return
    device = device_of(job.compute)
    try:
        yield Judge(judge.network.to(device), judge.card, device, judge.folder)
    finally:
        judge.network.to(judge.device)


def checked(card: ModelCard, screen: Screen | Path | str, job: ReadJob, events: Events) -> CheckReport:
    """Check a screen for scoring by a model and say what was found.

    Raises
    ------
    TableError : with all that is refused.
    """
    report = checked_for(card, screen, job)
    report.refuse()
    for note in report.notes:
        events.say(note)
    for problem in report.problems:
        events.warn(str(problem))
    return report


def checked_for(card: ModelCard, screen: Screen | Path | str, job: ReadJob, *, pixels: bool = False) -> CheckReport:
    """Find every problem that a screen has for a model; see `check`."""
    report = check(
        screen,
        table=job.table,
        images=job.images,
        purpose="score",
        pixels=pixels,
        # What is rescaled, each field by its own factor, is measured when it is scored.
        minimum_px=0 if job.images.rescale else TASKS.load(card.task).least_px(card),
        io_timeout=job.compute.io_timeout,
    )
    if report.screen is None:
        return report
    more = similarity.before_scoring(card, report.screen, report.headers, job.images, force=job.table.force)
    listed = {problem.row for problem in more if problem.severity == "list"}
    lines = report.screen.rows["row"].tolist()
    usable = {at: header for at, header in report.headers.items() if lines[at] not in listed}
    return replace(
        report,
        problems=tuple(sorted((*report.problems, *more), key=lambda problem: SEVERITIES.index(problem.severity))),
        headers=usable,
        listed=report.listed | (report.headers.keys() - usable.keys()),
    )
