"""Replace a file whole or not at all, whatever stops the program."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bagscope.errors import FolderError, shown

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.part", re.DOTALL)
# A file's name may have 255 bytes; the temporary one is longer than the real one.
_NAME_KEPT = 40


@contextmanager
def replacing(path: Path, needed: int, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a stream whose content replaces the file when the block ends without an error.

    Missing folders are made. The old file stays until the new content is on the disk, so a reader never sees half a
    file, whatever stops the program.

    Parameters
    ----------
    needed : bytes that will be written, for the message when there is no room; 0 when unknown.
    durable : wait for the disk; without, a power failure may lose the content.

    Raises
    ------
    FolderError : no room, no right to write, or a file where a folder should be; nothing is left behind.
    """
    aside = path.with_name(f".{path.name[:_NAME_KEPT]}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("xb+") as stream:
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            aside.replace(path)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error, needed) from error
    if durable:
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    # Windows cannot open folders, some network drives cannot flush them; the file itself is safe.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cannot_write(path: Path, error: OSError, needed: int = 0) -> FolderError:
    """Return the error of a file or folder that cannot be written, with its cause and fix."""
    if error.errno in _NO_ROOM or error.errno is None:  # NumPy reports a truncated write without a number
        free = free_bytes(path.parent)
        wanted = f"{needed:,} bytes are needed, {free:,} are free" if needed else f"{free:,} bytes are free"
        cause = f"no room ({error.strerror or error}): {wanted}"
        fix = "Make room or raise the quota, then use --resume."
        return FolderError(cause, fix, code="no_room", file=path)
    cause = f"cannot write it ({error.strerror or shown(error)})"
    fix = "Choose a folder in which you may write, with -o."
    return FolderError(cause, fix, code="cannot_write", file=path)


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the drive that holds a folder, existing or not; 0 when unknown."""
    for parent in (folder, *folder.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(parent).free
    return 0


def clean_leftovers(folder: Path | str) -> list[Path]:
    """Remove the temporary files that a killed program left in a folder; return those that were removed."""
    removed = []
    with suppress(OSError):
        for entry in list(Path(folder).iterdir()):
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file() and not entry.is_symlink():
                with suppress(OSError):
                    entry.unlink()
                    removed.append(entry)
    return removed


def is_leftover(name: str) -> bool:
    """Whether a name is that of a temporary file of `replacing`."""
    return _TEMPORARY.fullmatch(name) is not None
