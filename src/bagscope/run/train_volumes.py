"""How a screen of volumes becomes a model: read the shapes, train the network, fit the measures beside it, compare."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bagscope.errors import ImageReadError, ModelError, TableError
from bagscope.files.folder import claimed
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_atomic
from bagscope.run import engine
from bagscope.run.check import CheckReport
from bagscope.run.check_volumes import KnownVolume, check_volumes
from bagscope.run.compute import device_of, memory_kept, threads
from bagscope.run.events import Events
from bagscope.run.failures import FAILURES, Failure, failure_table, of_check, of_error
from bagscope.run.model_card import CARD, load_card_as
from bagscope.run.model_folder import WEIGHTS, save_model
from bagscope.run.model_readme import shapes_readme
from bagscope.run.origin import origin
from bagscope.run.plan import plan_of, refuse_other
from bagscope.run.predict_volumes import ShapeModel, open_volumes
from bagscope.run.shape_compare import comparison
from bagscope.run.shape_rows import RowShapes, shapes_of_row
from bagscope.settings.jobs import VolumesJob
from bagscope.tables.frames import csv_bytes
from bagscope.tables.labels import Vocabulary, targets, training_problems, vocabulary
from bagscope.tables.splits import TEST, TRAIN, VALIDATION, assign_parts, folds, groups_of
from bagscope.tables.table import Screen
from bagscope.tasks.card import ShapesCard
from bagscope.tasks.volumes import setup
from bagscope.tasks.volumes.samples import Bags
from bagscope.tasks.volumes.solids import six_of
from bagscope.tasks.volumes.traditional import traditional

RESUME, PLAN = "resume", "plan.json"
HISTORY, SPLIT, README = "history.csv", "split.csv", "README.md"
COMPARISON, CROSS_FITTED = "comparison.csv", "cross_fitted.csv"
OURS = (CARD, WEIGHTS, HISTORY, SPLIT, README, FAILURES, RESUME, COMPARISON, CROSS_FITTED)


@dataclass(frozen=True)
class LabelledShapes:
    """Labelled rows and their shapes: table of the rows, what was found in each, and their volumes' spacing."""

    table: pd.DataFrame
    found: tuple[RowShapes, ...]
    spacings: tuple[tuple[float, float, float], ...]

    def __len__(self) -> int:
        return len(self.found)

    def take(self, chosen: np.ndarray) -> LabelledShapes:
        """Return some rows."""
        at = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return LabelledShapes(
            self.table.iloc[at], tuple(self.found[i] for i in at), tuple(self.spacings[i] for i in at)
        )


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
        report = check_volumes(screen, table=job.table, volumes=job.volumes, split_by=job.split.by)
        report.refuse()
        for note in report.notes:
            events.say(note)
        for problem in report.problems:
            events.warn(str(problem))
        rows, failures = labelled_shapes(report, job, worker, events)
        told = vocabulary(rows.table["label"].tolist())
        numbers = _fold_numbers(rows, job) if job.split.folds else None
        warned = tuple(str(problem) for problem in report.problems if problem.severity == "warn")
        run = Run(job, device, events, resume, warned)
        _one_model(rows, failures, told, report, out, run)
        if numbers is not None:
            _cross_fit(rows, numbers, told, out, run)
    return open_volumes(out, job.compute.device)


@dataclass(frozen=True)
class Run:
    """A training run: settings, where it computes, who listens, whether it goes on, and what was warned of."""

    job: VolumesJob
    device: torch.device
    events: Events
    resume: bool
    warned: tuple[str, ...]


def labelled_shapes(
    report: CheckReport, job: VolumesJob, worker: DecodingWorker, events: Events
) -> tuple[LabelledShapes, list[Failure]]:
    """Read the volumes of the labelled rows of a checked screen and find their shapes.

    Raises
    ------
    TableError : too little is left to train on.
    """
    screen = report.screen
    if screen is None:
        raise TableError(list(report.problems))
    failures = of_check(screen, report.problems)
    positions = [at for at in sorted(report.headers) if screen.rows["label"].iloc[at]]
    found, kept, notes = [], [], 0
    for number, at in enumerate(positions, start=1):
        known: KnownVolume = report.headers[at]
        try:
            shapes = shapes_of_row(known, job.volumes, worker)
            found.append(shapes)
            kept.append(at)
            notes += bool(shapes.notes)
            if shapes.notes and notes <= 3:
                events.warn(f"{known.file.path.name}: {'; '.join(shapes.notes)}")
        except ImageReadError as error:
            failures.append(of_error(at, "read", error))
        events.progress("finding and measuring shapes", number, len(positions))
    if notes > 3:
        events.warn(f"the same or the like in {notes - 3} more volumes")
    table = screen.rows.iloc[kept]
    groups = groups_of(table, job.split.by).tolist() if len(table) else []
    lacking = training_problems(table["label"].tolist(), groups, table["row"].tolist(), str(screen.path or ""), "group")
    if lacking:
        raise TableError(lacking)
    spacings = tuple(report.headers[at].spacing for at in kept)
    return LabelledShapes(table, tuple(found), spacings), failures


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
    plan = plan_of(job, rows.table, parts.tolist(), signs)
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


