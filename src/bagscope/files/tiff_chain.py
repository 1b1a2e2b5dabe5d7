"""Which pages a TIFF lists: a walk along its directories that loops, cuts and floods cannot hold up."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from bagscope.errors import ImageReadError

MOST_PAGES = 100_000
# A page has 10 to 100 tags; without a cap, pages of 65,535 tags that share their bytes take minutes to walk.
_MOST_TAGS = 4096
_MOST_TAGS_IN_ALL = 5_000_000
_MOST_LEVELS = 64
SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
SAMPLES, PLANAR, TILE_WIDTH, SUB_IFDS, SAMPLE_FORMAT = 277, 284, 322, 330, 339
_LIKENESS = (WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, TILE_WIDTH, SAMPLE_FORMAT)
_WANTED = frozenset((SUBFILE_TYPE, SUB_IFDS, *_LIKENESS))
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True)
class Entry:
    """One page of the list: where it stands, first values of its small tags, and the places of its smaller copies."""

    offset: int
    numbers: dict[int, int]
    sub_pages: tuple[int, ...] = ()

    def number(self, tag: int) -> int:
        """First value of a tag; 0 without the tag."""
        return self.numbers.get(tag, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.number(HEIGHT), self.number(WIDTH)

    @property
    def is_reduced(self) -> bool:
        """True for a smaller copy of another page, and for a transparency mask."""
        return bool(self.number(SUBFILE_TYPE) & 0b101)

    @property
    def is_tiled(self) -> bool:
        """True when the page is stored in tiles."""
        return TILE_WIDTH in self.numbers

    def likeness(self) -> tuple[int, ...]:
        """Equal for pages that can be planes of one stack."""
        return tuple(self.number(tag) for tag in _LIKENESS)


@dataclass(frozen=True)
class Chain:
    """The pages in the order of the file; `cut` says in words what broke the list off."""

    entries: list[Entry] = field(default_factory=list)
    cut: str = ""


class _Walker:
    """Reads directories of either byte order and either width."""

    def __init__(self, stream: BinaryIO, size: int):
        self.stream, self.size = stream, size
        head = stream.read(16)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = struct.unpack(f"{self.order}H", head[2:4])[0] == 43
        if len(head) < (16 if self.big else 8):
            cause = "the file ends in its first bytes"
            raise ImageReadError(cause, "Copy it again.", code="truncated")
        self.first = struct.unpack(f"{self.order}{'Q' if self.big else 'I'}", head[8:16] if self.big else head[4:8])[0]
        self._count = struct.Struct(f"{self.order}{'Q' if self.big else 'H'}")
        self._next = struct.Struct(f"{self.order}{'Q' if self.big else 'I'}")
        self._tag = struct.Struct(f"{self.order}HH{'Q8s' if self.big else 'I4s'}")
        self.tags_in_all = 0

    def entry(self, offset: int) -> tuple[Entry, int] | None:
        """Return the page at a place and the place of the next one; None when it is not all in the file."""
        self.stream.seek(offset)
        head = self.stream.read(self._count.size)
        if len(head) < self._count.size:
            return None
        number = self._count.unpack(head)[0]
        self.tags_in_all += number
        if number > _MOST_TAGS or self.tags_in_all > _MOST_TAGS_IN_ALL:
            cause = f"a page with {number:,} tags"
            raise ImageReadError(cause, "Copy the file again.", code="page_list")
        body = self.stream.read(number * self._tag.size + self._next.size)
        if len(body) < number * self._tag.size + self._next.size:
            return None
        tags = {
            code: self._values(kind, count, value)
            for code, kind, count, value in self._tag.iter_unpack(body[: -self._next.size])
            if code in _WANTED
        }
        numbers = {code: values[0] for code, values in tags.items() if code != SUB_IFDS}
        return Entry(offset, numbers, tags.get(SUB_IFDS, ())), self._next.unpack(body[-self._next.size :])[0]

    def _values(self, kind: int, count: int, value: bytes) -> tuple[int, ...]:
        if kind not in _CODES or not count:
            return (0,)
        count = min(count, _MOST_LEVELS)
        length = count * _SIZES[kind]
        if length > len(value):
            here = self.stream.tell()
            self.stream.seek(self._next.unpack(value)[0])
            value = self.stream.read(length)
            self.stream.seek(here)
            if len(value) < length:
                return (0,)
        return struct.unpack(f"{self.order}{count}{_CODES[kind]}", value[:length])


def walk(stream: BinaryIO, size: int) -> Chain:
    """Follow the list of pages of a TIFF; takes time and memory in proportion to its honest part only.

    Parameters
    ----------
    stream : at the start of the file.
    size : of the file in bytes.

    Raises
    ------
    ImageReadError : the list loops ("page_loop"), is too long ("too_many_pages"), or names no page at all.
    """
    walker = _Walker(stream, size)
    entries: list[Entry] = []
    seen: set[int] = set()
    offset, cut = walker.first, ""
    while offset:
        if offset in seen:
            cause = f"the page list loops: page {len(entries)} names an earlier one as the next"
            raise ImageReadError(cause, "Save the image anew.", code="page_loop")
        if len(entries) >= MOST_PAGES:
            cause = f"more than {MOST_PAGES:,} pages"
            raise ImageReadError(cause, "Split the stack into files.", code="too_many_pages")
        seen.add(offset)
        found = walker.entry(offset) if offset < size else None
        if found is None:
            cut = f"page {len(entries) + 1} lies beyond the end of the file"
            break
        entries.append(found[0])
        offset = found[1]
    if not entries:
        raise ImageReadError(cut or "it has no pages", "Copy the file again.", code="truncated" if cut else "no_pages")
    _refuse_sub_loops(entries, seen)
    return Chain(entries, cut)


def sub_entry(stream: BinaryIO, size: int, offset: int) -> Entry:
    """Read the smaller copy of a page at a place that its page names."""
    stream.seek(0)
    found = _Walker(stream, size).entry(offset) if 0 < offset < size else None
    if found is None:
        cause = "a smaller copy lies beyond the end of the file"
        raise ImageReadError(cause, "Copy it again.", code="truncated")
    return found[0]


def _refuse_sub_loops(entries: list[Entry], seen: set[int]) -> None:
    for number, entry in enumerate(entries):
        if seen.intersection(entry.sub_pages):
            cause = f"the page list loops: page {number + 1} names a page as its own smaller copy"
            raise ImageReadError(cause, "Save the image anew.", code="page_loop")
