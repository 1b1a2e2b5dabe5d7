"""Is a training that was begun gone on with only where rows, files and settings are the same?"""

import pytest

from bagscope.engine.plan import Plan, refuse_other
from bagscope.errors import ModelError

BEGUN = Plan({"training.steps": 20}, {"0 P/A01/1": "label 'a', file x"}, "1.0")


@pytest.fixture
def path(tmp_path):
    BEGUN.save(tmp_path / "plan.json")
    return tmp_path / "plan.json"


def test_the_same_plan_is_gone_on_with_and_none_refuses_nothing(path, tmp_path):
    refuse_other(path, BEGUN)
    refuse_other(tmp_path / "none.json", BEGUN)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            Plan(BEGUN.settings, BEGUN.rows | {"1 P/A02/1": "label 'b', file y"}, "1.0"),
            "row 1 P/A02/1: absent -> label",
        ),
        (Plan(BEGUN.settings, {}, "1.0"), "row 0 P/A01/1: label 'a', file x -> absent"),
        (Plan(BEGUN.settings | {"seed": 1}, BEGUN.rows, "1.0"), "setting seed: absent -> 1"),
        (Plan({"training.steps": 30}, BEGUN.rows, "1.0"), "setting training.steps: 20 -> 30"),
        (Plan(BEGUN.settings, BEGUN.rows, "1.1"), "bagscope 1.0 -> 1.1"),
    ],
)
def test_what_was_added_taken_away_or_changed_is_refused_by_name(path, plan, message):
    with pytest.raises(ModelError, match="begun with something else") as caught:
        refuse_other(path, plan)
    assert message in str(caught.value)
