"""How every labelled well gets a score from a model that did not see it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from bagscope.errors import SettingsError
from bagscope.run.judge import Judge, JudgedFields, judge_fields
from bagscope.run.model_folder import CARD, load_model
from bagscope.run.one_model import Run, train_model
from bagscope.run.parts import PARTS, Parts
from bagscope.run.rows import Rows
from bagscope.run.score_folder import RUN, Provenance, Scores, read_scores, write_scores
from bagscope.settings.jobs import ReadJob
from bagscope.tables.splits import TEST, folds, groups_of

CROSS_FITTED = "cross_fitted"


def fold_numbers(rows: Rows, run: Run) -> np.ndarray:
    """Return the fold of each row, -1 for rows that the table keeps for testing.

    Raises
    ------
    SettingsError : more folds than groups, or a class that too few groups have.
    """
    split = run.job.split
    table = rows.table
    open_rows = (table["split"] != TEST).to_numpy()
    numbers = np.full(len(table), -1)
    chosen = table[open_rows]
    numbers[open_rows] = folds(
        chosen["label"].tolist(), groups_of(chosen, split.by).tolist(), split.folds, run.job.seed
    )
    return numbers


def cross_fit(rows: Rows, out: Path, run: Run) -> Scores:
    """Train a model without each fold, score the fold by it, and write all of it as one score folder.

    Raises
    ------
    SettingsError : see `fold_numbers`.
    """
    folder, began = out / CROSS_FITTED, time.monotonic()
    if (folder / RUN).is_file():
        return read_scores(folder)
    numbers = fold_numbers(rows, run)
    job = ReadJob(**{name: getattr(run.job, name) for name in ReadJob.model_fields})
    together, card = JudgedFields(), None
    for k in range(run.job.split.folds):
        home = out / f"fold_{k}"
        run.events.say(f"fold {k + 1} of {run.job.split.folds}")
        if not (home / CARD).is_file():
            train_model(rows.take((numbers != k) & (numbers >= 0)), home, run)
        network, card = load_model(home, run.device)
        judge = Judge(network, card, run.device)
        judged = judge_fields(judge, rows.take(numbers == k).source, Parts(folder / PARTS), job, run.events)
        together.parts |= judged.parts
        together.failures += judged.failures
        together.megapixels += judged.megapixels
    if card is None:
        cause = "no folds"
        raise SettingsError(cause, "Give --folds 2 or more.", code="bad_folds")
    how = Provenance(job, (), time.monotonic() - began)
    return write_scores(
        folder, rows.screen.take(rows.source.positions), card, _renumbered(together, rows), how, run.events
    )


def _renumbered(judged: JudgedFields, rows: Rows) -> JudgedFields:
    """Count positions among the labelled rows, which alone stand in this folder."""
    place = {int(position): i for i, position in enumerate(rows.source.positions)}
    parts = {place[position]: part for position, part in judged.parts.items()}
    failures = [type(f)(place[f.position], f.stage, f.problem) for f in judged.failures]
    return JudgedFields(parts, failures, megapixels=judged.megapixels)
