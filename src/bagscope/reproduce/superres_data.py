"""Which pictures the superres experiment is about, who learns from which, and the blocks they are cut into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bagscope.files.reader import open_image, read_labels
from bagscope.reproduce.order import Order
from bagscope.tables.frames import read_csv

SOURCES = {
    "dsb2018": "BBBC038, Data Science Bowl 2018, https://bbbc.broadinstitute.org/BBBC038",
    "glas": "GlaS / Warwick-QU, Sirinukunwattana et al. 2017, https://warwick.ac.uk/fac/cross_fac/tia/data/glascontest",
}
SETS = ("fluorescence", "histology", "glands")
BLOCK = 32
# A: what an expert looks at and a classifier learns from; B: coarse labels alone; C: is judged.
SHARES = {"A": 0.25, "B": 0.45, "C": 0.30}


@dataclass(frozen=True)
class Picture:
    """A picture, (C, H, W) uint8, its object pixels (H, W) bool, and who it comes from.

    group : pictures of one group never stand in two parts. stratum : parts hold alike much of each.
    """

    name: str
    pixels: np.ndarray
    truth: np.ndarray
    group: str
    stratum: str


def pictures(of: str, order: Order, where: Path | None) -> list[Picture]:
    """Read the pictures of a set; those of the Data Science Bowl at half resolution.

    Raises
    ------
    SettingsError : the data are not there.
    """
    name = "glas" if of == "glands" else "dsb2018"
    folder = order.folder(where, SOURCES[name], name)
    table = read_csv(folder / "index.csv")
    found = []
    for row in table.to_dict("records"):
        if of != "glands" and row["look"] != of:
            continue
        pixels = open_image(folder / "images" / str(row["image"]))
        labels = read_labels(folder / "labels" / str(row["image"]))
        told = (str(row["patient"]), str(row["grade"])) if of == "glands" else (str(row["group"]), str(row["family"]))
        truth = labels > 0
        if of != "glands":
            pixels, truth = _halved(pixels), _halved(truth[None].astype(np.float32))[0] > 0.5
        found.append(Picture(str(row["image"]), pixels, truth, *told))
    return found


def _halved(pixels: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 pixels, (C, H, W) to (C, H // 2, W // 2), of the same type."""
    c, h, w = pixels.shape
    mean = pixels[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2).mean((2, 4))
    return np.round(mean).astype(pixels.dtype) if pixels.dtype.kind in "ui" else mean.astype(pixels.dtype)


def parts(found: Sequence[Picture], shares: dict[str, float]) -> dict[str, list[int]]:
    """Deal groups out to parts, the largest of each stratum first, each to the part that lacks most.

    Parameters
    ----------
    shares : of the pictures that each part is to have.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for at, one in enumerate(found):
        groups.setdefault((one.group, ""), []).append(at)
    strata: dict[str, list[list[int]]] = {}
    for members in groups.values():
        of = [found[at].stratum for at in members]
        strata.setdefault(max(sorted(set(of)), key=of.count), []).append(members)
    dealt: dict[str, list[int]] = {name: [] for name in shares}
    for stratum in sorted(strata):
        for members in sorted(strata[stratum], key=lambda one: (-len(one), one[0])):
            whole = sum(map(len, dealt.values())) + len(members)
            lacking = {name: share * whole - len(dealt[name]) for name, share in shares.items()}
            dealt[max(lacking, key=lacking.__getitem__)] += members
    return {name: sorted(one) for name, one in dealt.items()}


def cut(picture: Picture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Top and left pixels of a picture's whole blocks, (N,) each, and the share of object pixels in each."""
    h, w = (edge // BLOCK for edge in picture.truth.shape)
    share = picture.truth[: h * BLOCK, : w * BLOCK].reshape(h, BLOCK, w, BLOCK).mean((1, 3))
    rows, columns = np.mgrid[:h, :w] * BLOCK
    return rows.ravel(), columns.ravel(), share.ravel()
