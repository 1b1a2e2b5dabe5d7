"""What the cross-validations of all tasks share: names of folders, which model scores which rows, the labelled rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bagscope.engine.failures import Failure
from bagscope.engine.run import Run
from bagscope.files.run_names import FOLDS
from bagscope.tables.splits import OF_NO_FOLD
from bagscope.tables.table import Screen


@dataclass(frozen=True)
class Fold:
    """The rows that a model is trained on, and those that it scores.

    number : of the fold, from 0; None for the rows that the table reserves for testing, which the final model scores.
    folder : of the model. seen, unseen : (R,) bool.
    """

    number: int | None
    folder: Path
    seen: np.ndarray
    unseen: np.ndarray


def models_of_folds(numbers: np.ndarray, out: Path, run: Run[Any]) -> Iterator[Fold]:
    """Yield the folds in their order and report each; rows reserved for testing come last.

    Parameters
    ----------
    numbers : (R,) fold of each row, see `splits.fold_numbers`. out : folder of the final model.
    """
    count = run.job.split.folds
    for number in range(count):
        run.events.say(f"fold {number + 1} of {count}")
        unseen = numbers == number
        yield Fold(number, out / FOLDS.replace("*", str(number)), (numbers != OF_NO_FOLD) & ~unseen, unseen)
    reserved = numbers == OF_NO_FOLD
    if reserved.any():
        yield Fold(None, out, ~reserved, reserved)


def labelled_alone(screen: Screen, failures: Sequence[Failure]) -> tuple[Screen, np.ndarray, list[Failure]]:
    """Take the labelled rows of a screen; the score folder of a cross-validation numbers these alone.

    Returns
    -------
    Their screen, their positions in the whole screen, rising, and their failures by position among them.
    """
    labelled = np.flatnonzero((screen.rows["label"] != "").to_numpy())
    place = {int(position): at for at, position in enumerate(labelled)}
    left_out = [replace(failure, position=place[failure.position]) for failure in failures if failure.position in place]
    return screen.take(labelled), labelled, left_out
