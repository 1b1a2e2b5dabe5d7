"""Which pages of a TIFF are planes of the image, which its smaller copies, which something else (labels, macros)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bagscope.errors import ImageReadError
from bagscope.files.tiff_chain import Entry

# A level that is halved again and again is rounded each time: 30001 -> 469 instead of 468.8.
_ROUNDING_PX = 2.0
_ROUNDING = 0.01


@dataclass(frozen=True)
class PageRoles:
    """Numbers of pages: of the planes, of the levels of the first plane (largest first, without it), of all others."""

    planes: tuple[int, ...]
    levels: tuple[int, ...]
    others: tuple[int, ...]


def roles(entries: Sequence[Entry]) -> PageRoles:
    """Sort pages by what they are: pages of another size are never planes.

    Planes are all pages alike the first that is no smaller copy. A smaller copy is marked so or tiled
    like the first page, and has the same shape by one factor. A label or macro page fits neither.

    Raises
    ------
    ImageReadError : pages of several sizes, none of which is plainly the image.
    """
    full = [number for number, entry in enumerate(entries) if not entry.is_reduced] or [0]
    first = entries[full[0]]
    likeness = first.likeness()
    planes = tuple(number for number in full if entries[number].likeness() == likeness)
    rest = sorted(set(range(len(entries))).difference(planes))
    levels = [number for number in rest if len(planes) == 1 and is_level(entries[number], first)]
    others = tuple(sorted(set(rest).difference(levels)))
    _refuse_larger(entries, first, others)
    levels.sort(key=lambda number: -entries[number].size[1])
    return PageRoles(planes, tuple(levels), others)


def is_level(entry: Entry, first: Entry, *, is_marked: bool = False) -> bool:
    """True when a page is a smaller copy of another: marked or tiled as such, and of its shape."""
    (height, width), (full_height, full_width) = entry.size, first.size
    if not 0 < height < full_height or not 0 < width < full_width:
        return False
    if not (is_marked or entry.is_reduced) and not (entry.is_tiled and first.is_tiled):
        return False
    expected = full_height * width / full_width
    return abs(height - expected) <= max(_ROUNDING_PX, _ROUNDING * expected)


def _refuse_larger(entries: Sequence[Entry], first: Entry, others: Sequence[int]) -> None:
    area = first.size[0] * first.size[1]
    for number in others:
        height, width = entries[number].size
        if height * width > area and not entries[number].is_reduced:
            cause = f"page 0 has {first.size[0]}x{first.size[1]} pixels, page {number} has {height}x{width}"
            fix = f"Choose one with --set images.page={number}, or the table's column 'page'."
            raise ImageReadError(cause, fix, code="several_sizes")