def fit_one(
    rows: LabelledShapes,
    train: np.ndarray,
    watch: np.ndarray,
    told: Vocabulary,
    run: Run,
    states: Path,
    fingerprint: str,
) -> tuple[engine.Fitted, ShapesCard, Any]:
    """Train the network on some rows and fit the measures beside it.

    Parameters
    ----------
    train, watch : (R,) which rows.
    """
    job = run.job
    own = rows.take(train)
    bags, groups, measures = bags_of(own, told, job)
    watched = bags_of(rows.take(watch), told, job)[0] if watch.any() else None
    names = list(own.found[0].solids[0].measures)
    task = setup.make_task(job, told, bags, watched, names, own.spacings, run.device)
    fitted = engine.fit(task, job.training, job.seed, run.device, False, states, fingerprint, run.resume, run.events)
    card = task.learned(fitted.network)
    judge = setup.build_network(card)
    judge.net.load_state_dict(fitted.network.state_dict())
    setup.set_measures(judge, setup.fit_measures(measures, bags.targets, groups, card, job.measures.regularisation,
                                                 job.seed))  # fmt: skip
    return fitted, card, judge.to(run.device).eval()


def bags_of(rows: LabelledShapes, told: Vocabulary, job: VolumesJob) -> tuple[Bags, np.ndarray, np.ndarray]:
    """Gather shapes into bags that share a label: each shape, or all of an image, a well, a group.

    Returns
    -------
    The bags, (B,) groups that are never cut, and (B, M) mean measures.
    """
    table = rows.table
    group = groups_of(table, job.split.by)
    keys: dict[str, Callable[[int, int], tuple]] = {
        "shape": lambda row, shape: (row, shape),
        "image": lambda row, shape: (row,),
        "well": lambda row, shape: (table["plate"].iloc[row], table["well"].iloc[row]),
        "group": lambda row, shape: (group[row],),
    }
    members: dict[tuple, list[tuple[int, int]]] = {}
    for row, found in enumerate(rows.found):
        for shape in range(len(found.solids)):
            members.setdefault(keys[job.bags.by](row, shape), []).append((row, shape))
    every = list(members.values())
    first = [own[0][0] for own in every]
    shapes = [[rows.found[row].solids[shape].shape for row, shape in own] for own in every]
    means = [
        np.mean([list(rows.found[row].solids[shape].measures.values()) for row, shape in own], axis=0) for own in every
    ]
    labels = [table["label"].iloc[row] for row in first]
    ids = table["row"].to_numpy(np.int64)[first]
    return Bags(shapes, targets(labels, told.classes), ids), group[first], np.array(means)


def _fold_numbers(rows: LabelledShapes, job: VolumesJob) -> np.ndarray:
    table = rows.table
    numbers = np.full(len(table), -1)
    open_rows = (table["split"] != TEST).to_numpy()
    own = table[open_rows]
    numbers[open_rows] = folds(own["label"].tolist(), groups_of(own, job.split.by).tolist(), job.split.folds, job.seed)
    return numbers


def _cross_fit(rows: LabelledShapes, numbers: np.ndarray, told: Vocabulary, out: Path, run: Run) -> None:
    """Judge every labelled bag by models that did not see it; hold network, measures and both against each other."""
    if (out / COMPARISON).is_file():
        return
    quiet = replace(run, resume=False)
    tables = []
    for fold in range(run.job.split.folds):
        run.events.say(f"fold {fold + 1} of {run.job.split.folds}")
        away = numbers == fold
        seen = (numbers >= 0) & ~away
        _, card, judge = fit_one(rows, seen, np.zeros(len(rows), bool), told, quiet, out / RESUME / str(fold), "")
        tables.append(scored_fold(judge, card, rows.take(seen), rows.take(away), run).assign(fold=fold))
        shutil.rmtree(out / RESUME, ignore_errors=True)
    scores = pd.concat(tables, ignore_index=True)
    found = comparison(scores, card.outputs)
    write_atomic(out / CROSS_FITTED, csv_bytes(scores))
    write_atomic(out / COMPARISON, csv_bytes(found))
    for one in found.to_dict("records"):
        run.events.say(f"{one['method']}: AUC {one['auc']:.3f} ({one['low']:.3f} to {one['high']:.3f})")


def scored_fold(
    judge: setup.ShapeJudge, card: ShapesCard, seen: LabelledShapes, away: LabelledShapes, run: Run
) -> pd.DataFrame:
    """Scores of bags by a judge that did not see them, and by the traditional workflow on the same rows."""
    told = Vocabulary(card.classes, card.none_trained, card.several_labels)
    bags, groups, means = bags_of(away, told, run.job)
    lengths = [len(bag) for bag in bags.shapes]
    logits = setup.shape_logits(judge, card, [shape for bag in bags.shapes for shape in bag], run.device)
    judged = setup.judge_bags(judge, card, logits, np.repeat(means, lengths, 0), lengths)
    number = np.where(bags.targets.sum(1) > 0, bags.targets.argmax(1), len(card.classes))
    told_of = {"default": judged.head, "network": judged.network, "measures": judged.measures}
    if not card.several_labels:
        trained, own_groups, own_means = bags_of(seen, told, run.job)
        target = np.where(trained.targets.sum(1) > 0, trained.targets.argmax(1), len(card.classes))
        told_of |= traditional(own_means, target, own_groups, means, six_of(card.measures), run.job.seed)
    columns: dict[str, Any] = {"row": bags.ids, "group": groups, "target": number}
    for method, values in told_of.items():
        columns |= {f"{method}:{name}": values[:, k] for k, name in enumerate(card.outputs)}
    return pd.DataFrame(columns)
