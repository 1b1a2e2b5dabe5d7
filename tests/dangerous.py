"""Files whose names crash or hang the process that decodes them, as damaged ones may, and drives that fail."""

import errno
import sys
from pathlib import Path

from bagscope.files import guard, worker

# Enough for a file that is whole on a busy machine; each file that hangs costs as much.
LIMIT_S = 3
# Runs in the decoding process before it answers.
_SPELL = """
import bagscope.files.decoding as decoding
load = decoding.READERS.load
def dangerous(name):
    reader = load(name)
    def read(*arguments):
        import os, time
        names = [path.name for path in decoding.paths_in(arguments)]
        if any("crash" in name for name in names):
            os._exit(9)
        if any("hang" in name for name in names):
            time.sleep(3600)
        return reader(*arguments)
    return read
decoding.READERS.load = dangerous
"""


def let_names_be_dangerous(monkeypatch):
    """From now on to decode a file with "crash" or "hang" in its name does what its name says."""
    start, call, end = worker._PROGRAM.rpartition("main()\n")
    monkeypatch.setattr(worker, "_PROGRAM", start + _SPELL + call + end)


def let_drive_fail(monkeypatch, name, times=sys.maxsize):
    """From now on a file of this name cannot be read while it is signed; after so many times it can."""
    monkeypatch.setattr(guard, "WAITS_S", (0.0, 0.0))
    opened, failures = Path.open, []

    def open_or_fail(self, *arguments, **options):
        is_signed = sys._getframe(1).f_globals["__name__"] == "bagscope.files.signature"
        if is_signed and self.name == name and len(failures) < times:
            failures.append(name)
            raise OSError(errno.EIO, "Input/output error")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_or_fail)
