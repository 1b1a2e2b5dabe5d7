"""How images with coarse blocks become a model that judges pixels: read, train, learn once more from sure pixels."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bagscope.blocks import setup
from bagscope.blocks.check import BlocksReport, check_blocks
from bagscope.blocks.predict import BlocksModel, open_blocks
from bagscope.blocks.samples import BlockRows
from bagscope.blocks.task import BlocksTask
from bagscope.blocks.tiles import probabilities
from bagscope.engine import loop
from bagscope.engine.card import BlocksCard
from bagscope.engine.card_file import CARD, load_card_as
from bagscope.engine.compute import device_of, memory_kept, threads, trains_in_bf16
from bagscope.engine.events import Events
from bagscope.engine.failures import FAILURES, failure_table, of_check, of_error
from bagscope.engine.inputs import channels_of, field_signature, make_source
from bagscope.engine.model_folder import WEIGHTS, save_model
from bagscope.engine.model_readme import blocks_readme
from bagscope.engine.origin import origin
from bagscope.engine.parts import fingerprint
from bagscope.engine.plan import plan_of, refuse_other
from bagscope.errors import ImageReadError, ModelError, TableError
from bagscope.files.folder import claimed
from bagscope.files.memory import free_memory
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_atomic
from bagscope.settings.jobs import BlocksJob
from bagscope.tables.boxes import counted
from bagscope.tables.frames import csv_bytes
from bagscope.tables.proportions import Proportions
from bagscope.tables.table import Screen

RESUME, PLAN = "resume", "plan.json"
HISTORY, README, PROPORTIONS = "history.csv", "README.md", "proportions.csv"
OURS = (CARD, WEIGHTS, HISTORY, README, PROPORTIONS, FAILURES, RESUME)


def train_blocks(
    screen: Screen | Path | str, out: Path, job: BlocksJob, *, resume: bool, overwrite: bool, events: Events
) -> BlocksModel:
    """Learn from the blocks of a screen, and write a model folder; see `bagscope.train`."""
    job, device = setup.apply_recipe(job), device_of(job.compute)
    with (
        threads(job.compute.threads),
        memory_kept(),
        claimed(out, OURS, finished=CARD, resume=resume, overwrite=overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        checked = check_blocks(screen, job)
        checked.report.refuse()
        for note in checked.report.notes:
            events.say(note)
        for problem in checked.report.problems:
            events.warn(str(problem))
        ready = _read(checked, job, worker, events)
        _one_model(ready, out, job, device, resume, events)
    return open_blocks(out, job.compute.device)


@dataclass(frozen=True)
class _Ready:
    """What can be trained on: rows of pixels and blocks, their table, the expert's table, channels, failures."""

    rows: BlockRows
    table: pd.DataFrame
    proportions: Proportions
    channels: tuple[str, ...]
    pixel_um: float | None
    signatures: tuple[str, ...]
    screen: Screen
    failures: list[Any]
    warned: tuple[str, ...]


def _read(checked: BlocksReport, job: BlocksJob, worker: DecodingWorker, events: Events) -> _Ready:
    screen, table = checked.report.screen, checked.table
    if screen is None or table is None:
        raise TableError(list(checked.report.problems))
    headers = {at: checked.report.headers[at] for at in checked.known}
    channels = channels_of(screen, headers, job.images.channels)
    source, failures = make_source(screen, headers, job.images, channels, worker, free_memory())
    failures = [*of_check(screen, checked.report.problems), *failures]
    good, signs = [], []
    for i, at in enumerate(source.positions.tolist()):
        try:
            if source.store.held:
                source.store.whole(i)
            signs.append(field_signature(source.store.fields[i]))
            good.append(i)
        except ImageReadError as error:
            failures.append(of_error(at, "read", error))
        events.progress("reading images", i + 1, len(source.positions))
    source = source.take(np.array(good, np.int64))
    known = [checked.known[int(at)] for at in source.positions]
    if not known:
        raise TableError(list(checked.report.problems) or [failures[0].problem])
    lines = screen.rows["row"].to_numpy(np.int64)[source.positions]
    rows = BlockRows(source.store, [one.blocks for one in known], lines, [one.pixels for one in known])
    warned = tuple(str(problem) for problem in checked.report.problems if problem.severity == "warn")
    return _Ready(
        rows,
        screen.rows.iloc[source.positions],
        table,
        channels,
        source.common_pixel_um(),
        tuple(signs),
        screen,
        failures,
        warned,
    )


