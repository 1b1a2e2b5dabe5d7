"""How fast, and in how much memory, a large image is judged, beside MONAI's sliding window."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tifffile

from bagscope.engine.model_folder import save_model
from bagscope.settings.jobs import BlocksJob
from benchmarks.blocks import task_of_blocks
from benchmarks.rows import Row
from benchmarks.sizes import Size
from benchmarks.tree import GB, peak_bytes

# MONAI's windows and their overlap. Ours are as in scoring: tiles of as many pixels, and all that these rest on.
ROI, OVERLAP = 512, 0.25
SIDES = ("monai", "ours")
# Each takes a minute or more, so they take turns only so often.
_TURNS = 2


def tiles(size: Size, scratch: Path) -> list[Row]:
    """Time and peak memory of MONAI's sliding window and of ours on one large RGB image, from file to probabilities.

    Both read the same file with the same network. Where one window of MONAI's alone judges a pixel, far from the
    window's edge, both say the same.

    Raises
    ------
    RuntimeError : they differ there.
    """
    if find_spec("monai") is None:
        print("  left out: monai is not installed")
        return []
    edge = size.slide_px
    _make(scratch, edge, size)
    seconds, peaks = ({side: list[float]() for side in SIDES} for _ in range(2))
    for _ in range(min(_TURNS, size.rounds)):
        for side in SIDES:
            peaks[side].append(peak_bytes([sys.executable, "-m", "benchmarks.tiles_side", side, str(scratch)]))
            seconds[side].append(float((scratch / f"{side}.txt").read_text()))
            print(f"  {side}: {seconds[side][-1]:.1f} s, {peaks[side][-1] / GB:.3f} GB", flush=True)
    theirs, ours = (np.load(scratch / f"{side}.npy") for side in SIDES)
    if np.abs(theirs - ours).max() > 1e-3:
        message = f"probabilities differ by {np.abs(theirs - ours).max():.2g} inside"
        raise RuntimeError(message)
    # The least of each is what another program on the machine has disturbed least.
    faster = min(seconds["monai"]) / min(seconds["ours"])
    return [Row("tiles_over_monai", "", faster), Row("tiles_memory", "", max(peaks["ours"]) / max(peaks["monai"]))]


def _make(folder: Path, edge: int, size: Size) -> None:
    task = task_of_blocks(BlocksJob(), size)
    card = task.card.model_copy(update={"scaling": task.card.scaling.model_copy(update={"each": False})})
    save_model(folder / "model", task.network(), card)
    rng = np.random.default_rng(0)

    def pieces() -> object:
        for _ in range((-(-edge // ROI)) ** 2):
            yield rng.integers(0, 255, (ROI, ROI, 3), np.uint8)

    tifffile.imwrite(
        folder / "slide.tif",
        pieces(),
        shape=(edge, edge, 3),
        dtype="uint8",
        tile=(ROI, ROI),
        photometric="rgb",
    )
