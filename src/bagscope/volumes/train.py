"""How a screen of volumes becomes a model: read the shapes, train the network, fit the measures beside it, compare."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.engine.card import ShapesCard
from bagscope.engine.card_file import CARD, load_card_as
from bagscope.engine.check import CheckReport
from bagscope.engine.compute import device_of, memory_kept, threads
from bagscope.engine.events import Events
from bagscope.engine.failures import FAILURES, Failure, failure_table
from bagscope.engine.folds import CROSS_FITTED
from bagscope.engine.model_folder import WEIGHTS, save_model
from bagscope.engine.model_readme import shapes_readme
from bagscope.engine.origin import origin
from bagscope.engine.plan import plan_of, refuse_other
from bagscope.errors import ModelError
from bagscope.files.folder import claimed
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_atomic
from bagscope.settings.jobs import VolumesJob
from bagscope.tables.frames import csv_bytes
from bagscope.tables.labels import Vocabulary, vocabulary
from bagscope.tables.splits import TRAIN, VALIDATION, assign_parts, fold_numbers, groups_of
from bagscope.tables.table import Screen
from bagscope.volumes.check import check_volumes
from bagscope.volumes.fit import LabelledShapes, Run, fit_one, labelled_shapes
from bagscope.volumes.folds import COMPARISON, cross_fit_volumes
from bagscope.volumes.predict import ShapeModel, open_volumes

RESUME, PLAN = "resume", "plan.json"
HISTORY, SPLIT, README = "history.csv", "split.csv", "README.md"
OURS = (CARD, WEIGHTS, HISTORY, SPLIT, README, FAILURES, RESUME, COMPARISON, CROSS_FITTED, "fold_*")


def train_volumes(
    screen: Screen | Path | str, out: Path, job: VolumesJob, *, resume: bool, overwrite: bool, events: Events
) -> ShapeModel:
    """Learn from the labelled volumes of a screen, and write a model folder; see `bagscope.train`."""
    device = device_of(job.compute)
    with (
        threads(job.compute.threads),
        memory_kept(),
        claimed(out, OURS, finished=CARD, resume=resume, overwrite=overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        report = check_volumes(screen, table=job.table, volumes=job.volumes, split_by=job.split.by, bags=job.bags.by)
        report.refuse()
        for note in report.notes:
            events.say(note)
        for problem in report.problems:
            events.warn(str(problem))
        rows, failures = labelled_shapes(report, job, worker, events)
        told = vocabulary(rows.table["label"].tolist())
        split = job.split
        numbers = fold_numbers(rows.table, split.by, split.folds, job.seed) if split.folds else None
        warned = tuple(str(problem) for problem in report.problems if problem.severity == "warn")
        run = Run(job, device, events, resume, warned)
        _one_model(rows, failures, told, report, out, run)
        if numbers is not None:
            cross_fit_volumes(rows, failures, report, told, numbers, out, run)
    return open_volumes(out, job.compute.device)


def _one_model(
    rows: LabelledShapes,
    failures: Sequence[Failure],
    told: Vocabulary,
    report: CheckReport,
    out: Path,
    run: Run,
) -> None:
    job, screen = run.job, report.screen
    assigned = assign_parts(rows.table, job.split.by, job.split.validation, job.seed)
    parts = assigned.parts
    signs = tuple(one.signature for one in rows.found)
    spaced = [f"{sign} at {spacing}" for sign, spacing in zip(signs, rows.spacings, strict=True)]
    plan = plan_of(job, rows.table, parts.tolist(), spaced)
    if (out / CARD).is_file():
        if load_card_as(out, ShapesCard).training.get("plan") != plan.fingerprint:
            cause = "the model there was trained on other rows or files, or with other settings"
            fix = "Name another folder with -o, or replace it with --overwrite."
            raise ModelError(cause, fix, code="changed", file=out)
        run.events.say(f"{out} is finished already")
        return
    for note in assigned.notes:
        run.events.say(note)
    refuse_other(out / RESUME / PLAN, plan)
    plan.save(out / RESUME / PLAN)
    fitted, card, judge = fit_one(rows, parts == TRAIN, parts == VALIDATION, told, run, out / RESUME, plan.fingerprint)
    training = {
        "kept_step": fitted.kept_step,
        "stopped_early": fitted.stopped_early,
        "rows": {part: sorted(np.array(signs)[parts == part].tolist()) for part in (TRAIN, VALIDATION)},
        "plan": plan.fingerprint,
        "shapes": sum(len(one.solids) for one in rows.found),
        "warnings": list(run.warned),
    }
    made = origin() | {"device": str(run.device), "precision": "fp32", "seed": job.seed}
    card = card.model_copy(update={"training": card.training | training, "created": made})
    if failures and screen is not None:
        write_atomic(out / FAILURES, csv_bytes(failure_table(screen, failures)))
        run.events.warn(f"{len(failures)} of {len(screen)} failed, see {out / FAILURES}")
    write_atomic(out / HISTORY, csv_bytes(pd.DataFrame(fitted.history)))
    split = rows.table[["row", "plate", "well", "site", "label"]].reset_index(drop=True)
    write_atomic(out / SPLIT, csv_bytes(split.assign(group=groups_of(rows.table, job.split.by), split=parts)))
    write_atomic(out / README, shapes_readme(card))
    save_model(out, judge, card)
    shutil.rmtree(out / RESUME, ignore_errors=True)
