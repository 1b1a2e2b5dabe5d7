"""The verb that looks into a network: its first filters, and what a layer sees in a field or a cell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bagscope.cli.console import Console, result, summary
from bagscope.cli.options import Debug, Device, Json, Model, Quiet, Threads


def look(
    model: Model,
    table: Annotated[Path | None, typer.Argument(help="Screen table, to see a field or a cell of it.")] = None,
    out: Annotated[Path, typer.Option("--output", "-o", help="Picture to write (PNG).")] = Path("look.png"),
    row: Annotated[
        int | None, typer.Option("--row", min=2, help="Line of the table, the header being line 1; default: 2.")
    ] = None,
    layer: Annotated[str | None, typer.Option("--layer", help="conv1 (default), conv2, ...")] = None,
    cell: Annotated[
        str | None, typer.Option("--cell", metavar="Y,X", help="Centre of a cell in the image's own pixels.")
    ] = None,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw a network's first filters, or what one of its layers sees in a field or a cell.

    Without a table the filters of the first layer are drawn; with one, the activations of --layer for the field of
    --row, or for the window of the cell at --cell.

    Example: bagscope look model -o filters.png
    """
    from bagscope.cli.stages import look_at

    console = Console(quiet)
    console.say(f"Looking into {model}, picture into {out}")
    told = look_at(model, table, out, row, layer, cell, device, threads, console)
    result(str(out))
    if json:
        summary(told)
