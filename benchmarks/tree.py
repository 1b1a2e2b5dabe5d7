"""How much memory a program takes, with all the programs that it starts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

# Short enough that no stage of a training falls between two looks, long enough to cost the work nothing.
_EVERY_S = 0.02
GB = 1e9


def bagscope(*words: str | Path) -> list[str]:
    """Return the command line of one of our verbs, run by this Python."""
    return [sys.executable, "-m", "bagscope", *map(str, words)]


def peak_bytes(command: Sequence[str], ends_with: tuple[int, ...] = (0,)) -> int:
    """Run a program and return the largest sum of resident memory of it and its children, looked at 50 times a second.

    Pages that they share are counted once each, so it is rather too much than too little.

    Raises
    ------
    RuntimeError : it ended otherwise than it may; with what it said.
    """
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as program:
        top, peak = psutil.Process(program.pid), 0
        while program.poll() is None:
            peak = max(peak, _resident(top))
            time.sleep(_EVERY_S)
        said = program.stderr.read() if program.stderr else ""
    if program.returncode not in ends_with:
        message = f"{' '.join(command)} ended with {program.returncode}: {said[-2000:]}"
        raise RuntimeError(message)
    return peak


def _resident(top: psutil.Process) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in [top, *top.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total
