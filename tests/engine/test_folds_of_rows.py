"""Folds: no model sees the rows that it scores."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bagscope.engine.events import SILENT
from bagscope.engine.folds import models_of_folds
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
