"""What a person or a classifier says of blocks: boxes with a coarse class or a probability, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.errors import Problem, TableError
from bagscope.tables.frames import read_csv

PLACE = ("x", "y", "size")
# The published coarse classes: from this probability on, in per cent.
EDGES = (0, 20, 30, 40, 50, 60, 70, 80, 90, 95)
_SHOWN = 5
# More shares between 0 and 1 than this, beside some above 1, are no per cent.
_FEW = 0.5
# Parts of a pixel that a level of a pyramid may be off, by its rounded size.
_ON_PIXEL = 0.02


@dataclass(frozen=True)
class Blocks:
    """Squares of an image and their coarse class: (N,) top and left pixel, edge, and name."""

    y: np.ndarray
    x: np.ndarray
    size: np.ndarray
    coarse: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: np.ndarray) -> Blocks:
        """Return some blocks."""
        return Blocks(self.y[chosen], self.x[chosen], self.size[chosen], self.coarse[chosen])


def binned(probability: np.ndarray) -> np.ndarray:
    """Name the published coarse class of probabilities (N,) in [0, 1]: "0-20", "20-30", ..., "90-95", "95-100"."""
    at = np.searchsorted(np.array(EDGES[1:]) / 100, probability, side="right")
    ends = [*EDGES[1:], 100]
    return np.array([f"{EDGES[k]}-{ends[k]}" for k in at], dtype=object)


def read_boxes(path: Path, height: int, width: int, *, per_cent: bool = False) -> tuple[Blocks, list[Problem]]:
    """Read a table of boxes `x,y,size,class` or `x,y,size,probability`, in full-resolution pixels from the top left.

    Parameters
    ----------
    height, width : of the image. per_cent : probabilities are per cent even where none is above 1.

    Returns
    -------
    The boxes that can be used, and what is wrong with the others: they are never clipped, since shares would change.

    Raises
    ------
    TableError : no such columns, per cent mixed with shares, or boxes that fit only when x and y change places.
    """
    table, file = read_csv(path), str(path)
    missing = [name for name in PLACE if name not in table]
    kinds = [name for name in ("class", "probability") if name in table]
    if missing or len(kinds) != 1:
        cause = f"columns {', '.join(map(str, table.columns))}"
        fix = "A table of boxes has x, y, size, and either class or probability."
        raise TableError([Problem("refuse", "no_column", cause, fix, file)])
    x, y, size = (pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in PLACE)
    problems: list[Problem] = []
    whole = np.isfinite(x) & np.isfinite(y) & np.isfinite(size) & (x % 1 == 0) & (y % 1 == 0) & (size % 1 == 0)
    good = whole & (size > 0)
    problems += _listed(table, ~good, "bad_box", "x, y and size are no whole numbers, or size is not above 0", file)
    inside = (x >= 0) & (y >= 0) & (x + size <= width) & (y + size <= height)
    turned = (y >= 0) & (x >= 0) & (y + size <= width) & (x + size <= height)
    outside = good & ~inside
    if outside.sum() > good.sum() / 2 and (turned & good).sum() > 0.9 * good.sum():
        cause = (
            f"{int(outside.sum())} of {int(good.sum())} boxes lie outside the image of {height}x{width} and would fit"
        )
        fix = "Columns x and y seem to have changed places: x counts columns from the left, y rows from the top."
        raise TableError([Problem("refuse", "swapped", f"{cause} with x and y swapped", fix, file)])
    said = f"outside the image of {height}x{width} pixels"
    problems += _listed(table, outside, "outside", said, file)
    good &= inside
    if kinds == ["class"]:
        coarse = table["class"].astype(str).str.strip().to_numpy(dtype=object)
        problems += _listed(table, good & (coarse == ""), "unlabelled", "no class", file)
        good &= coarse != ""
    else:
        share, more = _shares(table, good, file, per_cent)
        problems += more
        good &= np.isfinite(share)
        coarse = np.full(len(table), "", dtype=object)
        coarse[good] = binned(share[good])
    top, left, edge = (values[good].astype(np.int64) for values in (y, x, size))
    blocks = Blocks(top, left, edge, coarse[good])
    return blocks, problems + _overlapping(blocks, file)


def in_per_cent(tables: Iterable[pd.DataFrame]) -> bool:
    """Whether a screen's tables of boxes hold a probability above 1: then all of them are read as per cent."""
    return any("probability" in table and bool((_probabilities(table) > 1).any()) for table in tables)


def coarser(blocks: Blocks, zoom: tuple[float, float]) -> tuple[Blocks, int]:
    """Return boxes of the full resolution as boxes of a coarser one, and how many do not lie on its pixels.

    Parameters
    ----------
    zoom : pixels of the full resolution in one, downwards and to the right.
    """
    edges = np.stack([blocks.y / zoom[0], blocks.x / zoom[1], blocks.size / zoom[0], blocks.size / zoom[1]])
    fits = (np.abs(edges - np.round(edges)) < _ON_PIXEL).all(0) & (np.round(edges[2]) == np.round(edges[3]))
    y, x, size = (np.round(one[fits]).astype(np.int64) for one in edges[:3])
    return Blocks(y, x, size, blocks.coarse[fits]), int((~fits).sum())


