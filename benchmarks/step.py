"""What share of the machine's convolution rate a training step reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bagscope.engine.compute import memory_kept
from benchmarks.bare import BareLoop
from benchmarks.convolution import arithmetic, convolution
from benchmarks.interleaved import median, seconds
from benchmarks.plates import task_in_memory
from benchmarks.rows import Row
from benchmarks.sizes import Size

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def step_share(size: Size, scratch: Path) -> list[Row]:
    """Share that one step of the default network reaches, of the rate of a convolution forward and backward."""
    with memory_kept():  # as when training
        return [Row("step_share", name, median(name, _share(size, dtype))) for name, dtype in PRECISIONS.items()]


def _share(size: Size, dtype: torch.dtype) -> np.ndarray:
    device = torch.device("cpu")
    task = task_in_memory(size, device)
    loop = BareLoop(task, task.job.training, device, bf16=dtype is torch.bfloat16)
    batch = next(iter(task.feed("train")))
    reference = convolution(*size.reference, dtype, device, backward=True)
    step, unit = arithmetic(lambda: loop.learn(batch)), arithmetic(reference)
    times = seconds([lambda: loop.learn(batch), reference], size.rounds, warm=3)
    rates = np.array([step, unit]) / times / 1e9
    print(f"  a step is {step / 1e9:.3g} GFLOP; median GFLOP/s {np.median(rates, 0).round(1).tolist()}")
    return rates[:, 0] / rates[:, 1]
