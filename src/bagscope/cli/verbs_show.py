"""Verbs that show what bagscope can do: a demo on a simulated plate, and the experiments of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bagscope.cli.console import Console, result, summary
from bagscope.cli.options import Debug, Device, Json, Overwrite, Quiet, Seed, Threads


def demo(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("demo"),
    device: Device = None,
    threads: Threads = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Simulate a plate, learn from its controls, call every well, and compare with the truth.

    The plate has 96 wells, two channels, dose series of two compounds, an empty well, one out of focus and one
    whose file is broken on purpose. Needs about 100 MB of disk and two minutes; opens nothing.

    Example: bagscope demo demo
    """
    from bagscope.report.plate_grid import plate_grids
    from bagscope.reproduce.demo import run_demo

    shown = run_demo(out, seed or 0, device, threads, overwrite, Console(quiet))
    if not quiet:
        result(plate_grids(shown.scores.wells, shown.classes))
        for line in shown.lines:
            result(line)
    result(str(out / "report.html"))
    if json:
        summary(shown.values)


def reproduce(
    name: Annotated[str, typer.Argument(help="Which experiment: bbbc013, digits, shapes or superres.")],
    data: Annotated[
        Path | None, typer.Option("--data", envvar="BAGSCOPE_DATA", help="Folder that holds the data sets.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the results; default: NAME.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Runs with different seeds.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="This setting alone.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run: one seed, few steps.")] = False,
    test_data: Annotated[
        Path | None, typer.Option("--test-data", help="Judge on this data alone (same layout as --data).")
    ] = None,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Repeat an experiment of the papers on real images, with its spread over seeds.

    Says its cost first; goes on where it stopped when it is called again. Writes results.csv (a row per
    measurement), results.md (the table) and pictures.

    Example: bagscope reproduce bbbc013 --data data -o bbbc013 --quick
    """
    from bagscope.reproduce import run_experiment
    from bagscope.reproduce.ledger import RESULTS, TABLE

    results = run_experiment(
        name,
        data=data,
        out=out or Path(name),
        seeds=seeds,
        only=only,
        quick=quick,
        test_data=test_data,
        device=device,
        threads=threads,
        events=Console(quiet),
    )
    result((results / TABLE).read_text("utf-8").rstrip())
    result(str(results / TABLE))
    if json:
        summary({"results": str(results / RESULTS)})
