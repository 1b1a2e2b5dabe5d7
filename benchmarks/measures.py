"""Which measures there are, and which rows of results.csv each of them writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.blocks import blocks_step_over_ce
from benchmarks.gpu import gpu
from benchmarks.maps import cells, latency, maps, propagation
from benchmarks.memory import peak_memory_gb, scoring_memory_growth
from benchmarks.pages import report
from benchmarks.rows import Row
from benchmarks.scoring import scoring_share
from benchmarks.sizes import Size
from benchmarks.sparse import sparse, sparse_growth
from benchmarks.start import help_seconds_over_python
from benchmarks.step import step_share
from benchmarks.tiles import tiles
from benchmarks.training import loading_over_memory, loop_over_bare


@dataclass(frozen=True)
class Measure:
    """A measure: `take` runs it in an empty folder, `writes` names its rows."""

    take: Callable[[Size, Path], list[Row]]
    writes: tuple[str, ...]


MEASURES = {
    "step_share": Measure(step_share, ("step_share",)),
    "loop_over_bare": Measure(loop_over_bare, ("loop_over_bare",)),
    "loading_over_memory": Measure(loading_over_memory, ("loading_over_memory",)),
    "peak_memory_gb": Measure(peak_memory_gb, ("peak_memory_gb",)),
    "scoring_share": Measure(scoring_share, ("scoring_share", "scoring_megapixels_per_second")),
    "scoring_memory_growth": Measure(scoring_memory_growth, ("scoring_memory_growth",)),
    "help_seconds_over_python": Measure(help_seconds_over_python, ("help_seconds_over_python",)),
    "maps": Measure(maps, ("map_over_forward", "maps_over_captum")),
    "propagation": Measure(propagation, ("propagation_over_forward",)),
    "cells": Measure(cells, ("cells_over_field",)),
    "latency": Measure(latency, ("image_latency_seconds",)),
    "report": Measure(report, ("report_mb", "report_seconds", "report_opens_seconds")),
    "sparse": Measure(sparse, ("sparse_speedup", "sparse_memory", "sparse_over_dense_worst")),
    "sparse_growth": Measure(sparse_growth, ("sparse_growth",)),
    "blocks_step_over_ce": Measure(blocks_step_over_ce, ("blocks_step_over_ce",)),
    "tiles": Measure(tiles, ("tiles_over_monai", "tiles_memory")),
    "gpu": Measure(gpu, ("gpu_images_per_second", "gpu_memory_gb", "gpu_step_share")),
}
