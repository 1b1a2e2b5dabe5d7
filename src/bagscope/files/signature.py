"""Whether a file is still the one that was seen before: told from its content, not from its name or date."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

# Up to this size all of a file is read; of a larger one its ends, where TIFF keeps its tables, and its size.
_WHOLE = 4 << 20
_END = 1 << 20


def signature(paths: Iterable[Path]) -> str:
    """Return 32 hex digits that stand for the content of some files, in their order.

    Of a folder (OME-Zarr) count the names and sizes of all files in it, and the first 4 MiB of what they hold.
    Files up to 4 MiB count with every byte, larger ones with their size, their first and their last MiB.

    Raises
    ------
    OSError : a file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        if path.is_dir():
            _add_folder(digest, path)
            continue
        size = path.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        with path.open("rb") as stream:
            if size <= _WHOLE:
                digest.update(stream.read())
            else:
                digest.update(stream.read(_END))
                stream.seek(size - _END)
                digest.update(stream.read(_END))
    return digest.hexdigest()


def _add_folder(digest: hashlib.blake2b, folder: Path) -> None:
    left = _WHOLE
    for path in sorted(place for place in folder.rglob("*") if place.is_file()):
        size = path.stat().st_size
        digest.update(str(path.relative_to(folder)).encode() + size.to_bytes(8, "little"))
        if left:
            with path.open("rb") as stream:
                content = stream.read(left)
            digest.update(content)
            left -= len(content)
