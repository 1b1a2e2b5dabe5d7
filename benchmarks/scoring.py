"""How fast fields are scored, from their files to their parts on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bagscope.engine.compute import memory_kept
from bagscope.engine.events import SILENT
from bagscope.engine.inputs import make_source
from bagscope.engine.loaded import LoadedModel
from bagscope.engine.parts import Parts
from bagscope.files.worker import DecodingWorker
from bagscope.images.cell_stage import CellStage
from bagscope.images.check import check_for_model
from bagscope.images.inference import FieldScorer, predict_fields
from bagscope.images.task import build_network
from bagscope.settings.jobs import ReadJob
from benchmarks.convolution import arithmetic, convolution
from benchmarks.interleaved import median, seconds
from benchmarks.plates import CHANNELS, FACTOR, card_of, job_of, screen_on_disk
from benchmarks.rows import Row
from benchmarks.sizes import Size


def scoring_share(size: Size, scratch: Path) -> list[Row]:
    """Share that scoring reaches of a convolution's rate forward in float32, and megapixels per second.

    A field is read, rescaled, judged and written, as `bagscope score` does it.
    """
    cpu, job = torch.device("cpu"), ReadJob()
    report = check_for_model(screen_on_disk(scratch, size), job, None)
    card = card_of(job_of(size))
    network = build_network(card).to(memory_format=torch.channels_last).eval()
    edge = round(size.field_px * FACTOR)
    reference = convolution(*size.reference, torch.float32, cpu, backward=False)
    runs: list[float] = []

    with memory_kept(), DecodingWorker(job.compute.io_timeout) as worker:
        source, _ = make_source(report.screen, report.headers, job.images, CHANNELS, worker, 0)

        def score() -> None:
            parts = Parts(scratch / f"parts{len(runs)}")
            cells = CellStage(job.cells, card, report.screen, scratch, worker)
            scorer = FieldScorer(LoadedModel(scratch, network, card, cpu), source, parts, job, cells)
            runs.append(predict_fields(scorer, [], SILENT).megapixels)

        with torch.inference_mode():
            fields = len(source.positions) * arithmetic(lambda: network.maps(torch.zeros(1, len(CHANNELS), edge, edge)))
        # As many passes as take about as long as the fields do.
        passes = max(1, round(fields / arithmetic(reference)))
        unit = passes * arithmetic(reference)
        times = seconds([score, lambda: [reference() for _ in range(passes)]], size.runs)
    rates = np.array([fields, unit]) / times / 1e9
    print(f"  {len(source.positions)} fields of {size.field_px} px, rescaled to {edge}; median GFLOP/s "
          f"{np.median(rates, 0).round(1).tolist()}")  # fmt: skip
    # A megapixel counts with all its channels.
    speed = median("megapixels per second", np.array(runs[-size.runs :]) / times[:, 0])
    return [
        Row("scoring_share", "", median("share", rates[:, 0] / rates[:, 1])),
        Row("scoring_megapixels_per_second", "", speed),
    ]
