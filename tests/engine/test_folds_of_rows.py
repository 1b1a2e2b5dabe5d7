"""Folds: no model sees the rows that it scores."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bagscope.engine.events import SILENT
from bagscope.engine.failures import Failure
from bagscope.engine.folds import labelled_alone, models_of_folds
from bagscope.errors import Problem
from bagscope.tables.splits import OF_NO_FOLD


@pytest.mark.parametrize("reserved", [0, 4])
def test_no_fold_trains_on_the_rows_that_it_scores_and_every_row_is_scored_once(reserved):
    numbers = np.concatenate([np.arange(12) % 3, np.full(reserved, OF_NO_FOLD)])
    run = SimpleNamespace(events=SILENT, job=SimpleNamespace(split=SimpleNamespace(folds=3)))
    folds = list(models_of_folds(numbers, Path("model"), run))
    for fold in folds:
        assert not (fold.seen & fold.unseen).any()
        assert not (fold.seen & (numbers == OF_NO_FOLD)).any()
    assert (sum(fold.unseen.astype(int) for fold in folds) == 1).all()
    assert [fold.folder.name for fold in folds] == ["fold_0", "fold_1", "fold_2"] + ["model"] * bool(reserved)
    assert folds[0].seen.sum() == 8


def test_failures_of_labelled_rows_are_counted_among_these():
    screen = SimpleNamespace(rows=pd.DataFrame({"label": ["", "a", "", "b", "a"]}), take=lambda positions: positions)
    failures = [Failure(position, "check", Problem("list", "broken", f"row {position}")) for position in (0, 3, 4)]
    taken, positions, renumbered = labelled_alone(screen, failures)
    assert taken.tolist() == positions.tolist() == [1, 3, 4]
    assert [(failure.position, failure.problem.cause) for failure in renumbered] == [(1, "row 3"), (2, "row 4")]
