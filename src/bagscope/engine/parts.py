"""What is known of each field, kept one file per field: done means that it is there and fits."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bagscope.errors import BagscopeError
from bagscope.files.writer import read_json, write_json

LARGEST_PART = 1_000_000
# A folder of a hundred thousand files is slow to list on a network drive.
_PER_FOLDER = 1000


@dataclass(frozen=True)
class CellPart:
    """What a field's cells sum up to: their number, and how many were called each class.

    digest : of the file with a row per cell, "" when cells were not judged.
    mask_file, map_file : within the score folder, "" when they were not wanted.
    """

    count: int
    called: tuple[int, ...]
    digest: str
    mask_file: str
    map_file: str


@dataclass(frozen=True)
class FieldPart:
    """Scores of one field: bag log-odds (K,) and the last layer's logits.

    unlike : by what the field differs from the training images, in words; "" when it does not.
    """

    log_odds: np.ndarray
    logits: np.ndarray
    unlike: str = ""
    cells: CellPart | None = None


def fingerprint(*what: object) -> str:
    """Return 32 hex digits that are equal for equal descriptions of how a part came about."""
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Parts:
    """The parts of a score folder.

    Parameters
    ----------
    folder : where they lie.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def path(self, position: int) -> Path:
        """Place of the part of the field at a position of the screen."""
        return self._folder / f"{position // _PER_FOLDER:05d}" / f"{position:08d}.json"

    def cells_path(self, position: int) -> Path:
        """Place of the table of the field's cells."""
        return self.path(position).with_suffix(".parquet")

    def load(self, position: int, mark: str) -> FieldPart | None:
        """Return a part that is whole and has this fingerprint, or None."""
        found = read_stored(self.path(position), mark, LARGEST_PART)
        if found is None:
            return None
        try:
            odds, logits = (np.array(found[name], np.float64) for name in ("log_odds", "logits"))
            part = FieldPart(odds, logits, str(found["unlike"]), _cells(found["cells"]))
        except (KeyError, TypeError, ValueError):
            return None  # a part that was damaged is made again
        return part if np.isfinite(part.log_odds).all() and np.isfinite(part.logits).all() else None

    def save(self, position: int, mark: str, part: FieldPart) -> None:
        """Write a part; it is whole or absent."""
        values = {
            "fingerprint": mark,
            "log_odds": part.log_odds.tolist(),
            "logits": part.logits.tolist(),
            "unlike": part.unlike,
            "cells": None if part.cells is None else asdict(part.cells),
        }
        # Two waits for the disk took longer than a small field; a part that was cut is no JSON and made again.
        write_json(self.path(position), values, durable=False)


def read_stored(path: Path, mark: str, largest: int) -> dict[str, Any] | None:
    """Return a JSON file that was stored under a fingerprint; None when it is absent, damaged or of another one.

    Parameters
    ----------
    largest : bytes above which the file is not one of ours.
    """
    if not path.is_file():
        return None
    try:
        stored = read_json(path, largest)
    except BagscopeError:
        return None
    return stored if isinstance(stored, dict) and stored.get("fingerprint") == mark else None


def _cells(found: Any) -> CellPart | None:
    if found is None:
        return None
    texts = [str(found[name]) for name in ("digest", "mask_file", "map_file")]
    return CellPart(int(found["count"]), tuple(map(int, found["called"])), *texts)
