"""How every labelled volume gets a score from a model that has not seen it, and how the methods compare."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bagscope.engine.card_file import load_card_as
from bagscope.engine.check import CheckReport
from bagscope.engine.failures import Failure
from bagscope.engine.folds import Fold, labelled_alone, models_of_folds
from bagscope.engine.loaded import LoadedModel
from bagscope.engine.model_folder import save_model
from bagscope.engine.predictions import Predictions
from bagscope.engine.run import Run
from bagscope.engine.score_folder import Provenance
from bagscope.engine.scoring import screen_of
from bagscope.engine.states import Checkpoints
from bagscope.files.run_names import CARD, COMPARISON, CROSS_FITTED, RESUME, RUN
from bagscope.files.writer import write_atomic
from bagscope.settings.jobs import ShapesReadJob, VolumesJob
from bagscope.tables.frames import csv_bytes
from bagscope.tables.labels import Vocabulary
from bagscope.tables.splits import TEST, TRAIN
from bagscope.volumes import setup
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.fit import LabelledShapes, bags_of, fit_one
from bagscope.volumes.predict import open_model
from bagscope.volumes.score import VolumeScorer, predict_volumes, write_scores
from bagscope.volumes.shape_compare import comparison
from bagscope.volumes.solids import six_of
from bagscope.volumes.traditional import MeasuredBags, traditional


def cross_fit(
    rows: LabelledShapes,
    failures: Sequence[Failure],
    report: CheckReport,
    folds: np.ndarray,
    run: Run[VolumesJob],
) -> None:
    """Train a model without each fold and score the fold with it: a score folder, and a comparison of methods.

    Rows that the table reserves for testing are scored by the final model, which has not seen them either.

    Parameters
    ----------
    failures : labelled rows that were left out before. folds : (R,) fold of each row, see `splits.fold_numbers`.
    """
    out, began = run.target.folder, time.monotonic()
    if (out / CROSS_FITTED / RUN).is_file():
        return
    card = load_card_as(out, ShapesCard)
    classes = Vocabulary(card.classes, card.none_trained, card.several_labels)
    job = ShapesReadJob(**{name: getattr(run.job, name) for name in ShapesReadJob.model_fields})
    scoring: Run[ShapesReadJob] = Run(
        job, replace(run.target, folder=out / CROSS_FITTED), run.device, run.worker, run.events
    )
    screen, labelled, left_out = labelled_alone(screen_of(report), failures)
    place = {int(line): at for at, line in enumerate(screen.rows["row"])}
    positions = [place[int(line)] for line in rows.table["row"]]
    predictions, tables = Predictions(failures=left_out), []
    for fold in models_of_folds(folds, out, run):
        if fold.number is not None:
            _train_fold(rows, fold, classes, card, run)
        model = open_model(fold.folder, run.device)
        if fold.number is not None and not card.several_labels:
            scores = scored_fold(model, rows.take(fold.seen), rows.take(fold.unseen), run.job)
            tables.append(scores.assign(fold=fold.number))
        # The shapes that were read for training are scored; the volumes are not read again.
        shapes = {positions[row]: rows.found[row] for row in np.flatnonzero(fold.unseen)}
        volumes = {at: report.headers[int(labelled[at])] for at in shapes}
        scorer = VolumeScorer(model, screen, volumes, shapes.__getitem__, scoring)
        predictions.add(predict_volumes(scorer, []))
    # No model has seen the rows that it scored, nor those that failed.
    predictions.training_split = dict.fromkeys(range(len(screen)), TEST)
    if tables:
        _compare(pd.concat(tables, ignore_index=True), card, run)
    else:
        run.events.say("methods are compared only where a volume has one label")
    how = Provenance(job, (), time.monotonic() - began, out)
    write_scores(LoadedModel(out, None, card, run.device), screen, predictions, how, scoring)


def _train_fold(rows: LabelledShapes, fold: Fold, classes: Vocabulary, card: ShapesCard, run: Run[VolumesJob]) -> None:
    """Train the model of a fold, unless it is finished."""
    states = fold.folder / RESUME
    if not (fold.folder / CARD).is_file():
        mark = f"{card.training.get('plan')} fold {fold.number}"
        checkpoints = Checkpoints(states, mark, run.target.resume)
        parts = np.where(fold.seen, TRAIN, "")
        _, fold_card, network = fit_one(rows, parts, classes, run, checkpoints)
        save_model(fold.folder, network, fold_card)
    shutil.rmtree(states, ignore_errors=True)


def _compare(scores: pd.DataFrame, card: ShapesCard, run: Run[VolumesJob]) -> None:
    """Write the comparison of the network, the measures and the traditional workflow."""
    table = comparison(scores, card.outputs)
    write_atomic(run.target.folder / COMPARISON, csv_bytes(table))
    for row in table.to_dict("records"):
        run.events.say(f"{row['method']}: AUC {row['auc']:.3f} ({row['low']:.3f} to {row['high']:.3f})")


def scored_fold(
    model: LoadedModel[ShapesCard], seen: LabelledShapes, unseen: LabelledShapes, job: VolumesJob
) -> pd.DataFrame:
    """Score the bags of a fold, each of one class, with a model that has not seen them and traditionally.

    Returns
    -------
    A row per bag: `row`, `group`, `target` and, per method and class, `<method>:<class>`.
    """
    card = model.card
    classes = Vocabulary(card.classes, card.none_trained, card.several_labels)
    bags, groups, means = bags_of(unseen, classes, job)
    lengths = [len(bag) for bag in bags.shapes]
    logits = setup.shape_logits(model.network, card, [shape for bag in bags.shapes for shape in bag], model.device)
    scores = setup.judge_bags(model.network, card, logits, np.repeat(means, lengths, 0), lengths)
    number = np.where(bags.targets.sum(1) > 0, bags.targets.argmax(1), len(card.classes))
    trained, train_groups, train_means = bags_of(seen, classes, job)
    target = np.where(trained.targets.sum(1) > 0, trained.targets.argmax(1), len(card.classes))
    methods = {"default": scores.head, "network": scores.network, "measures": scores.measures}
    measured = MeasuredBags(train_means, target, train_groups, len(card.outputs))
    methods |= traditional(measured, means, six_of(card.measures), job.seed)
    columns: dict[str, Any] = {"row": bags.ids, "group": groups, "target": number}
    for method, values in methods.items():
        columns |= {f"{method}:{name}": values[:, k] for k, name in enumerate(card.outputs)}
    return pd.DataFrame(columns)
