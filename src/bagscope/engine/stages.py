"""What can be done with every task: check a screen, train a model, load one. The task is chosen here, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bagscope.engine.card_file import load_card
from bagscope.engine.compute import device_of, memory_kept, threads
from bagscope.engine.events import Events
from bagscope.engine.run import Run, Target, announce
from bagscope.engine.tasks import check_of, stages_of
from bagscope.files.folder import claimed
from bagscope.files.run_names import CARD
from bagscope.files.worker import DecodingWorker
from bagscope.settings.jobs import ReadJob, make_job
from bagscope.tables.table import Screen


def train_model(screen: Screen | Path | str, target: Target, task: str, job: ReadJob, events: Events) -> Any:
    """Train a model on a screen and write its folder; see `bagscope.train`."""
    stages, device = stages_of(task), device_of(job.compute)
    job = stages.prepare(job)
    with (
        threads(job.compute.threads),
        memory_kept(),
        # Claimed first: a folder that cannot be written to is reported before any image is opened.
        claimed(target.folder, stages.MODEL_FILES, finished=CARD, resume=target.resume, overwrite=target.overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        report = check_of(task).check(screen, job)
        warnings = announce(report, events)
        stages.train(report, Run(job, target, device, worker, events, warnings))
    return load_model(target.folder, job.compute.device)


def load_model(folder: Path, device: str) -> Any:
    """Load a model folder; see `bagscope.load`."""
    place = device_of(make_job(ReadJob, None, {"device": device}).compute)
    return stages_of(load_card(folder).task).open_model(folder, place)
