"""How every labelled volume gets a score from a model that did not see it, and how methods fare against each other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagscope.engine.card import ShapesCard
from bagscope.engine.card_file import CARD, load_card_as
from bagscope.engine.check import CheckReport
from bagscope.engine.failures import Failure
from bagscope.engine.folds import CROSS_FITTED, labelled_alone
from bagscope.engine.model_folder import save_model
from bagscope.engine.predictions import JudgedFields
from bagscope.engine.score_folder import RUN, Provenance
from bagscope.files.writer import write_atomic
from bagscope.settings.jobs import ShapesReadJob
from bagscope.tables.frames import csv_bytes
from bagscope.tables.labels import Vocabulary
from bagscope.tables.splits import OF_NO_FOLD, TEST
from bagscope.volumes import setup
from bagscope.volumes.fit import LabelledShapes, Run, bags_of, fit_one
from bagscope.volumes.predict import open_volumes
from bagscope.volumes.score import judge_volumes, write_volume_scores
from bagscope.volumes.shape_compare import comparison
from bagscope.volumes.solids import six_of
from bagscope.volumes.traditional import traditional

COMPARISON = "comparison.csv"
_STATES = "resume"


def cross_fit_volumes(
    rows: LabelledShapes, failures: Sequence[Failure], report: CheckReport, told: Vocabulary, numbers: np.ndarray,
    out: Path, run: Run,
) -> None:  # fmt: skip
    """Train a model without each fold, and judge the fold by it: a score folder, and a comparison of methods.

    Rows that the table keeps for testing are scored by the model in `out`, which has not seen them either.

    Parameters
    ----------
    failures : labelled rows that were left out before. numbers : (R,) fold of each row, -1 for rows kept for testing.
    """
    folder, began = out / CROSS_FITTED, time.monotonic()
    if (folder / RUN).is_file() or report.screen is None:
        return
    card = load_card_as(out, ShapesCard)
    job = ShapesReadJob(**{name: getattr(run.job, name) for name in ShapesReadJob.model_fields})
    screen, labelled, left = labelled_alone(report.screen, failures)
    place = {int(line): at for at, line in enumerate(screen.rows["row"])}
    at_row = [place[int(line)] for line in rows.table["row"]]
    known = {at: report.headers[int(labelled[at])] for at in at_row}
    judged = JudgedFields(failures=left)
    tables = []
    for fold in [*range(run.job.split.folds), *([OF_NO_FOLD] if (numbers == OF_NO_FOLD).any() else [])]:
        away, home = numbers == fold, out
        seen = (numbers != OF_NO_FOLD) & ~away
        if fold != OF_NO_FOLD:
            home = out / f"fold_{fold}"
            run.events.say(f"fold {fold + 1} of {run.job.split.folds}")
            if not (home / CARD).is_file():
                mark = f"{card.training.get('plan')} fold {fold}"
                _, own, judge = fit_one(rows, seen, np.zeros(len(rows), bool), told, run, home / _STATES, mark)
                save_model(home, judge, own)
            shutil.rmtree(home / _STATES, ignore_errors=True)
        model = open_volumes(home, run.job.compute.device)
        if fold != OF_NO_FOLD and not card.several_labels:
            scores = scored_fold(model.judge, model.card, rows.take(seen), rows.take(away), run)
            tables.append(scores.assign(fold=fold))
        # What was found in the volumes for training is judged; they are not read again.
        found = {at_row[row]: rows.found[row] for row in np.flatnonzero(away)}
        volumes = {at: known[at] for at in found}
        judge_volumes(model, screen, volumes, found.__getitem__, run.job.volumes, job, folder, judged, run.events)
    # No model has seen the rows that it judged, nor those that failed.
    judged.known = dict.fromkeys(range(len(screen)), TEST)
    if tables:
        _compare(pd.concat(tables, ignore_index=True), card, out, run)
    else:
        run.events.say("methods are compared only where a volume has one label")
    write_volume_scores(folder, screen, card, judged, Provenance(job, (), time.monotonic() - began, out), run.events)


def _compare(scores: pd.DataFrame, card: ShapesCard, out: Path, run: Run) -> None:
    found = comparison(scores, card.outputs)
    write_atomic(out / COMPARISON, csv_bytes(found))
    for one in found.to_dict("records"):
        run.events.say(f"{one['method']}: AUC {one['auc']:.3f} ({one['low']:.3f} to {one['high']:.3f})")


def scored_fold(
    judge: setup.ShapeJudge, card: ShapesCard, seen: LabelledShapes, away: LabelledShapes, run: Run
) -> pd.DataFrame:
    """Scores of bags, each of one class, by a judge that did not see them, and by the traditional workflow."""
    told = Vocabulary(card.classes, card.none_trained, card.several_labels)
    bags, groups, means = bags_of(away, told, run.job)
    lengths = [len(bag) for bag in bags.shapes]
    logits = setup.shape_logits(judge, card, [shape for bag in bags.shapes for shape in bag], run.device)
    judged = setup.judge_bags(judge, card, logits, np.repeat(means, lengths, 0), lengths)
    number = np.where(bags.targets.sum(1) > 0, bags.targets.argmax(1), len(card.classes))
    trained, own_groups, own_means = bags_of(seen, told, run.job)
    target = np.where(trained.targets.sum(1) > 0, trained.targets.argmax(1), len(card.classes))
    told_of = {"default": judged.head, "network": judged.network, "measures": judged.measures}
    told_of |= traditional(own_means, target, own_groups, means, six_of(card.measures), len(card.outputs),
                           run.job.seed)  # fmt: skip
    columns: dict[str, Any] = {"row": bags.ids, "group": groups, "target": number}
    for method, values in told_of.items():
        columns |= {f"{method}:{name}": values[:, k] for k, name in enumerate(card.outputs)}
    return pd.DataFrame(columns)
