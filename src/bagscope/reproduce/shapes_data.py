"""Which volumes the shapes experiment judges: real and simulated ones, as screens on the disk."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bagscope.files.writer import write_atomic
from bagscope.reproduce.order import Order
from bagscope.synth.nuclei import CLASSES, blurred, draw_nucleus
from bagscope.tables.frames import csv_bytes
from bagscope.tables.table import Screen, make_screen, read_screen

SOURCES = {
    "adrenal3d": "AdrenalMNIST3D (MedMNIST v2), https://medmnist.com",
    "nuclei3d": "BBBC050, https://bbbc.broadinstitute.org/BBBC050",
}
EARLY, LATE = 8, 17
Z_UM, XY_UM = 1.75, 0.8
SIMULATED, SIMULATED_TEST = 1400, 300
# Streams of chance: shapes, and what blurs them.
_DRAW, _BLUR = 41, 42


@dataclass(frozen=True)
class ShapeSet:
    """One set of the experiment.

    choices : settings of training. cross_validated : folds over all labelled rows; else the table's own split.
    """

    screen: Screen
    choices: Mapping[str, Any]
    cross_validated: bool


def shape_set(name: str, order: Order, folder: Path, few: int | None) -> ShapeSet:
    """Write a set's volumes, or take those that were written before.

    Parameters
    ----------
    few : volumes of a smoke run; None for all.

    Raises
    ------
    SettingsError : its data are not there.
    """
    make: Callable[[], Iterator[tuple[np.ndarray, tuple[float, float, float], dict[str, str]]]]
    if name.startswith("adrenal"):
        source, kind = order.folder(order.data, SOURCES["adrenal3d"], "adrenal3d"), name.removeprefix("adrenal")
        make = lambda: _adrenal(source, kind, order, few)  # noqa: E731
    elif name.startswith("nuclei"):
        source = order.folder(order.data, SOURCES["nuclei3d"], "nuclei3d")
        make = lambda: _nuclei(source)  # noqa: E731
    else:
        make = lambda: _simulated(blur=name == "simulated_blurred", few=few)  # noqa: E731
    base = "nuclei" if name == "nuclei_unit_volume" else name
    base += "_judged" if name.startswith("adrenal") and order.test_data is not None else ""
    table = _written(folder / (base + (f"_{few}" if few else "")), make)
    return ShapeSet(read_screen(table, well_free_text=True), CHOICES[name], not name.startswith("simulated"))


CHOICES: Mapping[str, Mapping[str, Any]] = {
    "adrenal28": {"turns.range": "small", "spacing": "1,1,1"},
    "adrenal64": {"turns.range": "small", "spacing": "1,1,1"},
    "nuclei": {"volumes.content": "labels", "training.steps": 300},
    "nuclei_unit_volume": {"volumes.content": "labels", "volumes.size": "unit", "training.steps": 300},
    "simulated": {"training.steps": 2000},
    "simulated_blurred": {"training.steps": 800},
}


def _written(folder: Path, make: Callable[[], Iterator[Any]]) -> Path:
    """Write volumes as .npz files and their screen; the table last, so that a folder with one is whole."""
    table = folder / "screen.csv"
    if table.is_file():
        return table
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[str]] = {name: [] for name in ("image", "well", "label", "group", "split")}
    for number, (voxels, spacing, told) in enumerate(make()):
        name = f"{number:05d}.npz"
        with (folder / name).open("wb") as stream:
            np.savez_compressed(stream, volume=voxels, spacing=np.array(spacing))
        for key in columns:
            columns[key].append({"image": name, "well": "-"}.get(key, told.get(key, "")))
    screen, _ = make_screen(columns, folder, well_free_text=True)
    write_atomic(table, csv_bytes(screen.rows[list(columns)]))
    return table


def _adrenal(
    source: Path, kind: str, order: Order, few: int | None
) -> Iterator[tuple[np.ndarray, tuple[float, float, float], dict]]:
    """Training part; with test data, its validation part as the rows to be judged; the first `few` of each."""
    name = "adrenalmnist3d" + ("_64" if kind == "64" else "") + "_trainval.npz"
    with np.load(source / name, allow_pickle=False) as arrays:
        for voxels, label in zip(arrays["train_images"][:few], arrays["train_labels"].ravel()[:few], strict=True):
            yield voxels, (1.0, 1.0, 1.0), {"label": ("normal", "hyperplasia")[int(label)], "split": "train"}
    if order.test_data is not None:
        judged = order.folder(order.test_data, SOURCES["adrenal3d"], "adrenal3d")
        with np.load(judged / name, allow_pickle=False) as arrays:
            for voxels, label in zip(arrays["val_images"][:few], arrays["val_labels"].ravel()[:few], strict=True):
                yield voxels, (1.0, 1.0, 1.0), {"label": ("normal", "hyperplasia")[int(label)], "split": "test"}


def _nuclei(source: Path) -> Iterator[tuple[np.ndarray, tuple[float, float, float], dict]]:
    """Label stacks of embryos with few or with many nuclei."""
    with (source / "nuclei.csv").open(newline="") as stream:
        counts = {row["volume"]: int(row["n_nuclei_in_volume"]) for row in csv.DictReader(stream)}
    with np.load(source / "label_volumes.npz", allow_pickle=False) as arrays:
        for name in arrays.files:
            count = counts.get(name, 0)
            if 0 < count <= EARLY or count >= LATE:
                label = "early" if count <= EARLY else "late"
                yield arrays[name], (Z_UM, XY_UM, XY_UM), {"label": label, "group": name.split("_")[0]}


def _simulated(*, blur: bool, few: int | None) -> Iterator[tuple[np.ndarray, tuple[float, float, float], dict]]:
    total = SIMULATED + SIMULATED_TEST if few is None else few
    for number in range(total):
        mask = _nucleus(number, blur=blur)
        split = "train" if number < (SIMULATED if few is None else 2 * few // 3) else "test"
        yield mask.astype(np.uint8), (1.0, 1.0, 1.0), {"label": _label(number), "split": split}


def _label(number: int) -> str:
    return list(CLASSES)[number % 2]


def _nucleus(number: int, *, blur: bool, turn: np.ndarray | None = None) -> np.ndarray:
    mask = draw_nucleus(np.random.default_rng([_DRAW, number]), _label(number), turn)
    return blurred(np.random.default_rng([_BLUR, number]), mask) if blur else mask


def redrawn(name: str, row: int, turn: np.ndarray) -> np.ndarray:
    """Draw a nucleus of a simulated set again, its surface turned before it is drawn into voxels (and blurred).

    Parameters
    ----------
    row : of the set's table, as messages count them: the first is 2. turn : (3, 3) rotation.

    Returns
    -------
    (Z, Y, X) bool
    """
    return _nucleus(row - 2, blur=name == "simulated_blurred", turn=turn)


def known_sets() -> list[str]:
    """Names of all sets, in the order in which they are judged."""
    return list(CHOICES)
