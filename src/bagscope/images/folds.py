"""How every labelled well gets a score from a model that has not seen it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bagscope.engine.card_file import load_card_as
from bagscope.engine.failures import Failure
from bagscope.engine.folds import labelled_alone, models_of_folds
from bagscope.engine.parts import Parts
from bagscope.engine.predictions import Predictions
from bagscope.engine.run import Run
from bagscope.engine.score_folder import Provenance, Scores, read_scores, write_scores
from bagscope.files.run_names import CARD, CROSS_FITTED, PARTS, RUN
from bagscope.images.card import ModelCard
from bagscope.images.cell_stage import CellStage
from bagscope.images.fit import train_one
from bagscope.images.inference import FieldScorer, predict_fields
from bagscope.images.predict import open_model
from bagscope.images.rows import Rows
from bagscope.settings.jobs import ImagesJob, ReadJob
from bagscope.tables.labels import Vocabulary
from bagscope.tables.splits import TEST


def cross_fit(rows: Rows, failures: Sequence[Failure], folds: np.ndarray, run: Run[ImagesJob]) -> Scores:
    """Train a model without each fold, score the fold with it, and write all scores as one score folder.

    Rows that the table reserves for testing are scored by the final model, which has not seen them either.

    Parameters
    ----------
    failures : labelled rows that were left out before; they keep their lines in the tables.
    folds : (R,) fold of each row, see `splits.fold_numbers`.
    """
    out, began = run.target.folder, time.monotonic()
    target = replace(run.target, folder=out / CROSS_FITTED)
    if (target.folder / RUN).is_file():
        return read_scores(target.folder)
    card = load_card_as(out, ModelCard)
    classes = Vocabulary(card.classes, card.none_trained, card.several_labels)
    job = ReadJob(**{name: getattr(run.job, name) for name in ReadJob.model_fields})
    screen, labelled, left_out = labelled_alone(rows.screen, failures)
    predictions = Predictions(failures=left_out)
    cells = CellStage(job.cells, card, screen, target.folder, run.worker)
    for fold in models_of_folds(folds, out, run):
        if fold.number is not None and not (fold.folder / CARD).is_file():
            train_one(rows.take(fold.seen), (), fold.folder, run, classes)
        source = rows.take(fold.unseen).source
        source = replace(source, positions=np.searchsorted(labelled, source.positions))
        model = open_model(fold.folder, run.device)
        scorer = FieldScorer(model, source, Parts(target.folder / PARTS), job, cells)
        predictions.add(predict_fields(scorer, (), run.events))
    how = Provenance(job, (), time.monotonic() - began, out)
    # No model has seen the rows that it scored.
    predictions.training_split = dict.fromkeys(range(len(screen)), TEST)
    return write_scores(screen, card, predictions, how, replace(run, target=target))
