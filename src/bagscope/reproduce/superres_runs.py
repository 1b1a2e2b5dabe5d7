"""One training of the superres experiment: its files, its settings, its maps."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagscope.api import train
from bagscope.blocks.predict import BlocksModel
from bagscope.engine.events import Events
from bagscope.files.writer import write_atomic, write_ome_tiff
from bagscope.reproduce.superres_data import BLOCK, Picture, cut
from bagscope.reproduce.superres_labels import Coarse
from bagscope.reproduce.superres_measures import BANDS, overlaps
from bagscope.tables.boxes import Blocks
from bagscope.tables.frames import csv_bytes

SCREEN, TABLE, KEPT = "screen.csv", "proportions.csv", "kept.npz"
TRUTH = "truth"
# All train for as many steps; the default for 500 and 250.
_PLAIN = {"training.steps": 750, "second.steps": 0}
# What is set for each method; nothing else differs between them.
METHODS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "hard": _PLAIN | {"blocks.method": "hard"},
    "soft": _PLAIN | {"blocks.method": "soft"},
    "llp": _PLAIN | {"blocks.method": "llp"},
    "qr": _PLAIN | {"blocks.method": "qr"},
    "intra": _PLAIN | {"blocks.grouping": "intra"},
    "inter": _PLAIN | {"blocks.grouping": "inter"},
    "intra+inter": _PLAIN | {"blocks.grouping": "intra+inter"},
    "supervised": _PLAIN | {"blocks.method": "pixels", "blocks.pixels": TRUTH},
}
# One method of each family of losses, and the rates it is tried at on part A.
TUNED = ("default", "llp", "supervised")
RATES, TUNING_SET = (2e-3, 5e-3, 1e-2, 2e-2), "fluorescence"
TUNING = {
    f"tuning_{kind}_{rate:g}/{TUNING_SET}": {**METHODS[kind], "training.rate": rate} for kind in TUNED for rate in RATES
}


def write_pictures(folder: Path, found: Sequence[Picture]) -> None:
    """Write pictures and their pixel labels (1 background, 2 object), where they are not there yet."""
    for at, one in enumerate(found):
        for name, pixels in ((_image(at), one.pixels), (_labels(at), (one.truth[None] + 1).astype(np.uint8))):
            if not (folder / name).is_file():
                folder.mkdir(parents=True, exist_ok=True)
                write_ome_tiff(folder / name, pixels, channel_names=[f"c{k}" for k in range(len(pixels))])


def write_screen(folder: Path, pictures: Path, found: Sequence[Picture], learned: Sequence[int], known: Coarse) -> None:
    """Write the table of the pictures to learn from, the boxes of each with their coarse classes, and the shares."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for at in learned:
        y, x, _ = cut(found[at])
        own = np.isin(known.classes[at], known.table.coarse)
        blocks = Blocks(y[own], x[own], np.full(int(own.sum()), BLOCK), known.classes[at][own])
        boxes = pd.DataFrame({"x": blocks.x, "y": blocks.y, "size": blocks.size, "class": blocks.coarse})
        write_atomic(folder / f"boxes_{at:03d}.csv", csv_bytes(boxes))
        rows.append((str(pictures / _image(at)), f"boxes_{at:03d}.csv", str(pictures / _labels(at)), found[at].group))
    write_atomic(folder / TABLE, known.table.to_csv())
    write_atomic(folder / SCREEN, csv_bytes(pd.DataFrame(rows, columns=["image", "coarse", TRUTH, "group"])))


def trained(folder: Path, choices: Mapping[str, Any], seed: int, events: Events) -> BlocksModel:
    """Train on a written screen."""
    shutil.rmtree(folder / "model", ignore_errors=True)
    fixed = {"blocks.proportions": str(folder / TABLE), "maps.threshold": "table", "table.allow_outside": True}
    every: dict[str, Any] = {**fixed, **choices}
    model: BlocksModel = train(folder / SCREEN, folder / "model", task="blocks", events=events, seed=seed, **every)
    return model


def maps_of(model: BlocksModel, judged: Sequence[Picture]) -> list[np.ndarray]:
    """Probability of an object at every pixel, (H, W) each."""
    return [model.predict(one.pixels)[1] for one in judged]


def keep(place: Path, maps: Sequence[np.ndarray], judged: Sequence[Picture]) -> None:
    """Keep what comparisons and the panel need of a run: overlaps of each picture, and the map of the first."""
    stream = io.BytesIO()
    bands = {f"overlaps{suffix}": overlaps(maps, judged, width) for suffix, width in BANDS.items()}
    np.savez_compressed(stream, first=maps[0], **bands)  # type: ignore[arg-type]
    write_atomic(place / KEPT, stream.getvalue())


def kept(place: Path) -> dict[str, np.ndarray] | None:
    """Return what a run kept, None when it is not there."""
    if not (place / KEPT).is_file():
        return None
    with np.load(place / KEPT, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _image(at: int) -> str:
    return f"image_{at:03d}.ome.tif"


def _labels(at: int) -> str:
    return f"labels_{at:03d}.ome.tif"
