"""Experiments of the papers, one file each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bagscope.registry import Registry

if TYPE_CHECKING:
    from bagscope.engine.events import Events

__all__ = ["EXPERIMENTS", "run_experiment"]

# Each entry: a function (Order, Events) -> folder of the results.
EXPERIMENTS = Registry(
    "experiment",
    {
        "bbbc013": "bagscope.reproduce.bbbc013:reproduce",
        "digits": "bagscope.reproduce.digits:reproduce",
        "shapes": "bagscope.reproduce.shapes:reproduce",
        "superres": "bagscope.reproduce.superres:reproduce",
    },
)


def run_experiment(
    name: str,
    *,
    data: Path | None,
    out: Path,
    seeds: int | None,
    only: str | None,
    quick: bool,
    test_data: Path | None,
    device: str | None,
    threads: int | None,
    events: Events,
) -> Path:
    """Repeat an experiment and write its results; what was measured before is not measured again.

    Parameters
    ----------
    data, test_data : folders of the data sets; with the second, models learn from the first and are judged on it.
    seeds : number of runs; default: the experiment's own.
    only : this setting alone. quick : a smoke run.

    Raises
    ------
    SettingsError : unknown experiment or setting, or no data. FolderError : `out` is in use.
    """
    # Imported here: `import bagscope.reproduce` must not load the libraries that the experiments need.
    from bagscope.reproduce.order import Order

    run = EXPERIMENTS.load(name)
    return run(Order(name, data, out, seeds, only, quick, test_data, device, threads), events)
