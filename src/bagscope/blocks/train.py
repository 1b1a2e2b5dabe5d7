"""How images with coarse blocks become a model of pixels: read, train, learn once more from pseudo-labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bagscope.blocks import setup
from bagscope.blocks.card import BlocksCard
from bagscope.blocks.check import BlocksReport
from bagscope.blocks.samples import BlockRows
from bagscope.blocks.task import BlocksTask
from bagscope.blocks.tiles import probabilities
from bagscope.engine import loop
from bagscope.engine.check import CheckReport
from bagscope.engine.compute import trains_in_bf16
from bagscope.engine.events import Events
from bagscope.engine.failures import Failure, of_check, of_error
from bagscope.engine.inputs import channels_of, make_source, signed_rows
from bagscope.engine.parts import fingerprint
from bagscope.engine.plan import Plan, plan_of
from bagscope.engine.run import Run
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
    job, device, events, resume = run.job, run.device, run.events, run.target.resume
    task = setup.make_task(job, ready.rows, ready.proportions, ready.channels, ready.pixel_um, device)
    bf16 = trains_in_bf16(job.compute, device)
    fitted = loop.fit(task, job.training, job.seed, device, bf16, folder / RESUME, plan.fingerprint, resume, events)
    network, card, history = fitted.network, task.card, fitted.history
    if job.second.steps:
        network, more = _second(task, network, job, device, bf16, folder / RESUME / "second", events)
        history = [*history, *more]
    # A weak table makes maps with too little of a class; its mean fractions are better known than those of a block.
    weak = ready.proportions.is_weak(counted(ready.rows.blocks)) if len(ready.rows.blocks) else False
    if job.maps.threshold == "table" or (job.maps.threshold == "auto" and weak):
        card = card.model_copy(update={"limits": _limits(task, network, ready, device)})
    trained = Trained(
        network=network,
        card=card.model_copy(update={"created": created(run, bf16)}),
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


def _second(
    task: BlocksTask, network: Any, job: BlocksJob, device: torch.device, bf16: bool, states: Path, events: Events
) -> tuple[Any, list[dict[str, float]]]:
    """Train once more on the pixels that the network is surest of, as many as the table expects."""
    maps = [_map(network, task.card, task.crops.rows, i, device) for i in range(len(task.crops.rows.store))]
    sure = setup.pseudo_label_pixels(
        maps, task.crops.rows.blocks, task.card.shares, job.second.share, job.second.beyond
    )
    # What somebody labelled is surer than what the network says.
    told = zip(sure, task.crops.rows.pixels, strict=True)
    labels = [one if given is None else np.where(given > 0, given, one) for one, given in told]
    again = setup.with_pixels(task, labels, network)
    section = job.training.model_copy(update={"steps": job.second.steps, "rate": job.second.rate})
    events.say(f"second training on {sum(int((one > 0).sum()) for one in labels):,} sure pixels")
    fitted = loop.fit(again, section, job.seed + 1, device, bf16, states, "second", False, events)
    return fitted.network, fitted.history


def _map(network: Any, card: BlocksCard, rows: BlockRows, i: int, device: torch.device) -> np.ndarray:
    """Probabilities (C, H, W) of a training image."""
    return probabilities(network, card, rows.store.whole(i), device)


def _limits(task: BlocksTask, network: Any, ready: _Ready, device: torch.device) -> tuple[float, ...] | None:
    """Thresholds at which training blocks have the table's mean shares."""
    if len(task.card.classes) != 2 or not any(len(own) for own in ready.rows.blocks):
        return None
    inside = []
    for i, blocks in enumerate(ready.rows.blocks):
        p = _map(network, task.card, ready.rows, i, device)[1]
        inside += [p[y : y + s, x : x + s].ravel() for y, x, s in zip(blocks.y, blocks.x, blocks.size, strict=True)]
    every = np.concatenate(inside)
    limit = float(np.clip(np.quantile(every, 1 - task.card.shares[1]), 0.01, 0.99))
    return (1 - limit, limit)
