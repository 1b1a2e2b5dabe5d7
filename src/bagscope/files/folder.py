"""How an output folder is kept for one program at a time, and never costs anybody a file that is not ours."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from filelock import FileLock, Timeout

from bagscope.atomic import cannot_write, clean_leftovers, is_leftover
from bagscope.errors import BagscopeError, FolderError, SettingsError, shown
from bagscope.files.writer import read_json, write_json

# The mark stays when the lock is gone: it says that bagscope has written here, and who did so last.
LOCK, MARK = ".lock", ".bagscope.json"
_LARGEST_MARK = 10_000
_SHOWN = 3


@contextmanager
def claimed(
    folder: Path | str, ours: Sequence[str], *, finished: str, resume: bool = False, overwrite: bool = False
) -> Iterator[Path]:
    """Keep an output folder for this program as long as the block runs; it is made when missing.

    Nobody else can claim it meanwhile; reading it is free to all. The lock is the operating system's,
    so it ends with the process, even one that was killed. Nothing is removed without `overwrite`, and
    with it only what is ours: `ours` in a folder that bagscope has claimed or finished before. A block that
    fails before it has written anything leaves no trace.

    Parameters
    ----------
    ours : names of the files and folders that we write there; patterns such as "fold_*" are understood.
    finished : the file that is written last; with it, the work is done.
    resume : go on with what is there, finished or not.
    overwrite : remove what we wrote there before.

    Raises
    ------
    FolderError : codes "in_use", "not_a_folder", "cannot_write"; "finished" or "unfinished" work is there and
        neither `resume` nor `overwrite` was said; "foreign": files that are not ours would be mixed with ours;
        "other_work": bagscope writes something else there, such as a model where scores are to go.
    SettingsError : both `resume` and `overwrite`.
    """
    folder = Path(folder)
    if resume and overwrite:
        cause = "both --resume and --overwrite"
        raise SettingsError(cause, "Go on with what is there, or replace it.", code="resume_or_overwrite")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    _make(folder)
    is_new = not (folder / MARK).exists()
    if is_new:
        # Looked at before the lock is made: a folder that is refused stays as it was.
        _refuse_what_is_there(folder, ours, finished, resume, overwrite)
    with _locked(folder):
        _refuse_what_is_there(folder, ours, finished, resume, overwrite)
        mark = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now(), "work": finished}
        write_json(folder / MARK, mark)
        if overwrite:
            _remove(folder, ours, finished)
        _sweep(folder, ours)
        try:
            yield folder
        except BaseException:
            if is_new:
                _leave_as_it_was(folder, made)
            raise


def _leave_as_it_was(folder: Path, made: Sequence[Path]) -> None:
    """Take our mark away where no work came of it: input that was refused leaves nothing behind."""
    if set(_names(folder)) <= {LOCK, MARK}:
        with suppress(OSError):  # Windows keeps a file that is open, such as the lock
            for name in (MARK, LOCK):
                (folder / name).unlink(missing_ok=True)
            for place in made:
                place.rmdir()


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        cause = "a file, where a folder is to be written"
        raise FolderError(cause, "Name another folder with -o.", code="not_a_folder", file=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        fix = "Wait until it is done, or name another folder with -o."
        cause = f"in use by {_owner(folder)}"
        raise FolderError(cause, fix, code="in_use", file=folder) from None
    except (OSError, NotImplementedError) as error:
        known = error if isinstance(error, OSError) else OSError(str(error))
        raise cannot_write(folder, known) from None
    try:
        yield
    finally:
        lock.release()


def _now() -> str:
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")


def _owner(folder: Path) -> str:
    with suppress(BagscopeError, KeyError, TypeError, ValueError):
        said = read_json(folder / MARK, _LARGEST_MARK)
        return f"pid {int(said['pid'])} on host {shown(said['host'])[1:-1]} since {shown(said['since'])[1:-1]}"
    return "another process"


def _work(folder: Path) -> str:
    """Return the file that ends the work which the folder was used for; empty when nothing says so."""
    with suppress(BagscopeError, KeyError, TypeError):
        return str(read_json(folder / MARK, _LARGEST_MARK)["work"])
    return ""


def _refuse_what_is_there(folder: Path, ours: Sequence[str], finished: str, resume: bool, overwrite: bool) -> None:
    other = _work(folder)
    if other not in ("", finished) and (folder / other).exists():
        # Some names, such as failures.csv, are those of either work: one would replace the other's.
        cause = f"the folder holds other work of bagscope ({shown(other)})"
        raise FolderError(cause, "Name another folder with -o.", code="other_work", file=folder)
    there = [name for name in _names(folder) if name not in (LOCK, MARK) and not is_leftover(name)]
    own = [name for name in there if _is_ours(name, ours)]
    foreign = [name for name in there if name not in own]
    if not (folder / MARK).exists() and finished not in own:
        # We have never been here: names like ours are chance, and with them somebody's files.
        in_the_way = own if overwrite else there if foreign or not resume else []
        if in_the_way:
            more = f" and {len(in_the_way) - _SHOWN:,} more" if len(in_the_way) > _SHOWN else ""
            cause = f"the folder holds files that are not ours: {', '.join(map(shown, in_the_way[:_SHOWN]))}{more}"
            fix = "Name another folder with -o" + ("." if own else ", or write beside them with --overwrite.")
            raise FolderError(cause, fix, code="foreign", file=folder)
        return
    if own and not resume and not overwrite:
        done = finished in own
        cause = f"{'finished' if done else 'unfinished'} work is there already ({shown(finished if done else own[0])})"
        fix = "Name another folder with -o, use --overwrite to replace it, or --resume to go on with it."
        raise FolderError(cause, fix, code="finished" if done else "unfinished", file=folder)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise cannot_write(folder, error) from None


def _is_ours(name: str, ours: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in ours)


def _remove(folder: Path, ours: Sequence[str], finished: str) -> None:
    own = [name for name in _names(folder) if _is_ours(name, ours)]
    # The file that says "done" goes first: half of a removed folder must not look like a whole one.
    for name in sorted(own, key=lambda name: name != finished):
        path = folder / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise cannot_write(path, error) from None


def _sweep(folder: Path, ours: Sequence[str]) -> None:
    """Remove what a killed program left half written, here and in our own folders."""
    clean_leftovers(folder)
    for name in _names(folder):
        if _is_ours(name, ours) and (folder / name).is_dir() and not (folder / name).is_symlink():
            for place, _, _ in os.walk(folder / name):
                clean_leftovers(place)
