"""Which letter stands for which call, in every picture and in the terminal alike."""

from __future__ import annotations

from collections.abc import Sequence

SPECIAL = {"none": ".", "unsure": "?", "": "x"}


def marks(classes: Sequence[str]) -> dict[str, str]:
    """Return a letter per call: of each class one of its own, `.` none, `?` unsure, `x` failed.

    Examples
    --------
    >>> marks(["negative", "neutral"])
    {'negative': 'N', 'neutral': 'E', 'none': '.', 'unsure': '?', '': 'x'}
    """
    found: dict[str, str] = {}
    for name in classes:
        letters = [c.upper() for c in name if c.isalnum()] + [chr(ord("A") + i) for i in range(26)]
        found[name] = next((c for c in letters if c not in found.values()), "#")
    return found | SPECIAL
