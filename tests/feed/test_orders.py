"""Does chance depend on its place alone, and does reading ahead change nothing but the waiting?"""

import threading
import time

import numpy as np
import pytest

from bagscope.feed.orders import ahead, balanced, chance


def feeding():
    return [thread for thread in threading.enumerate() if thread.name == "bagscope-feed"]


def test_a_place_has_one_stream_of_chance_and_other_places_have_others():
    assert chance(0, 1, 2).random() == chance(0, 1, 2).random()
    values = {chance(*place).random() for place in [(0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 1), (0, 1, 2, 0)]}
    assert len(values) >= 4


@pytest.mark.parametrize("choices", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 16])
def test_no_choice_comes_more_than_once_oftener_than_another(choices, count):
    drawn = balanced(np.random.default_rng(count), choices, count)
    assert len(drawn) == count
    counts = np.bincount(drawn, minlength=choices)
    assert counts.max() - counts.min() <= 1


def test_items_come_in_order_each_made_once():
    made = []
    assert list(ahead(lambda i: made.append(i) or i * i, 3, 9)) == [9, 16, 25, 36, 49, 64]
    assert made == [3, 4, 5, 6, 7, 8]
    assert list(ahead(lambda i: i, 4, 4)) == []


def test_an_error_is_raised_where_its_item_is_due():
    def make(i):
        return i if i < 2 else 1 / 0

    taken = ahead(make, 0, 5)
    assert (next(taken), next(taken)) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        next(taken)


def test_no_more_than_the_depth_is_made_before_it_is_asked_for():
    made = []
    taken = ahead(lambda i: made.append(i) or i, 0, 100, depth=2)
    next(taken)
    until = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 4  # one taken, two waiting, one in hand
    taken.close()


def test_leaving_early_ends_the_thread():
    for item in ahead(lambda i: i, 0, 10**9):
        if item == 5:
            break
    assert not feeding()
