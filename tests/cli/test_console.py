"""Does the listener of a command say how long work takes, from what has been done since it began?"""

import pytest

from bagscope.cli import console
from bagscope.cli.console import Console, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (7500, "2 h 05 min")],
)
def test_a_duration_is_given_in_the_unit_that_people_use(seconds, text):
    assert duration(seconds) == text


def test_the_time_left_is_what_the_other_items_take_at_the_speed_so_far(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    listener = Console()
    # The first item is reported when it is done; a resumed run begins in the middle.
    for seconds, done in ((0, 41), (20, 44), (25, 45), (80, 50)):
        now[0] = 1000.0 + seconds
        listener.progress("reading", done, 50)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 44 of 50, 30 s left",
        "reading: 50 of 50, took 80 s",
    ]
