"""Verbs of an expert's table for blocks: boxes labels blocks, sample makes a sheet and a form, read takes it filled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bagscope.cli.console import Console, result, summary
from bagscope.cli.options import (
    Config,
    Debug,
    Device,
    Json,
    Model,
    Overwrite,
    Quiet,
    Seed,
    Set,
    Table,
    Threads,
    choices,
)

proportions = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Ask an expert which share of each fine class the blocks of a coarse class hold: sample, then read.",
)


@proportions.command("sample")
def sample(
    table: Table,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder of the sheet and the form.")],
    fine: Annotated[
        str | None,
        typer.Option("--fine", metavar="A,B", help="Fine classes, the background (what is left over) first."),
    ] = None,
    per_class: Annotated[int, typer.Option("--per-class", min=1, max=1000, help="Blocks of each coarse class.")] = 12,
    coarse: Annotated[
        str | None, typer.Option("--coarse", metavar="A,B", help="Draw from these coarse classes only.")
    ] = None,
    context: Annotated[
        int, typer.Option("--context", min=0, max=8, help="What is shown around a block, in its edges, on each side.")
    ] = 1,
    more: Annotated[
        Path | None, typer.Option("--more", metavar="FORM", help="Keep the rows of this form, and add blocks to it.")
    ] = None,
    show_classes: Annotated[
        bool, typer.Option("--show-classes", help="Sort by coarse class and say it; default: shuffled, not said.")
    ] = False,
    config: Config = None,
    settings: Set = None,
    overwrite: Overwrite = False,
    device: Device = None,
    threads: Threads = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw blocks of each coarse class, and make a sheet and a form for an expert.

    Writes form.csv, a row per block; sheet.html, in which the form is filled in with the blocks in view (one file,
    opens offline); sheet.png, to print. Blocks come evenly from all groups and images, none from the test part.

    Example: bagscope proportions sample screen.csv -o sheet --fine other,tumour
    """
    from bagscope.cli.stages_proportions import sample_table
    from bagscope.files.run_names import FORM, PICTURE, SHEET

    given = choices(settings, device=device, threads=threads, seed=seed)
    console = Console(quiet)
    console.say(f"Drawing up to {per_class} blocks of each coarse class of {table} into {out}")
    found = sample_table(
        table, out, fine, per_class, coarse, context, more, show_classes, config, given, overwrite, console
    )
    counts = found.form.blocks["coarse"].value_counts(sort=False).to_dict()
    console.say(f"{len(found.form):,} blocks of {found.form.blocks['image'].nunique():,} images")
    for name, n in found.short.items():
        console.warn(f"coarse class '{name}' has only {n} block{'s' * (n != 1)}")
    console.say(
        f"Next: open {out / SHEET} in a browser, type the shares, press Save; then "
        "bagscope proportions read form.csv -o proportions.csv, with the form.csv that was saved "
        f"(or fill in {out / FORM} beside {out / PICTURE})"
    )
    result(str(out / FORM))
    if json:
        files = {"form": str(out / FORM), "sheet": str(out / SHEET), "picture": str(out / PICTURE)}
        summary({**files, "blocks": len(found.form), "classes": counts, "short": found.short, "failed": found.failed})
    raise typer.Exit(3 if found.failed else 0)


@proportions.command("read")
def read(
    form: Annotated[Path, typer.Argument(help="Filled form, as saved by sheet.html or a spreadsheet.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Table of shares to write (CSV).")],
    device: Device = None,
    threads: Threads = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn a filled form into the table that training on blocks takes, and say how sure it is.

    Shares may be per cent or from 0 to 1, with a comma or a dot. Writes coarse,fine,mean,sd,n. Names the coarse
    classes that need more blocks: fewer than 10, or a mean known within no less than 0.15.

    Example: bagscope proportions read sheet/form.csv -o proportions.csv
    """
    from bagscope.cli.stages_proportions import read_form_into

    console = Console(quiet)
    console.say(f"Reading {form}, table of shares into {out}")
    lines, told, following = read_form_into(form, out, console)
    if not quiet:
        for line in lines:
            result(line)
    for line in following:
        console.say(line)
    result(str(out))
    if json:
        summary(told)


@proportions.command("boxes")
def boxes(
    model: Model,
    table: Table,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder of the boxes.")],
    name: Annotated[str, typer.Option("--class", help="Class whose probability is written.")],
    size: Annotated[int, typer.Option("--size", min=8, help="Edge of a tile in pixels.")] = 256,
    overwrite: Overwrite = False,
    settings: Set = None,
    device: Device = None,
    threads: Threads = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a model of images say coarse labels: its probability for each square tile of each image.

    Writes a table x,y,size,probability per image, and table.csv, the screen table with these in its column coarse.

    Example: bagscope proportions boxes model screen.csv -o boxes --class tumour
    """
    from bagscope.cli.stages_proportions import box_table

    console = Console(quiet)
    console.say(f"Judging tiles of {size} pixels of {table} by {model}, boxes into {out}")
    given = choices(settings, device=device, threads=threads, seed=seed)
    found = box_table(model, table, out, size, name, given, overwrite, console)
    console.say(f"{found.boxes:,} boxes of {found.images:,} images")
    console.say(f"Next: bagscope proportions sample {found.table} -o sheet --fine other,{name}")
    result(str(found.table))
    if json:
        summary({"table": str(found.table), "boxes": found.boxes, "images": found.images, "failed": found.failed})
    raise typer.Exit(3 if found.failed else 0)
