"""Do labelled rows of a screen keep their failures when they are numbered alone?"""

from types import SimpleNamespace

import pandas as pd

from bagscope.engine.failures import Failure
from bagscope.engine.folds import labelled_alone
from bagscope.errors import Problem


def test_failures_of_labelled_rows_are_counted_among_these():
    screen = SimpleNamespace(rows=pd.DataFrame({"label": ["", "a", "", "b", "a"]}), take=lambda positions: positions)
    failures = [Failure(position, "check", Problem("list", "broken", f"row {position}")) for position in (0, 3, 4)]
    taken, positions, renumbered = labelled_alone(screen, failures)
    assert taken.tolist() == positions.tolist() == [1, 3, 4]
    assert [(failure.position, failure.problem.cause) for failure in renumbered] == [(1, "row 3"), (2, "row 4")]
