"""How fast a GPU trains, how much of its memory that takes, and what share of its convolution rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.bare import BareLoop
from benchmarks.convolution import arithmetic, convolution
from benchmarks.interleaved import median, seconds
from benchmarks.plates import task_in_memory
from benchmarks.rows import Row
from benchmarks.sizes import Size
from benchmarks.step import PRECISIONS
from benchmarks.tree import GB

# One step is over before a clock can be read: several are timed together.
STEPS = 10


def gpu(size: Size, scratch: Path) -> list[Row]:
    """Images per second, memory in GB and share of the convolution rate of a training step; nothing without a GPU."""
    if not torch.cuda.is_available():
        print("  left out: no GPU here")
        return []
    print(f"  {torch.cuda.get_device_name()}")
    return [row for name in PRECISIONS for row in of_precision(size, name, torch.device("cuda"))]


def of_precision(size: Size, name: str, device: torch.device) -> list[Row]:
    """Rows of one precision, on any device."""
    dtype = PRECISIONS[name]
    task = task_in_memory(size, device)
    loop = BareLoop(task, task.job.training, device, bf16=dtype is torch.bfloat16)
    batch = next(iter(task.feed("train")))
    reference = convolution(*size.reference, dtype, device, backward=True)
    step, unit = arithmetic(lambda: loop.learn(batch)), arithmetic(reference)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    sides = [_finished(lambda: loop.learn(batch), device), _finished(reference, device)]
    times = seconds(sides, size.rounds, warm=3) / STEPS
    rates = np.array([step, unit]) / times
    peak = torch.cuda.max_memory_allocated(device) / GB if device.type == "cuda" else 0.0
    return [
        Row("gpu_images_per_second", name, median(f"{name}, images per second", len(batch.x) / times[:, 0])),
        Row("gpu_memory_gb", name, peak),
        Row("gpu_step_share", name, median(f"{name}, share", rates[:, 0] / rates[:, 1])),
    ]


def _finished(work: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Several passes, until the GPU has done them: it is told what to do long before it does it."""

    def run() -> None:
        for _ in range(STEPS):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run
