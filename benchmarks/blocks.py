"""What matching blocks costs a training step, beside the same network under cross-entropy on the same crops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bagscope.blocks.samples import BlockRows
from bagscope.blocks.setup import make_task
from bagscope.blocks.task import BlocksTask
from bagscope.engine.compute import memory_kept
from bagscope.feed.cache import PixelStore
from bagscope.files.field import FieldFiles
from bagscope.settings.block_sections import BlocksSection
from bagscope.settings.jobs import BlocksJob
from bagscope.tables.boxes import Blocks, binned
from bagscope.tables.proportions import Proportions
from benchmarks.bare import BareLoop
from benchmarks.interleaved import median, seconds
from benchmarks.rows import Row
from benchmarks.sizes import Size

CLASSES = ("background", "tissue")
CHANNELS = ("R", "G", "B")
BLOCK = 32


def blocks_step_over_ce(size: Size, scratch: Path) -> list[Row]:
    """One step of the default loss of blocks over one step of cross-entropy: same network, crops, optimiser."""
    device = torch.device("cpu")
    ours, plain = task_of_blocks(BlocksJob(), size), task_of_blocks(_pixels(), size)
    batch = ours.crops.step(0, device)
    labels = torch.from_numpy(np.random.default_rng(0).integers(1, 3, batch.index.shape))
    loops = [BareLoop(task, task.job.training, device, bf16=False) for task in (ours, plain)]
    batches = [batch, replace(batch, labels=labels)]
    sides = [lambda at=at: loops[at].learn(batches[at]) for at in range(2)]
    with memory_kept():  # as when training
        times = seconds(sides, size.rounds, warm=3)
    return [Row("blocks_step_over_ce", "", median("a step of blocks over one of pixels", times[:, 0] / times[:, 1]))]


def _pixels() -> BlocksJob:
    return BlocksJob(blocks=BlocksSection(method="pixels"))


def task_of_blocks(job: BlocksJob, size: Size) -> BlocksTask:
    """Return the task of learning from two RGB images, every block with its coarse class, in memory."""
    edge = max(size.field_px // BLOCK, 4) * BLOCK
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (3, edge, edge), np.uint8) for _ in range(2)]
    fields = [FieldFiles((Path(f"{at}.tif"),), CHANNELS) for at in range(2)]
    store = PixelStore(fields, [(3, edge, edge)] * 2, lambda field, window: pixels[fields.index(field)], True)
    y, x = (one.ravel() * BLOCK for one in np.indices((edge // BLOCK, edge // BLOCK)))
    sizes = np.full(len(y), BLOCK)
    blocks = [Blocks(y, x, sizes, binned(rng.random(len(y)))) for _ in range(2)]
    coarse = tuple(sorted({str(name) for one in blocks for name in one.coarse}))
    share = np.linspace(0.05, 0.95, len(coarse))
    mean = np.stack([1 - share, share], 1)
    table = Proportions(coarse, CLASSES, mean, np.full_like(mean, 0.1), np.full_like(mean, 12))
    rows = BlockRows(store, blocks, np.arange(2), [None, None])
    return make_task(job, rows, table, CHANNELS, 0.5, torch.device("cpu"))