def _probabilities(table: pd.DataFrame) -> np.ndarray:
    text = table["probability"].astype(str).str.strip().str.replace(",", ".", regex=False)
    return pd.to_numeric(text, errors="coerce").to_numpy(float)


def _shares(table: pd.DataFrame, good: np.ndarray, file: str, per_cent: bool) -> tuple[np.ndarray, list[Problem]]:
    """Probabilities in [0, 1], NaN for those that are none; per cent are understood for the tables as a whole."""
    share = _probabilities(table)
    problems = []
    above = bool((share[good] > 1).any())
    told = share[good][share[good] > 0]
    if above and len(told) and (told < 1).mean() > _FEW:
        cause = "probabilities from 0 to 1 and above 1 in one table"
        raise TableError([Problem("refuse", "mixed", cause, "Write all as 0.75, or all as 75.", file)])
    if above or per_cent:
        share = share / 100
        problems.append(Problem("warn", "per_cent", "probabilities are read as per cent: some are above 1", "", file))
    wrong = good & ~((share >= 0) & (share <= 1))
    problems += _listed(table, wrong, "bad_probability", "a probability that is not from 0 to 1", file)
    return np.where(wrong, np.nan, share), problems


def _listed(table: pd.DataFrame, wrong: np.ndarray, code: str, said: str, file: str) -> list[Problem]:
    at = np.flatnonzero(wrong)
    if not len(at):
        return []
    one = table.iloc[at[0]]
    told = ", ".join(f"{name} = {one[name]}" for name in table.columns[:4])
    lines = ", ".join(str(int(k) + 2) for k in at[:_SHOWN]) + (" ..." if len(at) > _SHOWN else "")
    cause = f"{len(at)} boxes are left out (lines {lines}): {said} ({told})"
    return [Problem("warn", code, cause, "Correct them; boxes are never clipped.", file, int(at[0]) + 2)]


def _overlapping(blocks: Blocks, file: str) -> list[Problem]:
    if len(blocks) < 2:
        return []
    order = np.lexsort((blocks.x, blocks.y))
    y, x, size = blocks.y[order], blocks.x[order], blocks.size[order]
    count = 0
    for at in range(len(y)):
        last = np.searchsorted(y, y[at] + size[at])
        near = slice(at + 1, last)
        count += int(((x[near] < x[at] + size[at]) & (x[near] + size[near] > x[at])).sum())
    if not count:
        return []
    return [Problem("warn", "overlap", f"{count} pairs of boxes overlap; a crop counts one of them", "", file)]


def blocks_of_labels(
    codes: np.ndarray, height: int, width: int, size: int, nodata: int, file: str = ""
) -> tuple[Blocks, list[Problem]]:
    """Make blocks of a coarse label image.

    Parameters
    ----------
    codes : (h, w) whole numbers, a pixel for a block; or of full resolution, then every square of `size` pixels whose
        numbers are all the same is a block.
    height, width : of the image. nodata : number that means: no label. file : of the label image, for messages.

    Returns
    -------
    The blocks, and a word on squares that are none since several coarse classes share them.

    Raises
    ------
    TableError : sizes that do not fit, or full resolution without a size.
    """
    problems: list[Problem] = []
    h, w = codes.shape
    if height % h or width % w or height // h != width // w:
        cause = f"a coarse label image of {h}x{w} for an image of {height}x{width}"
        fix = "One is to be a whole multiple of the other, the same both ways."
        raise TableError([Problem("refuse", "coarse_size", cause, fix)])
    edge = height // h
    if edge == 1:
        if not size:
            cause = "a coarse label image of full resolution, and nobody says how large a block is"
            raise TableError([Problem("refuse", "no_size", cause, "Give --set blocks.size=32.")])
        rows, columns, edge = h // size, w // size, size
        tiles = codes[: rows * size, : columns * size].reshape(rows, size, columns, size)
        low, high = tiles.min((1, 3)), tiles.max((1, 3))
        mixed = int((low != high).sum())
        if mixed:
            cause = f"{mixed} of {low.size} squares of {size} px hold several coarse classes and are left out"
            fix = "Where blocks are larger or smaller, name their edge with --set blocks.size."
            problems.append(Problem("warn", "mixed_squares", cause, fix, file))
        codes = np.where(low == high, low, np.iinfo(np.int64).min).astype(np.int64)
    known = (codes != nodata) & (codes != np.iinfo(np.int64).min)
    row, column = np.nonzero(known)
    names = codes[known].astype(int).astype(str).astype(object)
    return Blocks(row * edge, column * edge, np.full(len(row), edge), names), problems


def covered(blocks: Blocks, height: int, width: int) -> np.ndarray:
    """Tell which pixels of an image lie in one of its blocks, (H, W)."""
    inside = np.zeros((height, width), bool)
    for y, x, size in zip(blocks.y, blocks.x, blocks.size, strict=True):
        inside[y : y + size, x : x + size] = True
    return inside


def counted(parts: Sequence[Blocks]) -> dict[str, int]:
    """Blocks of each coarse class over several images."""
    names, counts = np.unique(np.concatenate([part.coarse for part in parts]).astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
