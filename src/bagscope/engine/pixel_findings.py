"""Which files hold the same picture under two names, and which hold no picture at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.errors import ImageReadError, Problem, Severity, shown
from bagscope.tables.values import label_parts

# Uncompressed files of one camera all have one size: a look at both ends tells nearly all of them apart.
_END = 1 << 16
SATURATED_SHARE = 0.05
BRIGHTNESS_JUMP = 4


@dataclass(frozen=True)
class Seen:
    """What was seen in a field's pixels: a hash, (C,) least and largest values, share at the type's maximum."""

    digest: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    saturated: float
    equal_channels: bool

    @property
    def constant(self) -> bool:
        """True when no channel has any contrast."""
        return self.low == self.high


def look(pixels: np.ndarray) -> Seen:
    """Sum up the (C, H, W) pixels of a field."""
    # A field may fill half the memory: nothing here makes a second one of it.
    digest = hashlib.blake2b(f"{pixels.dtype.str}{pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else np.inf
    low, high = pixels.min((1, 2)), pixels.max((1, 2))
    equal = len(pixels) > 1 and all(np.array_equal(pixels[0], other) for other in pixels[1:])
    saturated = sum(np.count_nonzero(line == top) for channel in pixels for line in channel) / pixels.size
    return Seen(digest.hexdigest(), tuple(low.tolist()), tuple(high.tolist()), saturated, equal)


def equal_files(
    files: Mapping[int, Sequence[Path]], planes: Mapping[int, Hashable], is_constant: Callable[[int], bool]
) -> list[list[int]]:
    """Group the rows that share a file's content under different names.

    Pictures without contrast are left out: many cameras give the same black.

    Parameters
    ----------
    files : position of the row -> its files.
    planes : position of the row -> which plane of them it means; other planes are other pictures.
    is_constant : says of a row whether its pixels have no contrast; asked only of rows with a twin.
    """
    by_size: dict[int, list[tuple[int, Path]]] = {}
    for at, paths in files.items():
        for path in paths:
            by_size.setdefault(_size(path), []).append((at, path))
    groups: list[list[int]] = []
    for same_size in by_size.values():
        for same_ends in _grouped(same_size, _ends):
            for twins in _grouped(same_ends, _whole):
                for rows in _of_one_plane(sorted({at for at, _ in twins}), planes):
                    if len(rows) > 1 and rows not in groups and not is_constant(rows[0]):
                        groups.append(rows)
    return groups


def _of_one_plane(rows: list[int], planes: Mapping[int, Hashable]) -> Iterable[list[int]]:
    found: dict[Hashable, list[int]] = {}
    for at in rows:
        found.setdefault(planes[at], []).append(at)
    return found.values()


def _size(path: Path) -> int:
    # A file that went away since its header was read is reported where it is read; here it has no twin.
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _grouped(items: list[tuple[int, Path]], digest: Callable[[Path], bytes]) -> Iterable[list[tuple[int, Path]]]:
    if len(items) < 2:
        return
    found: dict[bytes, list[tuple[int, Path]]] = {}
    for at, path in items:
        try:
            found.setdefault(digest(path), []).append((at, path))
        except OSError:
            continue  # as in _size
    yield from (group for group in found.values() if len(group) > 1)


def _ends(path: Path) -> bytes:
    with path.open("rb") as stream:
        first = stream.read(_END)
        stream.seek(max(0, path.stat().st_size - _END))
        return hashlib.blake2b(first + stream.read(_END), digest_size=16).digest()


def _whole(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest()


def equal_pixels(seen: Mapping[int, Seen]) -> list[list[int]]:
    """Group the rows whose decoded pixels are equal, however they were stored; constant ones are left out."""
    found: dict[str, list[int]] = {}
    for at, one in seen.items():
        if not one.constant:
            found.setdefault(one.digest, []).append(at)
    return [rows for rows in found.values() if len(rows) > 1]


def twin_problems(
    rows: pd.DataFrame, labels: Sequence[str], groups: Iterable[Sequence[int]], file: str, *, refuse: bool
) -> list[Problem]:
    """Report rows that hold the same picture under two names.

    Two labelled wells with one picture leak training data into the evaluation; with `refuse` they are refused. Other
    groups are warned of.

    Parameters
    ----------
    labels : (R,) what counts as the label of each row, "" for none.
    """
    problems = []
    for group in groups:
        places = {(rows["plate"].iloc[at], rows["well"].iloc[at], rows["split"].iloc[at]) for at in group}
        labelled = all(labels[at] for at in group)
        lines = [int(rows["row"].iloc[at]) for at in group]
        image = next(name for name in rows.columns if name.startswith("image"))
        names = " and ".join(shown(rows[image].iloc[at]) for at in group[:2])
        wells = " and ".join(dict.fromkeys(f"{rows['plate'].iloc[at]}/{rows['well'].iloc[at]}" for at in group[:2]))
        cause = f"{names} hold the same picture (rows {', '.join(map(str, lines[:5]))}; {wells})"
        fix = "Keep one of them: a picture on both sides of a split is known by heart."
        severity: Severity = "refuse" if refuse and labelled and len(places) > 1 else "warn"
        problems.append(Problem(severity, "same_pixels", cause, fix, file, lines[1]))
    return problems


def pixel_problems(rows: pd.DataFrame, seen: Mapping[int, Seen], file: str, *, training: bool) -> list[Problem]:
    """Report fields without contrast, saturated ones, copies of one channel, and jumps of brightness in a plate."""
    problems = []
    for at, one in seen.items():
        line = int(rows["row"].iloc[at])
        flat = [c for c, (low, high) in enumerate(zip(one.low, one.high, strict=True)) if low == high]
        if one.constant:
            cause = f"constant: every pixel is {one.low[0]:g}"
            problems.append(Problem("warn", "constant", cause, "It is kept; look at the well.", file, line))
        elif flat:
            cause = f"channel {flat[0] + 1} of {len(one.low)} is constant: every pixel is {one.low[flat[0]]:g}"
            problems.append(Problem("warn", "constant_channel", cause, "It is kept; look at it.", file, line))
        if one.saturated > SATURATED_SHARE:
            cause = f"saturated: {one.saturated:.0%} of the pixels have the largest value of their type"
            problems.append(Problem("warn", "saturated", cause, "Expose less.", file, line))
    if seen and all(one.equal_channels for one in seen.values()):
        cause = "all channels of every image are equal: grey pictures saved as colour"
        problems.append(Problem("warn", "equal_channels", cause, "Read them as one with --set images.gray=true.", file))
    problems += _jumps(rows, seen, file)
    constant = {at: one.constant for at, one in seen.items()}
    return problems + (empty_classes(rows, constant, file) if training else [])


def _jumps(rows: pd.DataFrame, seen: Mapping[int, Seen], file: str) -> list[Problem]:
    plates: dict[str, list[tuple[float, int]]] = {}
    for at, one in seen.items():
        if not one.constant:
            plates.setdefault(rows["plate"].iloc[at], []).append((max(one.high), at))
    problems = []
    for plate, tops in plates.items():
        (low, at), (high, other) = min(tops), max(tops)
        if low > 0 and high > BRIGHTNESS_JUMP * low:
            lines = [int(rows["row"].iloc[i]) for i in (at, other)]
            cause = f"plate {plate!r}: the brightest pixel is {low:g} in row {lines[0]} and {high:g} in row {lines[1]}"
            fix = "Make sure that all were taken and saved with one scale."
            problems.append(Problem("warn", "brightness_jump", cause, fix, file, lines[1]))
    return problems


def is_constant(pixels: np.ndarray) -> bool:
    """Tell whether no channel of (C, H, W) pixels has any contrast."""
    return bool((pixels.min((1, 2)) == pixels.max((1, 2))).all())


def empty_classes(rows: pd.DataFrame, constant: Mapping[int, bool], file: str) -> list[Problem]:
    """Refuse each class, but for `none`, that shows nothing at all.

    Parameters
    ----------
    constant : of each row that was looked at, whether it has no contrast.
    """
    fields: dict[str, list[bool]] = {}
    for at, flat in constant.items():
        for part in label_parts(rows["label"].iloc[at]):
            fields.setdefault(part, []).append(flat)
    return [
        Problem("refuse", "empty_class", f"every image of class {shown(name)} ({len(flat)}) is constant",
                "Check how these images were exported, or clear their labels.", file, None, "label")
        for name, flat in fields.items() if all(flat) and name != "none"
    ]  # fmt: skip


def read_or_none(read: Callable[[], np.ndarray]) -> np.ndarray | None:
    """Return the pixels, or None where they cannot be read: then the row is reported elsewhere."""
    try:
        return read()
    except ImageReadError:
        return None
