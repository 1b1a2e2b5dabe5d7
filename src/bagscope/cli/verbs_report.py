"""The verb that makes a page of a score folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bagscope.cli.console import Console, result, summary
from bagscope.cli.options import Debug, Device, Json, Quiet, Threads


def report(
    scores: Annotated[Path, typer.Argument(help="Score folder, as made by `bagscope score`.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Page to write (HTML).")] = Path("report.html"),
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make one page of a score folder: plates, controls, hits, images and cells, and where all of it comes from.

    One file that opens offline in any browser. Images are read again for it; where they or the model are not there any
    more, the page says so and shows the rest.

    Example: bagscope report scores -o report.html
    """
    from bagscope.cli.stages import report_of

    console = Console(quiet)
    console.say(f"Making a page of {scores}: {out}")
    size = report_of(scores, out, device, threads, console)
    result(str(out))
    if json:
        summary({"report": str(out), "bytes": size})
