"""How every labelled well gets a score from a model that did not see it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bagscope.engine.card import ModelCard
from bagscope.engine.card_file import CARD, load_card_as
from bagscope.engine.failures import Failure
from bagscope.engine.folds import CROSS_FITTED, labelled_alone
from bagscope.engine.model_folder import load_model
from bagscope.engine.parts import PARTS, Parts
from bagscope.engine.predictions import JudgedFields
from bagscope.engine.score_folder import RUN, Provenance, Scores, read_scores, write_scores
from bagscope.images.cell_stage import CellStage
from bagscope.images.fit import Run, train_model
from bagscope.images.inference import Judge, judge_fields
from bagscope.images.rows import Rows
from bagscope.settings.jobs import ReadJob
from bagscope.tables.labels import Vocabulary
from bagscope.tables.splits import OF_NO_FOLD, TEST


def cross_fit(rows: Rows, failures: Sequence[Failure], numbers: np.ndarray, out: Path, run: Run) -> Scores:
    """Train a model without each fold, score the fold by it, and write all of it as one score folder.

    Rows that the table keeps for testing are scored by the model in `out`, which has not seen them either.

    Parameters
    ----------
    failures : labelled rows that were left out before; they keep their lines in the tables.
    numbers : (R,) fold of each row, see `splits.fold_numbers`.
    """
    folder, began = out / CROSS_FITTED, time.monotonic()
    if (folder / RUN).is_file():
        return read_scores(folder)
    card = load_card_as(out, ModelCard)
    told = Vocabulary(card.classes, card.none_trained, card.several_labels)
    job = ReadJob(**{name: getattr(run.job, name) for name in ReadJob.model_fields})
    screen, labelled, left = labelled_alone(rows.screen, failures)
    together = JudgedFields(failures=left)
    cells = CellStage(job.cells, card, screen, folder)
    for k in [*range(run.job.split.folds), *([OF_NO_FOLD] if (numbers == OF_NO_FOLD).any() else [])]:
        home = out
        if k != OF_NO_FOLD:
            home = out / f"fold_{k}"
            run.events.say(f"fold {k + 1} of {run.job.split.folds}")
            if not (home / CARD).is_file():
                train_model(rows.take((numbers != k) & (numbers != OF_NO_FOLD)), (), home, run, told)
        network, own = load_model(home, run.device, ModelCard)
        judge = Judge(network, own, run.device)
        source = rows.take(numbers == k).source
        source = replace(source, positions=np.searchsorted(labelled, source.positions))
        judged = judge_fields(judge, source, Parts(folder / PARTS), job, run.events, cells=cells)
        together.parts |= judged.parts
        together.failures += judged.failures
        together.unlike += judged.unlike
        together.megapixels += judged.megapixels
    how = Provenance(job, (), time.monotonic() - began, out)
    # No model has seen the rows that it judged.
    together.known = dict.fromkeys(range(len(screen)), TEST)
    return write_scores(folder, screen, card, together, how, run.events)
