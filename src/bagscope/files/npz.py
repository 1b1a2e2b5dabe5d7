"""How arrays of a .npz are described without decoding them, and read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

_MEMBER = ".npy"


def array_headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return name -> (shape, type) of all arrays in a file."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(_MEMBER) for name in archive.namelist() if name.endswith(_MEMBER)]
        return {name: _header(archive, name) for name in names}


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(f"{name}{_MEMBER}") as stream:
        version = np.lib.format.read_magic(stream)
        read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return tuple(shape), dtype


def read_array(path: Path, name: str, volume: int | None = None) -> np.ndarray:
    """Read an array of three axes, or a volume of an array of four; pickled objects are refused.

    The zip's checksum of the array is compared with its bytes.

    Parameters
    ----------
    volume : number along the first of four axes.
    """
    with np.load(path, allow_pickle=False) as arrays:
        array = arrays[name]
    return np.ascontiguousarray(array if array.ndim == 3 else array[volume])
