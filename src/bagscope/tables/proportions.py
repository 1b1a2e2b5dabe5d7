"""What an expert says of blocks: for each coarse class the mean share of each fine class, and how much it varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.errors import Problem, TableError
from bagscope.tables.frames import csv_bytes, read_csv

NUMBERS = ("mean", "sd", "n")
COLUMNS = ("coarse", "fine", *NUMBERS)
# Means of a class that add up to 1 within this much are rounded, not wrong.
ROUNDED = 0.02
# Below this a table of a few blocks cannot tell a standard deviation from none.
LEAST_SD = 0.02
# A table that explains less of how shares vary is a weak teacher; see docs on blocks.
WEAK = 0.7


@dataclass(frozen=True)
class Proportions:
    """The table: names of coarse and fine classes, mean, sd and number of blocks looked at, (L, C) each."""

    coarse: tuple[str, ...]
    fine: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    n: np.ndarray

    def explained(self, counts: Mapping[str, int] | Sequence[int]) -> np.ndarray:
        """Share of the variance of each fine class's share that the coarse class explains, (C,), in [0, 1].

        R2 = var_l(mean) / (var_l(mean) + mean_l sd^2), coarse classes weighted by how many blocks they have.

        Parameters
        ----------
        counts : blocks of each coarse class.
        """
        found = [counts.get(name, 0) for name in self.coarse] if isinstance(counts, Mapping) else list(counts)
        weight = np.asarray(found, float)
        weight = weight / weight.sum() if weight.sum() else np.full(len(weight), 1 / max(1, len(weight)))
        middle = weight @ self.mean
        between, within = weight @ (self.mean - middle) ** 2, weight @ self.sd**2
        whole = between + within
        return np.where(whole > 0, between / np.where(whole > 0, whole, 1), 0.0)

    def is_weak(self, counts: Mapping[str, int]) -> bool:
        """Whether the table explains less than 0.7 of how the share of a fine class varies between blocks."""
        return bool((self.explained(counts) < WEAK).any())

    def to_csv(self) -> bytes:
        """Return the table as it is written."""
        rows = [
            (coarse, fine, self.mean[k, c], self.sd[k, c], int(self.n[k, c]))
            for k, coarse in enumerate(self.coarse)
            for c, fine in enumerate(self.fine)
        ]
        return csv_bytes(pd.DataFrame(rows, columns=list(COLUMNS)))


def read_proportions(path: Path) -> Proportions:
    """Read a table with the columns `coarse`, `fine`, `mean`, `sd`, `n`, and check it.

    Raises
    ------
    TableError : names every problem: no such file, a column or a pair of classes that is missing or there twice, a
        number outside its range, means of a coarse class that do not add up to 1.
    """
    try:
        table = read_csv(path)
    except OSError as error:
        cause = f"it cannot be read ({error.strerror})"
        fix = "Name the table that `bagscope proportions read` wrote."
        raise TableError([Problem("refuse", "no_file", cause, fix, str(path))]) from None
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        cause = f"no column {', '.join(missing)}"
        fix = f"A table of proportions has the columns {', '.join(COLUMNS)}."
        raise TableError([Problem("refuse", "no_column", cause, fix, str(path))])
    for name in ("coarse", "fine"):
        table[name] = table[name].astype(str).str.strip()
    problems = _wrong_numbers(table, str(path)) + _wrong_pairs(table, str(path))
    if problems:
        raise TableError(problems)
    coarse, fine = (tuple(dict.fromkeys(table[name])) for name in ("coarse", "fine"))
    if len(fine) < 2:
        cause = f"one fine class alone ('{fine[0]}')" if fine else "no rows"
        fix = "List what else a block holds, too, such as the background: shares of all fine classes add up to 1."
        raise TableError([Problem("refuse", "one_fine", cause, fix, str(path))])
    wide = table.assign(**{name: _numbers(table[name]) for name in NUMBERS}).set_index(["coarse", "fine"])
    every = wide.reindex(pd.MultiIndex.from_product([coarse, fine]))
    found = {name: every[name].to_numpy(float).reshape(len(coarse), len(fine)) for name in NUMBERS}
    problems = [
        Problem(
            "refuse",
            "no_sum",
            f"the means of coarse class '{name}' add up to {total:.3g}",
            "The shares of all fine classes of a block add up to 1; list them all.",
            str(path),
        )
        for name, total in zip(coarse, found["mean"].sum(1), strict=True)
        if abs(total - 1) > ROUNDED
    ]
    if problems:
        raise TableError(problems)
    return Proportions(coarse, fine, found["mean"] / found["mean"].sum(1, keepdims=True), found["sd"], found["n"])


def _numbers(column: pd.Series) -> np.ndarray:
    """Numbers of a column of text; NaN for what is none."""
    return pd.to_numeric(column.astype(str).str.strip().str.replace(",", ".", regex=False), errors="coerce").to_numpy(
        float
    )


def _wrong_numbers(table: pd.DataFrame, file: str) -> list[Problem]:
    found = []
    ranges = {
        "mean": (0.0, 1.0, "a share from 0 to 1"),
        "sd": (0.0, 0.5, "a standard deviation of shares, from 0 to 0.5"),
        "n": (1.0, np.inf, "a number of blocks, at least 1"),
    }
    for name, (low, high, meaning) in ranges.items():
        values = _numbers(table[name])
        for at in np.flatnonzero(~((values >= low) & (values <= high))):
            cause = f"{name} = {table[name].iloc[at]} is not {meaning}"
            fix = "Write shares as 0.75, not 75."
            found.append(Problem("refuse", "bad_number", cause, fix, file, int(at) + 2, name))
        if name == "sd":
            for at in np.flatnonzero(values == 0):
                cause = f"coarse class '{table['coarse'].iloc[at]}' has an sd of 0 for '{table['fine'].iloc[at]}'"
                fix = f"No few blocks show that shares never vary; give at least {LEAST_SD}."
                found.append(Problem("refuse", "no_spread", cause, fix, file, int(at) + 2, name))
    return found


def _wrong_pairs(table: pd.DataFrame, file: str) -> list[Problem]:
    found = []
    pairs = list(zip(table["coarse"], table["fine"], strict=True))
    for at, pair in enumerate(pairs):
        if "" in pair:
            cause = "a row without a coarse or a fine class"
            found.append(Problem("refuse", "no_name", cause, "Fill it.", file, at + 2))
        elif pair in pairs[:at]:
            cause = f"coarse class '{pair[0]}' and fine class '{pair[1]}' stand there twice"
            found.append(Problem("refuse", "pair_twice", cause, "Leave one of the rows out.", file, at + 2))
    there = set(pairs)
    for coarse in dict.fromkeys(table["coarse"]):
        for fine in dict.fromkeys(table["fine"]):
            if (coarse, fine) not in there:
                cause = f"coarse class '{coarse}' has no row for fine class '{fine}'"
                found.append(Problem("refuse", "no_pair", cause, "Add it, with its mean share (0 if none).", file))
    return found


def table_warnings(table: Proportions, counts: Mapping[str, int], effective: float, file: str = "") -> list[Problem]:
    """Warn where a table explains too little, or where more pixels count than its variances allow.

    Parameters
    ----------
    counts : blocks of each coarse class. effective : the loss's effective number of pixels.
    """
    found = []
    for name, share in zip(table.fine, table.explained(counts), strict=True):
        if share < WEAK:
            cause = f"the coarse classes explain {share:.0%} of how the share of '{name}' varies between blocks"
            fix = "Finer coarse classes, or better ones, teach more; see the docs for the settings of a weak table."
            found.append(Problem("warn", "weak_table", cause, fix, file))
    critical = table.mean * (1 - table.mean) / np.maximum(table.sd, LEAST_SD) ** 2
    over = [
        f"{coarse}/{fine}"
        for k, coarse in enumerate(table.coarse)
        for c, fine in enumerate(table.fine)
        if 0 < critical[k, c] < effective
    ]
    if over:
        cause = f"{effective:g} effective pixels are more than the table's variances allow for {', '.join(over[:6])}"
        fix = "Then kl and w2 ask for maps that spread more than grey ones; lower --set blocks.effective."
        found.append(Problem("warn", "critical_count", cause, fix, file))
    return found


def missing_classes(table: Proportions, coarse: Sequence[str], file: str = "") -> list[Problem]:
    """Refuse coarse classes of blocks of which the table says nothing."""
    unknown = [name for name in dict.fromkeys(coarse) if name not in table.coarse]
    if not unknown:
        return []
    cause = f"blocks of coarse class {', '.join(map(repr, unknown))}, of which the table has no row"
    fix = "Look at some of these blocks (bagscope proportions sample), or leave them: --set blocks.unknown=leave."
    return [Problem("refuse", "no_proportions", cause, fix, file)]
