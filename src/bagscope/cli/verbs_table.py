"""Verbs about tables: import makes one of files, check finds what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bagscope.cli.console import Console, result, summary
from bagscope.cli.options import Config, Debug, Device, Json, Proportions, Quiet, Set, Spacing, Table, Threads, choices

_USUAL = "images"


def import_(
    format: Annotated[str, typer.Argument(help="folders, pattern, loaddata or bbbc013.")],
    source: Annotated[Path, typer.Argument(help="Folder of the images; for loaddata the CSV file.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Screen table to write: .csv, .tsv or .parquet.")],
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Plate map to join: well, perhaps plate, and label, treatment, …")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", help="For pattern: a template, or a regular expression with named groups."),
    ] = None,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a screen table of images that lie in a known layout.

    [bold]folders[/bold] takes class/…/image; [bold]pattern[/bold] reads plate, well, site and channel out of the
    file names, as in --pattern "{plate}_{well}_s{site}.ome.tif"; [bold]loaddata[/bold] a CellProfiler LoadData CSV;
    [bold]bbbc013[/bold] that benchmark's plate.

    Example: bagscope import folders images -o screen.csv
    """
    from bagscope.importers import import_screen, write_screen

    console = Console(quiet)
    options = {"pattern": pattern} if pattern is not None else {}
    screen = import_screen(format, source, labels, **options)
    for problem in screen.warnings:
        console.warn(str(problem))
    kept = write_screen(screen, out)
    if kept is not None:
        console.warn(f"{out} held another table; it is kept as {kept}")
    rows = screen.rows
    wells = len(set(zip(rows["plate"], rows["well"], strict=True)))
    labelled = int((rows["label"] != "").sum())
    console.say(
        f"{len(rows):,} fields of {wells:,} wells on {rows['plate'].nunique():,} plate(s); {labelled:,} have a label"
    )
    console.say(f"Next: bagscope check {out}")
    result(str(out))
    if json:
        summary({"table": str(out), "rows": len(rows), "wells": wells, "labelled": labelled})


def check(
    table: Table,
    pixels: Annotated[bool, typer.Option("--pixels", help="Decode every image: finds broken and equal ones.")] = False,
    model: Annotated[
        Path | None, typer.Option("--model", help="Check for scoring by this model instead of training.")
    ] = None,
    task: Annotated[str, typer.Option("--task", help="What for: images (default), blocks or volumes.")] = _USUAL,
    spacing: Spacing = None,
    proportions: Proportions = None,
    config: Config = None,
    settings: Set = None,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find every problem of a screen table at once, each with its row, cause and fix.

    Reads the table and the headers of its images, no pixels unless --pixels. Leaves with 0 when all is well
    (or only warned of), 3 when rows would be left out, 2 when training would refuse the table.

    Example: bagscope check screen.csv
    """
    from bagscope.cli.stages import check_table

    report = check_table(
        table, pixels, model, task, config, choices(settings, spacing=spacing, proportions=proportions)
    )
    if not quiet:
        for note in report.notes:
            result(note)
    for line in report.findings():
        result(line)
    if json:
        counts = {word: sum(p.severity == word for p in report.problems) for word in ("refuse", "list", "warn")}
        classes = {name: {"wells": w, "fields": f} for name, (w, f) in report.classes().items()}
        problems = [vars(problem) for problem in report.problems]
        summary({"exit_code": report.exit_code, "counts": counts, "classes": classes, "problems": problems})
    elif not quiet:
        word = {0: "Nothing stands in the way", 3: "Rows would be left out", 2: "Mend the errors first"}
        given = "" if task == _USUAL else f" --task {task}" + (f" --proportions {proportions}" if proportions else "")
        following = f"score {model} {table} -o scores" if model else f"train {table} -o model{given}"
        result(word[report.exit_code] + (f". Next: bagscope {following}" if report.exit_code != 2 else "."))
    raise typer.Exit(report.exit_code)
