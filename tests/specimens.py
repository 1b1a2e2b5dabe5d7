"""Tiny screens of bright blobs, drawn in a moment: what tests train on when seconds count.

Each class has a shape of its own; a field of the class holds mostly that shape and some dots, a
field of `none` holds dots alone. No cell biology, no optics but a little noise.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bagscope.errors import SettingsError
from bagscope.files.writer import write_atomic, write_ome_tiff
from bagscope.synth.layout import well_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TOY_CHANNELS = ("dna", "gfp")
SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    # (u, v) are places on the unit disc; the value is the brightness there
    "ring": lambda u, v: np.exp(-(((np.hypot(u, v) - 0.72) / 0.2) ** 2)),
    "filled": lambda u, v: np.exp(-(np.hypot(u, v) ** 4)),
    "bar": lambda u, v: np.exp(-((u / 0.9) ** 8) - (v / 0.25) ** 2),
    "cross": lambda u, v: np.exp(-((np.minimum(np.abs(u), np.abs(v)) / 0.18) ** 2) - np.hypot(u, v) ** 8),
}


def toy_screen(
    out: Path,
    wells_per_class: int = 4,
    classes: Sequence[str] = ("filled", "ring"),
    fields: int = 1,
    px: int = 128,
    seed: int = 0,
    *,
    channels: Sequence[str] = TOY_CHANNELS,
    share: float = 0.85,
    blob_px: int = 32,
    plates: int = 1,
) -> Path:
    """Write a labelled screen of small fields, `out/images/*.ome.tif`, and return the path of `out/screen.csv`.

    Rows and columns hold all classes in turn, so neither tells them. Equal arguments give equal pixels.

    Parameters
    ----------
    out : folder to write to; made when it is missing.
    wells_per_class : wells of each class on each plate.
    classes : names, `none` among them when wanted; class number i (without `none`) has the i-th of SHAPES,
        unless it is named like a shape.
    fields : images per well.
    px : side of a field.
    channels : names of the channels; shapes stand in the last one, dots at their middles in the others.
    share : of a field's blobs that have the shape of its class; the others are dots.
    blob_px : diameter of a blob.
    plates : plates of the same design, with pixels of their own.

    Raises
    ------
    SettingsError : more classes than shapes, or no room on a plate of 384 wells.
    """
    shapes = _shape_of_class(classes)
    wells = _latin_wells(classes, wells_per_class)
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for plate in range(1, plates + 1):
        for i, (well, label) in enumerate(wells):
            for site in range(1, fields + 1):
                rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(plate, i, site)))
                name = f"images/T{plate}_{well}_s{site}.ome.tif"
                drawn = toy_field(rng, shapes[label], share, px=px, channels=len(channels), blob_px=blob_px)
                write_ome_tiff(out / name, drawn, channel_names=tuple(channels), pixel_um=0.65)
                rows.append([name, f"T{plate}", well, str(site), label])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["image", "plate", "well", "site", "label"], *rows])
    write_atomic(out / "screen.csv", text.getvalue())
    return out / "screen.csv"


def toy_field(
    rng: np.random.Generator, shape: str, share: float, *, px: int = 128, channels: int = 2, blob_px: int = 32
) -> NDArray[np.uint16]:
    """Draw one field (C, px, px) uint16: blobs on a loose grid, each of `shape` with probability `share`.

    `shape` "" is a field of dots alone.
    """
    photons = np.zeros((channels, px, px), np.float32)
    pitch = 1.25 * blob_px
    count = max(1, int(px / pitch))
    for row in range(count):
        for column in range(count):
            y, x = ((np.array([row, column]) + 0.5) * px / count + rng.normal(0, 0.1 * blob_px, 2)).tolist()
            is_shaped = bool(rng.random() < share) and bool(shape)
            angle, brightness = rng.uniform(0, np.pi), float(np.exp(rng.normal(0, 0.2)))
            _stamp(photons[:-1], SHAPES["filled"], y, x, 0.2 * blob_px, 0.0, 300.0 * brightness)
            drawn, radius = (SHAPES[shape], 0.5) if is_shaped else (SHAPES["filled"], 0.15)
            _stamp(photons[-1:], drawn, y, x, radius * blob_px, angle, 400.0 * brightness)
    noise = 8.0 * rng.standard_normal(photons.shape, dtype=np.float32)
    return np.clip(np.rint(photons + 100.0 + noise), 0, 65535).astype(np.uint16)


def _stamp(
    planes: Floats,
    shape: Callable[[Floats, Floats], Floats],
    y: float,
    x: float,
    radius: float,
    angle: float,
    brightness: float,
) -> None:
    reach = int(1.6 * radius) + 1
    px = planes.shape[-1]
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    rows, cols = np.arange(top, min(px, int(y) + reach + 1)), np.arange(left, min(px, int(x) + reach + 1))
    dy, dx = ((rows - y) / radius)[:, None], ((cols - x) / radius)[None, :]
    cos, sin = np.cos(angle), np.sin(angle)
    planes[:, top : top + len(rows), left : left + len(cols)] += brightness * shape(
        cos * dx + sin * dy, cos * dy - sin * dx
    )


def _shape_of_class(classes: Sequence[str]) -> dict[str, str]:
    named = {label: label for label in classes if label in SHAPES}
    others = [label for label in classes if label != "none" and label not in named]
    left = [shape for shape in SHAPES if shape not in named]
    if len(others) > len(left) or len(set(classes)) < len(classes) or not classes:
        cause = f"cannot draw the classes {', '.join(classes)}"
        raise SettingsError(cause, f"Use up to {len(SHAPES)} different classes besides none.")
    return {"none": ""} | named | dict(zip(others, left, strict=False))


def _latin_wells(classes: Sequence[str], wells_per_class: int) -> list[tuple[str, str]]:
    """Wells and their classes: every row holds each class once, and each column takes turns."""
    n, full = len(classes), 16
    if wells_per_class < 1 or n * -(-wells_per_class // full) > 24:
        cause = f"{wells_per_class} wells of {n} classes do not fit on a plate"
        raise SettingsError(cause, "Use 1 or more wells per class, or more plates.")
    return [
        (well_name(round_ % full, round_ // full * n + column), classes[(round_ + column) % n])
        for round_ in range(wells_per_class)
        for column in range(n)
    ]
