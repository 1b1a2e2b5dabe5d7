"""What was measured, run by run, so that an experiment goes on where it stopped and its table can be made again."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bagscope.engine.events import Events
from bagscope.errors import BagscopeError
from bagscope.files.writer import read_json, write_atomic, write_json

COLUMNS = ("experiment", "measure", "setting", "seed", "value")
RESULTS, TABLE, RUNS = "results.csv", "results.md", "runs"
_LARGEST_RUN = 10_000_000
Run = tuple[str, int]  # setting and seed


@dataclass(frozen=True)
class Ledger:
    """The runs of one experiment, a file each.

    Parameters
    ----------
    folder : of the experiment's output.
    protocol : what decides a result; runs of another protocol do not count.
    """

    folder: Path
    experiment: str
    protocol: Mapping[str, object]

    def place(self, setting: str, seed: int) -> Path:
        """Folder in which a run may keep its models and scores."""
        return self.folder / RUNS / re.sub(r"[^A-Za-z0-9.]+", "_", setting) / f"seed_{seed}"

    def find(self, setting: str, seed: int) -> dict[str, float] | None:
        """Return what a run measured, or None when it has not been done by this protocol."""
        path = self.place(setting, seed) / "measured.json"
        if not path.is_file():
            return None
        try:
            found = read_json(path, _LARGEST_RUN)
            if found["protocol"] != self._protocol() or (found["setting"], found["seed"]) != (setting, seed):
                return None
            return {str(name): float(value) for name, value in found["values"].items()}
        except (BagscopeError, KeyError, TypeError, ValueError, AttributeError):
            return None  # a damaged run is done again

    def keep(self, setting: str, seed: int, values: Mapping[str, float]) -> None:
        """Keep what a run measured; values that are no numbers are left out."""
        known = {name: float(value) for name, value in values.items() if np.isfinite(value)}
        path = self.place(setting, seed) / "measured.json"
        write_json(path, {"protocol": self._protocol(), "setting": setting, "seed": seed, "values": known})

    def complete(
        self, missing: Sequence[Run], measure: Callable[[str, int], Mapping[str, float]], events: Events
    ) -> dict[Run, dict[str, float] | None]:
        """Do the runs that are missing, one after the other, keep each, and return what they measured.

        Parameters
        ----------
        missing : (setting, seed) of each.
        measure : does one.
        """
        found: dict[Run, dict[str, float] | None] = {}
        for number, (setting, seed) in enumerate(missing, start=1):
            events.say(f"run {number} of {len(missing)}: {setting}, seed {seed}")
            self.keep(setting, seed, measure(setting, seed))
            found[setting, seed] = self.find(setting, seed)
        return found

    def write(self, runs: Mapping[tuple[str, int], Mapping[str, float]], text: str) -> None:
        """Write results.csv and results.md.

        Parameters
        ----------
        runs : (setting, seed) -> measured values.
        text : the protocol in words, with the command.
        """
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (setting, seed), values in runs.items():
            writer.writerows([self.experiment, name, setting, seed, repr(value)] for name, value in values.items())
        write_atomic(self.folder / RESULTS, stream.getvalue())
        write_atomic(self.folder / TABLE, f"# {self.experiment}\n\n{text}\n\n{spread_table(runs)}\n")

    def _protocol(self) -> object:
        return json.loads(json.dumps(self.protocol, default=str))


def by_data_set(done: Mapping[Run, Mapping[str, float]]) -> dict[str, dict[str, list[Mapping[str, float]]]]:
    """Group the values of settings "method/data set": data set -> method -> a mapping per seed."""
    sets: dict[str, dict[str, list[Mapping[str, float]]]] = {}
    for (setting, _), values in done.items():
        method, data_set = setting.split("/")
        sets.setdefault(data_set, {}).setdefault(method, []).append(values)
    return sets


def key_lines(lines: Sequence[str]) -> str:
    """Join a table's lines between the marks by which other pages of the docs show it alone."""
    return "\n".join(["<!-- --8<-- [start:key] -->", *lines, "<!-- --8<-- [end:key] -->"])


def spread_table(runs: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Return a Markdown table: per setting and measure the mean over seeds, sd (n - 1), smallest and largest."""
    grouped: dict[tuple[str, str], list[float]] = {}
    for (setting, _), values in runs.items():
        for name, value in values.items():
            grouped.setdefault((setting, name), []).append(value)
    lines = ["| setting | measure | mean | sd | min | max | runs |", "|---|---|---|---|---|---|---|"]
    for (setting, name), found in grouped.items():
        sd = f"{np.std(found, ddof=1):.3g}" if len(found) > 1 else ""
        numbers = f"{np.mean(found):.4g} | {sd} | {min(found):.4g} | {max(found):.4g} | {len(found)}"
        lines.append(f"| {setting} | {name} | {numbers} |")
    return "\n".join(lines)
