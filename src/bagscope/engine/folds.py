"""What cross-validations of all tasks share: the folder of their scores, and the rows that have a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bagscope.engine.failures import Failure
from bagscope.tables.table import Screen

CROSS_FITTED = "cross_fitted"


def labelled_alone(screen: Screen, failures: Sequence[Failure]) -> tuple[Screen, np.ndarray, list[Failure]]:
    """Take the labelled rows, which alone stand in the folder: all that is written there is called by their places.

    Returns
    -------
    Their screen, their positions in the whole one, rising, and their failures by place among them.
    """
    labelled = np.flatnonzero((screen.rows["label"] != "").to_numpy())
    place = {int(position): at for at, position in enumerate(labelled)}
    left = [replace(one, position=place[one.position]) for one in failures if one.position in place]
    return screen.take(labelled), labelled, left
