"""How much memory training takes, and whether scoring takes more of it for more images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bagscope.engine.model_folder import save_model
from bagscope.files.writer import write_ome_tiff
from bagscope.images.task import build_network
from bagscope.settings.jobs import ImagesJob
from benchmarks.plates import CHANNELS, card_of
from benchmarks.rows import Row
from benchmarks.sizes import Size
from benchmarks.tree import GB, bagscope, peak_bytes


def peak_memory_gb(size: Size, scratch: Path) -> list[Row]:
    """Peak memory of training BBBC013's controls by the command line with the default settings, in GB."""
    data = os.environ.get("BAGSCOPE_DATA", "")
    plate = Path(data) / "bbbc013"
    if not data or not plate.is_dir():
        print("  left out: BAGSCOPE_DATA names no folder with bbbc013 in it")
        return []
    table = scratch / "screen.csv"
    peak_bytes(bagscope("import", "bbbc013", plate, "-o", table))
    return [Row("peak_memory_gb", "bbbc013", training_gb(table, scratch / "model"))]


def training_gb(table: Path, model: Path, *options: str) -> float:
    """Peak memory of `bagscope train`, its decoding worker included."""
    return peak_bytes(bagscope("train", table, "-o", model, *options)) / GB


def scoring_memory_growth(size: Size, scratch: Path) -> list[Row]:
    """Peak memory of scoring a thousand fields over that of scoring ten."""
    card = card_of(ImagesJob(), 1.0)
    card = save_model(scratch / "model", build_network(card), card)
    peaks = []
    for count in (size.few, size.many):
        table = _table(scratch / f"fields{count}", count, size.small_px)
        # Noise has nothing of the images that a model was trained on, and is said to have: no failure.
        peaks.append(peak_bytes(bagscope("score", scratch / "model", table, "-o", scratch / f"scores{count}")))
        print(f"  {count} fields: {peaks[-1] / GB:.3f} GB")
    return [Row("scoring_memory_growth", "", peaks[1] / peaks[0])]


def _table(folder: Path, count: int, px: int) -> Path:
    rng = np.random.default_rng(count)
    lines = ["image,plate,well,site"]
    for at in range(count):
        pixels = rng.poisson(150, (len(CHANNELS), px, px)).astype(np.uint16)
        write_ome_tiff(folder / f"{at}.ome.tif", pixels, channel_names=CHANNELS)
        lines.append(f"{at}.ome.tif,P1,{chr(65 + at // 24 % 16)}{at % 24 + 1:02d},{at // 384 + 1}")
    (folder / "screen.csv").write_text("\n".join(lines) + "\n")
    return folder / "screen.csv"
