"""How images with coarse blocks become a model of pixels: read, train, learn once more from pseudo-labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.blocks import setup
from bagscope.blocks.card import BlocksCard
from bagscope.blocks.check import BlocksReport
from bagscope.blocks.samples import BlockRows
from bagscope.blocks.task import BlocksTask
from bagscope.blocks.tiles import probabilities
from bagscope.engine import loop
from bagscope.engine.check import CheckReport
from bagscope.engine.compute import Execution, trains_in_bf16
from bagscope.engine.failures import Failure, of_check, of_error
from bagscope.engine.inputs import channels_of, make_source, signed_rows
from bagscope.engine.loaded import Predictor, TrainedNetwork
from bagscope.engine.parts import fingerprint
from bagscope.engine.plan import Plan, plan_of
from bagscope.engine.run import Run
from bagscope.engine.states import Checkpoints
from bagscope.engine.training import Trained, created, finished_card, write_model
from bagscope.errors import TableError
from bagscope.files.memory import free_memory
from bagscope.files.run_names import CARD, FAILURES, HISTORY, PROPORTIONS, README, RESUME, WEIGHTS
from bagscope.settings.jobs import BlocksJob
from bagscope.tables.boxes import counted
from bagscope.tables.proportions import Proportions
from bagscope.tables.table import Screen

MODEL_FILES = (CARD, WEIGHTS, HISTORY, README, PROPORTIONS, FAILURES, RESUME)


def train(report: CheckReport, run: Run[BlocksJob]) -> None:
    """Train on the blocks of a checked screen; see `engine.tasks.Stages`."""
    ready = _read(report, run)
    plan = plan_of(*_labelled(ready, run.job))
    folder = run.target.folder
    if finished_card(folder, plan, BlocksCard, run) is not None:
        return
    task, trained = _fit(ready, folder, plan, run)
    late = [
        of_error(int(np.flatnonzero(ready.screen.rows["row"] == line)[0]), "train", error)
        for line, error in task.crops.unreadable.items()
    ]
    write_model(folder, trained, plan, run, (ready.screen, [*ready.failures, *late]))


@dataclass(frozen=True)
class _Ready:
    """Images that can be trained on, with their blocks, the proportion table, and the rows that failed."""

    rows: BlockRows
    table: pd.DataFrame
    proportions: Proportions
    channels: tuple[str, ...]
    pixel_um: float | None
    signatures: tuple[str, ...]
    screen: Screen
    failures: list[Failure]


def _read(report: CheckReport, run: Run[BlocksJob]) -> _Ready:
    """Open the images of a checked screen that have blocks.

    Raises
    ------
    TableError : no image with blocks can be read.
    """
    if not isinstance(report, BlocksReport) or report.screen is None or report.table is None:
        raise TableError(list(report.problems))
    screen, job = report.screen, run.job
    headers = {at: report.headers[at] for at in report.known}
    channels = channels_of(screen, headers, job.images.channels)
    source, misfits = make_source(screen, headers, job.images, channels, run.worker, free_memory())
    source, signatures, unreadable = signed_rows(source, run.events)
    failures = [*of_check(screen, report.problems), *misfits, *unreadable]
    known = [report.known[int(at)] for at in source.positions]
    if not known:
        raise TableError(list(report.problems) or [failures[0].problem])
    lines = screen.rows["row"].to_numpy(np.int64)[source.positions]
    rows = BlockRows(source.store, [image.blocks for image in known], lines, [image.pixels for image in known])
    table = screen.rows.iloc[source.positions]
    um = source.common_pixel_um()
    return _Ready(rows, table, report.table, channels, um, signatures, screen, failures)


def _fit(ready: _Ready, folder: Path, plan: Plan, run: Run[BlocksJob]) -> tuple[BlocksTask, Trained[BlocksCard]]:
    """Train the network on counts of pixels, and once more on pseudo-labels."""
    job = run.job
    task = setup.make_task(job, ready.rows, ready.proportions, ready.channels, ready.pixel_um, run.device)
    execution = Execution(run.device, trains_in_bf16(job.compute, run.device), job.seed)
    checkpoints = Checkpoints(folder / RESUME, plan.fingerprint, run.target.resume)
    fitted = loop.fit(task, job.training, execution, checkpoints, run.events)
    model, history = TrainedNetwork(fitted.network, task.card, run.device), fitted.history
    if job.second.steps:
        again = _pixel_label_task(task, model)
        labelled = sum(int((labels > 0).sum()) for labels in again.labels)
        run.events.say(f"self-training on {labelled:,} confidently classified pixels")
        execution, checkpoints = replace(execution, seed=job.seed + 1), checkpoints.below("second")
        second = loop.fit(again, again.job.training, execution, checkpoints, run.events)
        model, history = replace(model, network=second.network), [*history, *second.history]
    card = model.card
    # A weak table makes maps with too little of a class; its mean fractions are better known than those of a block.
    weak = ready.proportions.is_weak(counted(ready.rows.blocks)) if len(ready.rows.blocks) else False
    if job.maps.threshold == "table" or (job.maps.threshold == "auto" and weak):
        card = card.model_copy(update={"limits": _limits(model, ready.rows)})
    trained = Trained(
        network=model.network,
        card=card.model_copy(update={"created": created(run, execution.bf16)}),
        fitted=replace(fitted, history=history),
        rows={"train": ready.signatures, "validation": ()},
        extra={"blocks": counted(ready.rows.blocks)},
        files={PROPORTIONS: ready.proportions.to_csv()},
    )
    return task, trained


def _labelled(ready: _Ready, job: BlocksJob) -> tuple[BlocksJob, pd.DataFrame, list[str], list[str]]:
    """Return what decides a result: labels by their content, whatever their files are called."""
    signatures = []
    for sign, blocks, pixels in zip(ready.signatures, ready.rows.blocks, ready.rows.pixels, strict=True):
        values = [column.tolist() for column in (blocks.y, blocks.x, blocks.size, blocks.coarse)]
        labels = "" if pixels is None else hashlib.sha256(pixels.tobytes()).hexdigest()
        signatures.append(fingerprint(sign, values, labels))
    proportions = fingerprint(ready.proportions.to_csv().decode())
    job = job.model_copy(update={"blocks": job.blocks.model_copy(update={"proportions": proportions})})
    return job, ready.table, ["train"] * len(signatures), signatures


def _pixel_label_task(task: BlocksTask, model: Predictor[BlocksCard]) -> setup.PixelLabelTask:
    """Label the pixels that the network classifies confidently, as many as the proportion table expects."""
    rows, second = task.crops.rows, task.job.second
    maps = [probabilities(model, rows.store.whole(i)) for i in range(len(rows.store))]
    pseudo_labels = setup.pseudo_label_pixels(maps, rows.blocks, task.card.shares, second.share, second.beyond)
    # Labels of the table are more reliable than those of the network.
    labels = [
        pseudo if given is None else np.where(given > 0, given, pseudo)
        for pseudo, given in zip(pseudo_labels, rows.pixels, strict=True)
    ]
    return setup.PixelLabelTask(task, labels, model.network)


def _limits(model: Predictor[BlocksCard], rows: BlockRows) -> tuple[float, ...] | None:
    """Return the thresholds at which training blocks have the mean fractions of the table; None unless two classes."""
    if len(model.card.classes) != 2 or not any(len(blocks) for blocks in rows.blocks):
        return None
    inside = []
    for i, blocks in enumerate(rows.blocks):
        p = probabilities(model, rows.store.whole(i))[1]
        inside += [p[y : y + s, x : x + s].ravel() for y, x, s in zip(blocks.y, blocks.x, blocks.size, strict=True)]
    limit = float(np.clip(np.quantile(np.concatenate(inside), 1 - model.card.shares[1]), 0.01, 0.99))
    return (1 - limit, limit)
