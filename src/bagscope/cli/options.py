"""Options that many verbs share, said once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and results.")]
Json = Annotated[bool, typer.Option("--json", help="Print a machine-readable summary as the last line of stdout.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; default: all.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything that chance decides; default 0.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings as a TOML file, a table per section.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any other setting; see the settings page of the docs."),
]
Table = Annotated[Path, typer.Argument(help="Screen table: CSV, TSV or parquet, one row per field.")]
Model = Annotated[Path, typer.Argument(help="Model folder, as made by `bagscope train`.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with unfinished work in the output folder.")]
Spacing = Annotated[
    str | None,
    typer.Option("--spacing", metavar="Z,Y,X", help="Volumes: um between voxels, for files that do not say."),
]
Proportions = Annotated[
    str | None,
    typer.Option(
        "--proportions", metavar="FILE", help="Blocks: table of shares, as `bagscope proportions read` makes it."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is in the output folder.")]


def debug_wanted() -> bool:
    """Whether --debug stands on the command line, wherever an error came from."""
    return "--debug" in sys.argv


def choices(settings: list[str] | None, **short: Any) -> dict[str, Any]:
    """Join short options and --set items; options that were not given are left out."""
    from bagscope.settings.jobs import parse_set

    given = {name: value for name, value in short.items() if value is not None}
    return {**given, **parse_set(settings or [])}
