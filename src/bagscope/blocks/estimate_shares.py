"""What a filled form says: mean and spread of shares in each coarse class, how sure they are, where more is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bagscope.errors import BagscopeError, FolderError, Problem, TableError
from bagscope.files.writer import write_atomic
from bagscope.ops.intervals import Interval, spread, student
from bagscope.tables.block_form import Form, read_form
from bagscope.tables.draws import in_order
from bagscope.tables.proportions import LEAST_SD, WEAK, Proportions, read_proportions

# A class needs more blocks below this number, or while the interval of its mean is wider than this.
FEW, WIDE = 10, 0.15
# What a table may say at most: half of the blocks hold nothing, half nothing else.
MOST_SD = 0.5
_NORMAL = 1.96


@dataclass(frozen=True)
class Need:
    """A coarse class that needs more blocks: why, and about how many in all."""

    coarse: str
    why: str
    blocks: int


@dataclass(frozen=True)
class Estimates:
    """What a form says.

    Parameters
    ----------
    table : mean, sd (ddof = 1, from 0.02 to 0.5) and number of blocks, (L, C) each.
    mean, sd : 95 % intervals, (L, C): of the mean by Student's t, within [0, 1]; of the sd by chi-squared, within
        [0, 0.5].
    empty : rows of the form of which nothing was said. blocks : those that count.
    needs : classes that need more blocks; also those that the table leaves out.
    problems : warnings.
    """

    table: Proportions
    mean: Interval
    sd: Interval
    empty: int
    blocks: int
    needs: tuple[Need, ...]
    problems: tuple[Problem, ...]


def estimate(form: Form, file: str = "") -> Estimates:
    """Take mean, sd and number of each coarse class from a filled form.

    Raises
    ------
    TableError : no coarse class has two filled rows.
    """
    filled = form.filled
    names = in_order(form.blocks["coarse"].tolist())
    label = form.blocks["coarse"].to_numpy()
    found = {name: form.shares[filled & (label == name)] for name in names}
    known = [name for name in names if len(found[name]) > 1]
    if not known:
        cause = f"{int(filled.sum())} of {len(form)} rows are filled, no coarse class has two"
        fix = "Fill the form: two blocks of a class say something, ten are a start."
        raise TableError([Problem("refuse", "unfilled", cause, fix, file)])
    mean = np.array([found[name].mean(0) for name in known])
    raw = np.array([found[name].std(0, ddof=1) for name in known])
    n = np.array([[len(found[name])] * len(form.fine) for name in known], float)
    sd = np.clip(raw, LEAST_SD, MOST_SD)
    table = Proportions(tuple(known), form.fine, mean, sd, n)
    of_mean, of_sd = student(mean, sd, n), spread(sd, n)
    of_mean = Interval(mean, np.clip(of_mean.low, 0, 1), np.clip(of_mean.high, 0, 1))
    of_sd = Interval(sd, of_sd.low, np.minimum(of_sd.high, MOST_SD))
    needs = [need for name in names if (need := _need(name, known, found, of_mean, sd))]
    warnings = _warnings(table, raw, names, file)
    return Estimates(table, of_mean, of_sd, int((~filled).sum()), int(filled.sum()), tuple(needs), tuple(warnings))


def read_filled(form: Path, out: Path) -> Estimates:
    """Read a filled form, and write the table that training on blocks takes; see `bagscope proportions read`.

    Raises
    ------
    TableError : the form is wrong, or too empty; nothing is written.
    FolderError : `out` holds something that is no table of shares.
    """
    read, warnings = read_form(form)
    found = estimate(read, str(form))
    _refuse_other(out)
    write_atomic(out, found.table.to_csv())
    return replace(found, problems=(*warnings, *found.problems))


def summary_lines(found: Estimates) -> list[str]:
    """Say an estimate in lines for people, a line per coarse and fine class."""
    table = found.table
    names = [f"{coarse} {fine}" for coarse in table.coarse for fine in table.fine]
    wide = max(map(len, names))
    values = (found.mean.estimate, found.mean.low, found.mean.high, found.sd.estimate, found.sd.low, found.sd.high)
    lines = [f"{'':{wide}}  mean (95 % interval)    sd (95 % interval)       n"]
    for name, m, m0, m1, s, s0, s1, n in zip(names, *(one.ravel() for one in (*values, table.n)), strict=True):
        lines.append(f"{name:{wide}}  {m:.3f} ({m0:.3f} to {m1:.3f})  {s:.3f} ({s0:.3f} to {s1:.3f})  {n:3.0f}")
    return lines


def _need(name: str, known: Sequence[str], found: dict[str, np.ndarray], mean: Interval, sd: np.ndarray) -> Need | None:
    n = len(found[name])
    if name not in known:
        return Need(name, f"{n} block{'s' * (n != 1)} filled, so that it is not in the table", 12)
    at = known.index(name)
    width = float((mean.high - mean.low)[at].max())
    few, wide = n < FEW, width > WIDE
    if not few and not wide:
        return None
    why = [f"{n} blocks are fewer than {FEW}"] * few + [f"its mean is known within {width:.2f}, not {WIDE:g}"] * wide
    enough = math.ceil((2 * _NORMAL * float(sd[at].max()) / WIDE) ** 2) + 2 if wide else 0
    return Need(name, " and ".join(why), max(enough, n + 6 if wide else 0, 12))


def _warnings(table: Proportions, raw: np.ndarray, names: Sequence[str], file: str) -> list[Problem]:
    problems = []
    gone = [name for name in names if name not in table.coarse]
    if gone:
        cause = f"coarse class {', '.join(map(repr, gone))} has fewer than two filled blocks and is left out"
        problems.append(Problem("warn", "left_out", cause, "Blocks of a class without a row cannot be used.", file))
    for bound, low in ((LEAST_SD, True), (MOST_SD, False)):
        cut = raw < bound if low else raw > bound
        if cut.any():
            pairs = [f"{table.coarse[k]}/{table.fine[c]}" for k, c in zip(*np.nonzero(cut), strict=True)]
            cause = f"an sd {'below' if low else 'above'} {bound:g} is set to it: {', '.join(pairs)}"
            why = "few blocks cannot tell less from none" if low else "shares cannot vary more"
            problems.append(Problem("warn", "sd_set", f"{cause} ({why})", "", file))
    if len(table.coarse) > 1:
        explained = table.explained({})
        weak = [f"'{name}' {share:.2f}" for name, share in zip(table.fine, explained, strict=True) if share < WEAK]
        if weak:
            cause = f"the coarse classes explain little of how shares vary, R2 of {', '.join(weak)} (below {WEAK:g})"
            fix = (
                "More blocks sharpen the means; only better coarse classes raise R2 (each class counts the same here)."
            )
            problems.append(Problem("warn", "weak_table", cause, fix, file))
    return problems


def _refuse_other(out: Path) -> None:
    """Refuse to replace what is no table of shares, such as the form itself."""
    if not Path(out).exists():
        return
    try:
        read_proportions(out)
    except (BagscopeError, OSError):
        cause = "it is there already, and is no table of shares"
        raise FolderError(cause, "Name another file with -o.", code="foreign", file=out) from None
