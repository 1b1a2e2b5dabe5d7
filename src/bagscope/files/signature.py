"""Whether a file is still the one that was seen before: told from its content, not from its name or date."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from bagscope.files.guard import guarded

# Up to this size all of a file is read; of a larger one its ends, where TIFF keeps its tables, and its size.
_WHOLE = 4 << 20
_END = 1 << 20


def signature(paths: Iterable[Path]) -> str:
    """Return 32 hex digits that stand for the content of some files, in their order.

    Of a folder (OME-Zarr) count the names and sizes of all files in it, and the first 4 MiB of what they hold.
    Files up to 4 MiB count with every byte, larger ones with their size, their first and their last MiB.

    Raises
    ------
    ImageReadError : a file cannot be read; an error of the drive that passes is tried again.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        # Collected before they are digested: what is tried again would count twice.
        digest.update(guarded(path, partial(_content, path)))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    if path.is_dir():
        return b"".join(_folder_content(path))
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size <= _WHOLE:
            content = stream.read()
        else:
            content = stream.read(_END)
            stream.seek(size - _END)
            content += stream.read(_END)
    return size.to_bytes(8, "little") + content


def _folder_content(folder: Path) -> Iterator[bytes]:
    left = _WHOLE
    for path in sorted(place for place in folder.rglob("*") if place.is_file()):
        size = path.stat().st_size
        yield str(path.relative_to(folder)).encode() + size.to_bytes(8, "little")
        if left:
            with path.open("rb") as stream:
                content = stream.read(left)
            yield content
            left -= len(content)
