"""Does chance depend on the place in a run alone, and does feeding ahead change nothing but the time?"""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagscope.feed.orders import balanced, prefetch, rng_for

LAW = settings(derandomize=True, max_examples=50, deadline=None)
PLACE = st.tuples(st.integers(0, 2**31), st.lists(st.integers(0, 2**31), max_size=4).map(tuple))


def corner(seed, *where):
    return tuple(rng_for(seed, *where).integers(0, 2**40, 2).tolist())


@LAW
@given(one=PLACE, other=PLACE)
def test_one_place_has_one_chance_and_another_place_another(one, other):
    assert corner(one[0], *one[1]) == corner(one[0], *one[1])
    if one != other:
        assert corner(one[0], *one[1]) != corner(other[0], *other[1])


def test_places_that_go_on_with_zeros_are_different_places():
    places = [(), (0,), (0, 0), (7,), (7, 0), (7, 0, 0), (0, 7)]
    assert len({corner(0, *place) for place in places}) == len(places)


def test_corners_differ_between_items_and_epochs_and_agree_for_any_number_of_workers():
    wanted = {(step, item): corner(5, step, item) for step in range(6) for item in range(8)}
    assert len(set(wanted.values())) == len(wanted)
    for workers in (1, 2, 4):
        found = {}

        def work(own, workers=workers, found=found):
            # Each worker has its own items, and comes to them in its own order.
            for step in reversed(range(6)):
                for item in range(own, 8, workers):
                    found[step, item] = corner(5, step, item)

        threads = [threading.Thread(target=work, args=(own,)) for own in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == wanted


def test_chance_neither_reads_nor_moves_the_state_that_all_share():
    np.random.seed(1)  # noqa: NPY002 - the shared state is what this is about
    one, after = corner(3, 1), np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert np.random.random() == after  # noqa: NPY002
    assert corner(3, 1) == one


@LAW
@given(choices=st.integers(1, 9), count=st.integers(0, 40), seed=st.integers(0, 99))
def test_balanced_choices_differ_by_at_most_one_in_how_often_they_come(choices, count, seed):
    drawn = balanced(np.random.default_rng(seed), choices, count)
    assert len(drawn) == count
    times = np.bincount(drawn, minlength=choices)
    assert len(times) == choices
    assert times.max() - times.min() <= 1


def test_balanced_choices_come_in_any_order_and_the_odd_ones_are_any():
    draws = [balanced(np.random.default_rng(seed), 3, 4) for seed in range(60)]
    # The first place and the choice that comes twice are each choice in about a third of 60 draws.
    assert (np.bincount([d[0] for d in draws], minlength=3) > 8).all()
    assert (np.bincount([np.bincount(d, minlength=3).argmax() for d in draws], minlength=3) > 8).all()
    # No place in the order says how often its choice has come.
    assert any(len(set(balanced(np.random.default_rng(seed), 3, 6)[:3].tolist())) < 3 for seed in range(9))


def feeders():
    return [thread for thread in threading.enumerate() if thread.name == "bagscope-feed"]


def ended():
    # The thread looks after each item whether it is still wanted.
    for _ in range(200):
        if not feeders():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(("first", "last"), [(0, 10), (7, 9), (3, 3), (5, 2)])
@pytest.mark.parametrize("depth", [1, 2, 20])
def test_items_come_in_order_whatever_was_made_before(first, last, depth):
    assert list(prefetch(lambda step: step * step, first, last, depth)) == [step * step for step in range(first, last)]
    assert ended()


def test_items_are_made_before_they_are_asked_for_but_not_without_end():
    made = []
    feed = prefetch(lambda step: made.append(step) or step, 0, 100, depth=3)
    assert made == []  # nothing is made before the first is wanted
    assert next(feed) == 0
    for _ in range(200):
        if len(made) == 5:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    # One is out, three wait, and one is made and waits for room.
    assert made == [0, 1, 2, 3, 4]
    feed.close()
    assert ended()


def test_leaving_the_loop_early_ends_the_thread():
    made = []
    for step in prefetch(lambda step: made.append(step) or step, 0, 10**6):
        if step == 3:
            break
    assert ended()
    assert len(made) < 20


def test_an_error_is_raised_where_its_item_is_asked_for_and_nothing_is_made_after_it():
    made = []

    def make(step):
        made.append(step)
        if step == 3:
            message = "file 3 is gone"
            raise OSError(message)
        return step

    got = []
    with pytest.raises(OSError, match="file 3 is gone"):
        got.extend(prefetch(make, 0, 100))
    assert got == [0, 1, 2]
    assert made == [0, 1, 2, 3]
    assert ended()


def test_an_error_behind_the_last_item_asked_for_is_nobodys():
    def make(step):
        if step == 2:
            raise OSError
        return step

    feed = prefetch(make, 0, 100)
    assert [next(feed), next(feed)] == [0, 1]
    feed.close()
    assert ended()


def test_the_thread_works_while_the_consumer_does():
    here, there = threading.get_ident(), set()
    list(prefetch(lambda step: there.add(threading.get_ident()), 0, 3))
    assert len(there) == 1
    assert here not in there
