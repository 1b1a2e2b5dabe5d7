"""How an output file is named after a field, whatever the field is called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_LONGEST = 60


def field_name(position: int, words: Sequence[str]) -> str:
    """Name the files of a field: its position, then what people know it by, in letters that every drive takes.

    Unique by the position, also where drives take `A` and `a` for one; never a path, at most 80 characters.

    Examples
    --------
    >>> field_name(7, ["P:1", "A01", "../s1"])
    '000007_p_1_a01_s1'
    """
    text = unicodedata.normalize("NFKD", "_".join(words)).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "_", text).strip("_")[:_LONGEST].strip("_")
    return f"{position:06d}_{slug}" if slug else f"{position:06d}"
