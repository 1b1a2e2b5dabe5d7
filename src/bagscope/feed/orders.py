"""Which sample is seen when: chance that depends on (seed, step, item) alone, never on what came before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def rng_for(seed: int, *where: int) -> np.random.Generator:
    """Return a generator of its own for one place of a run, the same for any worker count and after any resume.

    Places differ also where one goes on with zeros: (7,) and (7, 0) are two.
    """
    # A list of numbers would be filled up with zeros; a spawn key is not.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=where))


def balanced(rng: np.random.Generator, choices: int, count: int) -> np.ndarray:
    """Draw `count` of `choices` things so that no two differ by more than one in how often they come."""
    rounds = -(-count // choices)
    drawn = np.concatenate([np.empty(0, np.int64), *(rng.permutation(choices) for _ in range(rounds))])[:count]
    return rng.permutation(drawn)


def prefetch(make: Callable[[int], T], first: int, last: int, depth: int = 2) -> Iterator[T]:
    """Yield make(first), ..., make(last - 1), made in a thread: `depth` items wait while the next is made.

    An error in `make` is raised where its item is asked for, and nothing is made after it. Leaving the loop early
    ends the thread.
    """
    queue: Queue[tuple[T | None, BaseException | None]] = Queue(depth)
    left = Event()

    def work() -> None:
        for step in range(first, last):
            if left.is_set():
                return
            try:
                queue.put((make(step), None))
            except BaseException as error:  # noqa: BLE001 - handed over and raised by the consumer
                queue.put((None, error))
                return

    thread = Thread(target=work, daemon=True, name="bagscope-feed")
    thread.start()
    try:
        for _ in range(first, last):
            item, error = queue.get()
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        left.set()
        while thread.is_alive():
            while not queue.empty():
                queue.get_nowait()
            thread.join(0.01)
