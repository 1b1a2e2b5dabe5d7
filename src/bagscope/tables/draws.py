"""Which of many blocks are drawn: evenly over groups, then over their images, by chance within an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


def spread_draw(
    image: np.ndarray, groups: Sequence[str], wanted: int, rng: np.random.Generator, taken: Sequence[int] = ()
) -> np.ndarray:
    """Draw some of N candidates so that no group, and in a group no image, has two more than another that has any left.

    Parameters
    ----------
    image : (N,) number of each candidate's image. groups : name of each image's group.
    wanted : how many are drawn; fewer when there are no more.
    taken : images of what was drawn before; they count, but are not drawn.

    Returns
    -------
    Numbers of the candidates, in the order drawn.
    """
    order = rng.permutation(len(image))
    left: dict[int, list[int]] = {}
    for at in order.tolist():
        left.setdefault(int(image[at]), []).append(at)
    rank = {number: place for place, number in enumerate(rng.permutation(sorted(left)).tolist())}
    of_image, of_group = Counter(taken), Counter(groups[number] for number in taken)
    drawn: list[int] = []
    while left and len(drawn) < wanted:
        number = min(left, key=lambda one: (of_group[groups[one]], of_image[one], rank[one]))
        drawn.append(left[number].pop())
        if not left[number]:
            del left[number]
        of_image[number] += 1
        of_group[groups[number]] += 1
    return np.array(drawn, np.int64)


def in_order(names: Sequence[str]) -> list[str]:
    """Sort names of coarse classes as people do: "0-20", "90-95", "100" by their numbers, all else by the alphabet.

    Examples
    --------
    >>> in_order(["b", "95-100", "0-20", "a", "20-30"])
    ['0-20', '20-30', '95-100', 'a', 'b']
    """

    def key(name: str) -> tuple[int, float, str]:
        head = name.split("-")[0].strip()
        return (0, float(head), name) if head.isascii() and head.isdigit() else (1, 0.0, name)

    return sorted(dict.fromkeys(names), key=key)