def _one_model(ready: _Ready, out: Path, job: BlocksJob, device: torch.device, resume: bool, events: Events) -> None:
    plan = plan_of(*_labelled(ready, job))
    if (out / CARD).is_file():
        if load_card_as(out, BlocksCard).training.get("plan") != plan.fingerprint:
            cause = "the model there was trained on other rows or files, or with other settings"
            fix = "Name another folder with -o, or replace it with --overwrite."
            raise ModelError(cause, fix, code="changed", file=out)
        events.say(f"{out} is finished already")
        return
    refuse_other(out / RESUME / PLAN, plan)
    plan.save(out / RESUME / PLAN)
    task = setup.make_task(job, ready.rows, ready.proportions, ready.channels, ready.pixel_um, device)
    bf16 = trains_in_bf16(job.compute, device)
    fitted = loop.fit(task, job.training, job.seed, device, bf16, out / RESUME, plan.fingerprint, resume, events)
    network, card, history = fitted.network, task.card, fitted.history
    if job.second.steps:
        network, more = _second(task, network, job, device, bf16, out / RESUME / "second", events)
        history = [*history, *more]
    # A weak table makes maps that hold too little; its mean shares are better known than what it says of one block.
    weak = ready.proportions.is_weak(counted(ready.rows.blocks)) if len(ready.rows.blocks) else False
    if job.maps.threshold == "table" or (job.maps.threshold == "auto" and weak):
        card = card.model_copy(update={"limits": _limits(task, network, ready, device)})
    training = {
        "kept_step": fitted.kept_step,
        "rows": {"train": sorted(ready.signatures), "validation": []},
        "plan": plan.fingerprint,
        "blocks": counted(ready.rows.blocks),
        "warnings": list(ready.warned),
    }
    made = origin() | {"device": str(device), "precision": "bf16" if bf16 else "fp32", "seed": job.seed}
    card = card.model_copy(update={"training": card.training | training, "created": made})
    late = [
        of_error(int(np.flatnonzero(ready.screen.rows["row"] == line)[0]), "train", error)
        for line, error in task.crops.unreadable.items()
    ]
    if ready.failures or late:
        failures = [*ready.failures, *late]
        write_atomic(out / FAILURES, csv_bytes(failure_table(ready.screen, failures)))
        events.warn(f"{len(failures)} of {len(ready.screen)} failed, see {out / FAILURES}")
    write_atomic(out / HISTORY, csv_bytes(pd.DataFrame(history)))
    write_atomic(out / PROPORTIONS, ready.proportions.to_csv())
    write_atomic(out / README, blocks_readme(card))
    save_model(out, network, card)
    shutil.rmtree(out / RESUME, ignore_errors=True)


def _labelled(ready: _Ready, job: BlocksJob) -> tuple[BlocksJob, pd.DataFrame, list[str], list[str]]:
    """What decides a result: labels by what they say, whatever their files are called."""
    told = [
        fingerprint(sign, [part.tolist() for part in (own.y, own.x, own.size, own.coarse)],
                    "" if pixels is None else hashlib.sha256(pixels.tobytes()).hexdigest())
        for sign, own, pixels in zip(ready.signatures, ready.rows.blocks, ready.rows.pixels, strict=True)
    ]  # fmt: skip
    said = fingerprint(ready.proportions.to_csv().decode())
    job = job.model_copy(update={"blocks": job.blocks.model_copy(update={"proportions": said})})
    return job, ready.table, ["train"] * len(told), told


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
