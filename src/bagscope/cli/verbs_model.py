"""Verbs about models: train makes one, score asks it, info says what it is."""

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
    Proportions,
    Quiet,
    Resume,
    Seed,
    Set,
    Spacing,
    Table,
    Threads,
    choices,
)


def train(
    table: Table,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model.")],
    task: Annotated[
        str, typer.Option("--task", help="What is learned: images (default), blocks or volumes.")
    ] = "images",
    pooling: Annotated[
        str | None,
        typer.Option(
            "--pooling",
            help="noisy_and, noisy_or, isr, gm, lse, mean, max or attention (images only); "
            "default noisy_and (volumes: mean).",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Optimiser steps; default 120 (blocks: 500, volumes: 420).")
    ] = None,
    network: Annotated[str | None, typer.Option("--network", help="Network by name; default kraus.")] = None,
    channels: Annotated[str | None, typer.Option("--channels", help="Channels to use, separated by commas.")] = None,
    cell_diameter: Annotated[
        str | None,
        typer.Option("--cell-diameter", help="40 (pixels), 20um, auto (default: estimated) or off (no rescaling)."),
    ] = None,
    split_by: Annotated[
        str | None, typer.Option("--split-by", help="Column whose groups are never cut, such as plate.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, help="Also train without each of K folds; scores in cross_fitted.")
    ] = None,
    spacing: Spacing = None,
    proportions: Proportions = None,
    config: Config = None,
    settings: Set = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    device: Device = None,
    threads: Threads = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Learn from the labelled rows of a screen table, and write a model folder.

    Rows without a label are not used. A part of the labelled wells is kept aside to watch the training.
    Interrupted work goes on with --resume, with the same result as if it had never stopped.

    Example: bagscope train screen.csv -o model
    """
    from bagscope.cli.stages import train_table

    given = choices(
        settings,
        pooling=pooling,
        steps=steps,
        network=network,
        channels=channels,
        cell_diameter=cell_diameter,
        split_by=split_by,
        folds=folds,
        spacing=spacing,
        proportions=proportions,
        device=device,
        threads=threads,
        seed=seed,
    )
    console = Console(quiet)
    console.say(f"Training on {table}, model into {out}; stop with Ctrl-C, go on with --resume")
    model, failed = train_table(table, out, task, config, given, resume, overwrite, console)
    if not failed:
        console.say(f"Next: bagscope score {out} {table} -o scores")
    result(str(out))
    if json:
        card = model.card
        summary(
            {
                "model": str(out),
                "classes": list(card.classes),
                **card.facts(),
                "thresholds": card.thresholds,
                "kept_step": card.training.get("kept_step"),
                "failed": failed,
            }
        )
    raise typer.Exit(3 if failed else 0)


def score(
    model: Model,
    table: Table,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder of the scores.")],
    cells: Annotated[
        str | None,
        typer.Option(
            "--cells",
            metavar="own|FILE",
            help="Judge single cells: own (segments found here, or those of the column mask), "
            "or a table image,y,x of centres from another program.",
        ),
    ] = None,
    cell_score: Annotated[
        str | None, typer.Option("--cell-score", help="window (default: each cell on its own window) or map.")
    ] = None,
    masks: Annotated[
        bool | None, typer.Option("--masks", help="Write the cells of every field as a label image (OME-TIFF).")
    ] = None,
    maps: Annotated[
        bool | None, typer.Option("--maps", help="Write which pixels speak for which class (OME-TIFF).")
    ] = None,
    spacing: Spacing = None,
    config: Config = None,
    settings: Set = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    device: Device = None,
    threads: Threads = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Judge every field of a screen table, its wells and its treatments.

    Writes images, wells and treatments as .csv and .parquet, and failures.csv with what could not be judged; with
    --cells also cells, and the share of cells of each class in images, wells and treatments. A model of blocks writes
    maps, regions.geojson for QuPath, and the area of each class.

    Example: bagscope score model screen.csv -o scores --cells own --masks
    """
    from bagscope.cli.stages import next_step, score_summary, score_table, summed_up

    console = Console(quiet)
    console.say(f"Scoring {table} by {model}, tables into {out}; stop with Ctrl-C, go on with --resume")
    given = choices(
        settings,
        cells=cells,
        cell_score=cell_score,
        masks=masks,
        maps=maps,
        spacing=spacing,
        device=device,
        threads=threads,
        seed=seed,
    )
    scores, classes = score_table(model, table, out, config, given, resume, overwrite, console)
    failed = len(scores.failures)
    if not quiet:
        result(score_summary(scores, classes))
    if not failed:
        console.say(f"Next: {next_step(scores)}")
    result(str(out))
    if json:
        summary({"scores": str(out), "rows": len(scores.images), "failed": failed, **summed_up(scores, classes)})
    raise typer.Exit(3 if failed else 0)


def info(
    model: Model,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell what a model was trained on, its classes, thresholds and versions.

    Example: bagscope info model
    """
    from bagscope.cli.stages import describe_model

    lines, values = describe_model(model)
    if not quiet:
        for line in lines:
            result(line)
    if json:
        summary(values)
