"""Which measures are taken, on which sizes, and where the figures go."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.measures import MEASURES
from benchmarks.rows import Row, read_rows, write_rows
from benchmarks.sizes import FULL, SMALLEST, Size

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
SCRATCH = HERE / "scratch"


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the measures that are asked for, all by default, and keep their rows in results.csv."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measure", nargs="*", metavar="MEASURE", help=f"default: all, {', '.join(MEASURES)}")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--smallest", action="store_true", help="see that all runs, on sizes too small to measure")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.measure if name not in MEASURES]
    if unknown:
        parser.error(f"no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    torch.set_num_threads(given.threads)
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # for the programs that a measure starts
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {given.threads} threads", flush=True)
    chosen = given.measure or list(MEASURES)
    found = taken(chosen, SMALLEST if given.smallest else FULL)
    if not given.smallest:
        written = {row for name in chosen for row in MEASURES[name].writes}
        before = [row for row in read_rows(RESULTS) if given.measure and row.measure not in written]
        write_rows(RESULTS, [*before, *found])
        print(f"in {RESULTS}")
    return 0


def taken(chosen: Sequence[str], size: Size) -> list[Row]:
    """Take measures one after the other and say what each gives."""
    rows = []
    for name in chosen:
        began = time.monotonic()
        print(f"{name} ...", flush=True)
        shutil.rmtree(SCRATCH, ignore_errors=True)
        SCRATCH.mkdir()
        try:
            new = MEASURES[name].take(size, SCRATCH)
        finally:
            shutil.rmtree(SCRATCH, ignore_errors=True)
        for row in new:
            print(f"  {row.measure} {row.setting} = {row.value:.4g}")
        print(f"  took {time.monotonic() - began:.0f} s", flush=True)
        rows += new
    return rows


if __name__ == "__main__":
    sys.exit(main())
