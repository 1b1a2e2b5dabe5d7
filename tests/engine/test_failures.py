"""Is a row that cannot be used listed once, by its first problem and its own line?"""

from types import SimpleNamespace

import pandas as pd

from bagscope.engine.failures import of_check
from bagscope.errors import Problem

SCREEN = SimpleNamespace(rows=pd.DataFrame({"row": [2, 5, 6]}))


def problem(code, row, severity="list"):
    return Problem(severity, code, "cause", row=row)


def test_a_row_is_listed_once_with_its_first_problem():
    failures = of_check(SCREEN, [problem("small", 5), problem("channels", 5), problem("broken", 2)])
    assert [(failure.position, failure.problem.code) for failure in failures] == [(1, "small"), (0, "broken")]


def test_what_is_only_said_or_belongs_to_no_row_lists_none():
    assert of_check(SCREEN, [problem("odd", 5, "warn"), problem("table", None), problem("gone", 3)]) == []
