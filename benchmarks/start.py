"""How long a person waits for the first word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.interleaved import median, seconds
from benchmarks.rows import Row
from benchmarks.sizes import Size
from benchmarks.tree import bagscope


def help_seconds_over_python(size: Size, scratch: Path) -> list[Row]:
    """Seconds that `bagscope --help` takes longer than `python -c pass`."""
    sides = [_running(bagscope("--help")), _running([sys.executable, "-c", "pass"])]
    times = seconds(sides, size.rounds)
    return [Row("help_seconds_over_python", "", median("seconds", times[:, 0] - times[:, 1]))]


def _running(command: list[str]):
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
