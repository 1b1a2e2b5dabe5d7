"""What our training loop and our loading cost beside a bare loop over tensors in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from bagscope.engine import loop
from bagscope.engine.compute import Execution, memory_kept, trains_in_bf16
from bagscope.engine.events import SILENT
from bagscope.engine.inputs import make_source
from bagscope.engine.states import Checkpoints
from bagscope.engine.task import Part
from bagscope.feed.batch import Batch
from bagscope.files.worker import DecodingWorker
from bagscope.images.check import check_for_training
from bagscope.images.task import ImagesTask
from bagscope.settings.sections import ComputeSection
from benchmarks.bare import BareLoop
from benchmarks.interleaved import median, seconds
from benchmarks.plates import CHANNELS, job_of, screen_on_disk, task_in_memory, task_of
from benchmarks.rows import Row
from benchmarks.sizes import Size

CPU = torch.device("cpu")
# Free memory large enough that the fields are held, as they are by default.
PLENTY = 1 << 40


class InMemory:
    """A task that feeds batches which are there already, and is otherwise the one it is made of."""

    def __init__(self, task: ImagesTask):
        self.network, self.losses, self.parameter_groups = task.network, task.losses, task.parameter_groups
        self.batches = list(task.feed("train"))

    def feed(self, part: Part, first_step: int = 0) -> Iterable[Batch]:
        """Give the batches; nothing to validate on."""
        return iter(self.batches[first_step:] if part == "train" else [])


def loop_over_bare(size: Size, scratch: Path) -> list[Row]:
    """Time of our engine (Lightning, checks, saved states) over that of a plain loop, the same tensors in memory."""
    held = InMemory(task_in_memory(size, CPU))
    training = job_of(size).training
    bf16 = trains_in_bf16(ComputeSection(), CPU)
    with memory_kept():
        times = seconds(
            [
                lambda: _fit(held, size, scratch),
                lambda: BareLoop(held, training, CPU, bf16).run(held.batches),
            ],
            size.runs,
        )
    print(f"  {size.steps} steps each, {'bf16' if bf16 else 'fp32'}")
    return [Row("loop_over_bare", "", median("ratio", times[:, 0] / times[:, 1]))]


def loading_over_memory(size: Size, scratch: Path) -> list[Row]:
    """Time of training from files through the feed, each file's first reading included, over that from tensors."""
    job = job_of(size)
    report = check_for_training(screen_on_disk(scratch, size), job)
    screen = report.screen
    labels = [label for label in screen.rows["label"] if label]
    headers = {at: header for at, header in report.headers.items() if screen.rows["label"].iloc[at]}
    with memory_kept(), DecodingWorker(job.compute.io_timeout) as worker:

        def from_files() -> ImagesTask:
            source, _ = make_source(screen, headers, job.images, CHANNELS, worker, PLENTY)
            return task_of(job, source.store, labels, CPU)

        held = InMemory(from_files())
        times = seconds([lambda: _fit(from_files(), size, scratch), lambda: _fit(held, size, scratch)], size.runs)
    print(f"  {size.steps} steps of {size.batch} crops from {len(labels)} fields of {size.field_px} px")
    return [Row("loading_over_memory", "", median("ratio", times[:, 0] / times[:, 1]))]


def _fit(task: ImagesTask | InMemory, size: Size, scratch: Path) -> None:
    execution = Execution(CPU, trains_in_bf16(ComputeSection(), CPU))
    loop.fit(task, job_of(size).training, execution, Checkpoints(scratch / "states", "benchmark"), SILENT)
