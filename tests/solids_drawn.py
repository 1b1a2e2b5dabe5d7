"""Solids whose size and place are known, and screens of them on the disk."""

import csv

import numpy as np
import tifffile

UM = ("µm", "µm", "µm")


def ellipsoid(radii, shape, middle=None):
    """(Z, Y, X) bool: an ellipsoid of radii z, y, x in voxels."""
    middle = [(n - 1) / 2 for n in shape] if middle is None else middle
    axes = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    return sum(((a - m) / r) ** 2 for a, m, r in zip(axes, middle, radii, strict=True)) <= 1


def write_stack(path, voxels, spacing=None, axes="ZYX"):
    """Write an OME-TIFF stack."""
    metadata = {"axes": axes}
    if spacing is not None:
        metadata |= {f"PhysicalSize{axis}": edge for axis, edge in zip("ZYX", spacing, strict=True)}
        metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "ZYX"}
    tifffile.imwrite(path, voxels, ome=True, photometric="minisblack", metadata=metadata)


def screen_of(folder, count=8, **change):
    """Write a screen of flat and round solids, and return its table's path; `change` maps a row number to a column."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for at in range(count):
        rng = np.random.default_rng(at)
        radii = (6, 6, 6) if at % 2 else (3, 7, 7)
        mask = ellipsoid(np.array(radii) * rng.uniform(0.9, 1.1, 3), (20, 20, 20))
        write_stack(folder / f"v{at}.ome.tif", mask.astype(np.uint8) * 255, (1.0, 0.5, 0.5))
        label = "round" if at % 2 else "flat"
        rows.append(
            {"image": f"v{at}.ome.tif", "well": f"A{at + 1:02d}", "label": label, "spacing_um": "", "group": ""}
        )
    extra = {name: "" for columns in change.get("rows", {}).values() for name in columns}
    rows = [extra | row for row in rows]
    for at, columns in change.get("rows", {}).items():
        rows[at] |= columns
    with (folder / "screen.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "screen.csv"


QUICK = {
    "steps": 3,
    "training.batch": 4,
    "network.cells": 12,
    "turns.views": 2,
    "threads": 1,
    "device": "cpu",
}
