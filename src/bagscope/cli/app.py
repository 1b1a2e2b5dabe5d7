"""The table of verbs, and what happens to errors on their way to a person."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from typing import Annotated

import typer

from bagscope import __version__
from bagscope.cli import verbs_look, verbs_model, verbs_proportions, verbs_report, verbs_show, verbs_table
from bagscope.cli.console import complaint
from bagscope.cli.options import debug_wanted
from bagscope.errors import BagscopeError, TableError

app = typer.Typer(
    name="bagscope",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Learns from well labels alone which images, wells and treatments show a phenotype.\n\n"
    "Start with [bold]bagscope demo[/bold]; for a plate of your own: import, check, train, score.",
    epilog="Documentation of each verb, with an example that works: bagscope VERB --help",
)

app.command("demo")(verbs_show.demo)
app.command("import")(verbs_table.import_)
app.command("check")(verbs_table.check)
app.command("train")(verbs_model.train)
app.command("score")(verbs_model.score)
app.command("report")(verbs_report.report)
app.add_typer(verbs_proportions.proportions, name="proportions")
app.command("info")(verbs_model.info)
app.command("look")(verbs_look.look)
app.command("reproduce")(verbs_show.reproduce)

SHOWN_PROBLEMS = 20
INTERRUPTED = 130


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"bagscope {__version__}\n")
        raise typer.Exit


@app.callback()
def _all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run the command line and leave with its exit code."""
    # A class named in Greek must not end the work on a terminal that has no Greek.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in ("SIGTERM", "SIGUSR1"):  # how a cluster asks: to the work it is the same as Ctrl-C
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        app()
    except TableError as error:
        for problem in error.problems[:SHOWN_PROBLEMS]:
            complaint(str(problem))
        if len(error.problems) > SHOWN_PROBLEMS:
            complaint(f"... and {len(error.problems) - SHOWN_PROBLEMS} more.")
        _leave(error.exit_code)
    except BagscopeError as error:
        complaint(str(error))
        _leave(error.exit_code)
    except KeyboardInterrupt:
        _leave(INTERRUPTED)
    except SystemExit as leaving:  # typer's own, also for Ctrl-C
        _leave(leaving.code)
    except Exception as error:  # noqa: BLE001 - the last line of defence turns any fault of ours into exit code 1
        complaint(
            f"An error of bagscope itself, not of your data: {type(error).__name__}: {error}\n"
            "Run again with --debug for the traceback and report it, please."
        )
        _leave(1)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _leave(code: int | str | None) -> None:
    error = sys.exc_info()[1]
    if code == INTERRUPTED and not isinstance(error, BagscopeError):
        complaint("Interrupted. Unfinished work in an output folder goes on with --resume.")
    if debug_wanted() and not isinstance(error, SystemExit | None):
        traceback.print_exc()
    sys.exit(code)
