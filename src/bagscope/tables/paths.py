"""Which file a cell of an image column means, and whether it may be read at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from bagscope.errors import Severity, shown
from bagscope.tables.spelling import clean

# One letter is a drive of Windows, which may be mounted elsewhere, and no protocol.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,3}")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
# What lives here is no image whatever stat says: /proc/self/environ passes for a regular file.
_SYSTEM_FOLDERS = ("/dev", "/proc", "/sys")
# A folder with one of these in it is an image or an array of Zarr.
_ZARR = (".zarray", ".zattrs", ".zgroup", "zarr.json")
# Looking for the nearest name is slow in a large folder, and after a few rows nobody reads it.
_MOST_HINTS = 20
OUTSIDE_FIX = "Move the file below the table's folder, or lift this with --set table.allow_outside=true."
MISSING_FIX = "Mount the folder, correct the name, or name the folder of the images with --set table.root=FOLDER."


@dataclass(frozen=True)
class Located:
    """Where a cell leads: a file that is there (`real` once links are followed), or why it is not."""

    path: Path
    severity: Severity | None = None
    code: str = ""
    cause: str = ""
    fix: str = ""
    real: str = ""

    @property
    def usable(self) -> bool:
        """True when the path is a regular file that may be read."""
        return self.severity in (None, "warn")


class ImageFolder:
    """Finds the files of a table; remembers folders that it has listed.

    Parameters
    ----------
    root : the folder that relative paths start from.
    allow_outside : also take relative paths and links that lead out of the folder.
    """

    def __init__(self, root: Path, allow_outside: bool = False):
        self.root = root
        self._real_root = Path(os.path.realpath(root))
        self._allow_outside = allow_outside
        self._real_folders: dict[str, str] = {}
        self._names: dict[str, dict[str, list[str]]] = {}
        self._hints = 0

    def locate(self, text: str) -> Located:
        r"""Find the file that a cell means; never opens it.

        An exact match wins; else the one file whose name differs only in case, outer spaces, Unicode form
        or `\` for `/` is taken, with a warning. Refused: URLs, devices, ways and links out of the folder.
        """
        forbidden = self._forbidden(text)
        if forbidden:
            return forbidden
        absolute = _is_absolute(text)
        candidate = Path(text) if absolute else self.root / text
        for path in (candidate, Path(os.path.normpath(candidate))):
            found = self._look(path, absolute)
            if found:
                return found
        return self._similar(text, absolute)

    def _forbidden(self, text: str) -> Located | None:
        path = Path(text)
        if _URL.match(text):
            cause = f"{shown(text)} is a URL; only files are read"
            return Located(path, "refuse", "url", cause, "Download the file and name its path.")
        if text.startswith(("\\\\", "//")) and not self._allow_outside:
            cause = f"{shown(text)} names another computer"
            return Located(path, "refuse", "outside", cause, "Mount the share and name the path in it.")
        plain = os.path.normpath(text)
        if plain.startswith("//"):
            plain = plain[1:]
        if any(plain == folder or plain.startswith(folder + "/") for folder in _SYSTEM_FOLDERS):
            cause = f"{shown(text)} is a device or a file of the system, not an image"
            return Located(path, "refuse", "not_a_file", cause, "Name an image file.")
        if not _is_absolute(text) and not self._allow_outside:
            steps = os.path.normpath(text.replace("\\", "/")).replace("\\", "/")
            if steps == ".." or steps.startswith("../"):
                where = os.path.normpath(self.root / text.replace("\\", "/"))
                cause = f"{shown(text)} leads out of the folder {self.root}, to {shown(where)}"
                return Located(path, "refuse", "outside", cause, OUTSIDE_FIX)
        return None

    def _look(self, path: Path, absolute: bool) -> Located | None:
        try:
            kind = os.lstat(path).st_mode
            real = Path(os.path.realpath(path)) if stat.S_ISLNK(kind) else self._real(path)
            if not absolute and not self._allow_outside and not real.is_relative_to(self._real_root):
                cause = f"{shown(path)} is a link out of the folder {self.root}, to {shown(real)}"
                return Located(path, "refuse", "outside", cause, OUTSIDE_FIX)
            if stat.S_ISLNK(kind):
                kind = os.stat(path).st_mode  # noqa: PTH116 - lstat above and stat here are meant
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None
            cause = f"cannot look at {shown(path)}: {error.strerror}"
            return Located(path, "list", "unreadable", cause, "Check the rights and links of the folder.")
        return self._judge(path, real, kind)

    def _judge(self, path: Path, real: Path, kind: int) -> Located:
        if stat.S_ISREG(kind):
            return Located(path, real=str(real))
        if stat.S_ISDIR(kind) and any((path / name).is_file() for name in _ZARR):
            return Located(path, real=str(real))
        if not stat.S_ISDIR(kind):
            cause = f"{shown(real)} is a device, pipe or socket, not a file"
            return Located(path, "refuse", "not_a_file", cause, "Name an image file.")
        severity: Severity = "refuse" if self._real_root.is_relative_to(real) else "list"
        return Located(path, severity, "folder", f"{shown(real)} is a folder, not a file", "Name the file in it.")

    def _real(self, path: Path) -> Path:
        folder = str(path.parent)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return Path(self._real_folders[folder]) / path.name

    def _similar(self, text: str, absolute: bool) -> Located:
        plain = os.path.normpath(clean(text).replace("\\", "/")).replace("\\", "/")
        steps = [step for step in plain.split("/") if step not in ("", ".")]
        here = Path(Path(text).anchor or "/") if absolute else self.root
        changed = "\\" in text
        for at, step in enumerate(steps):
            matches = self._matches(here, step)
            if not matches:
                return self._missing(text, here, step, last=at == len(steps) - 1)
            if len(matches) > 1:
                cause = f"{shown(text)} is not there as written, and {' and '.join(map(shown, matches))} both come near"
                return Located(here / step, "refuse", "ambiguous_file", cause, "Write the name exactly.")
            changed |= _nfc(matches[0]) != _nfc(step)
            here = here / matches[0]
        found = self._look(here, absolute)
        if not found:
            return self._missing(text, here.parent, here.name, last=True)
        if found.usable and (changed or clean(text) != text):
            cause = f"{shown(text)} is not there as written; {shown(here)} is taken"
            fix = "Write the name exactly to silence this."
            return replace(found, severity="warn", code="other_spelling", cause=cause, fix=fix)
        return found

    def _matches(self, folder: Path, name: str) -> list[str]:
        near = self._listing(folder).get(_key(name), [])
        exact = [found for found in near if found == name] or [found for found in near if _nfc(found) == _nfc(name)]
        return exact or near

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        if str(folder) not in self._names:
            names: dict[str, list[str]] = {}
            try:
                for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names alone are wanted
                    names.setdefault(_key(name), []).append(name)
            except OSError:
                # The folder is not there or may not be listed: then nothing in it is similar, and the row is missing.
                names = {}
            self._names[str(folder)] = names
        return self._names[str(folder)]

    def _missing(self, text: str, folder: Path, step: str, last: bool) -> Located:
        what = f"no file {shown(text)}" if last else f"no folder {shown(step)} for {shown(text)}"
        cause = f"{what}; looked in {folder}"
        self._hints += 1
        if self._hints <= _MOST_HINTS:
            names = {found: key for key, listed in self._listing(folder).items() for found in listed}
            near = get_close_matches(_key(step), names.values(), n=1, cutoff=0.6)
            cause += f", where the nearest name is {shown(self._listing(folder)[near[0]][0])}" if near else ""
        return Located(folder / step, "list", "missing_file", cause, MISSING_FIX)


def _is_absolute(text: str) -> bool:
    return Path(text).is_absolute() or bool(_DRIVE.match(text))


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    return _nfc(clean(name)).casefold()
