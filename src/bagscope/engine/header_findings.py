"""What the headers of all files, side by side, say about a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from bagscope.errors import Problem
from bagscope.files.reader import Header
from bagscope.tables.spelling import some_lines

# Stage micrometers and binning round less than this; two objectives differ by far more.
PIXEL_SIZE_TOLERANCE = 0.02
_SHOWN_FILES = 3


def from_headers(
    rows: pd.DataFrame, headers: Mapping[int, Header], file: str, *, minimum_px: int = 0, channel_counts: bool = True
) -> list[Problem]:
    """Find what only shows when headers are compared.

    Parameters
    ----------
    rows : of the screen.
    headers : position of the row -> header, for the rows that have one.
    minimum_px : smallest height and width that the network takes, in pixels of the images; 0 = any.
    channel_counts : list images that have another number of channels than most.
    """
    return [
        *_small(rows, headers, file, minimum_px),
        *(_channel_counts(rows, headers, file) if channel_counts else []),
        *_channel_names(rows, headers, file),
        *_mixed(rows, headers, file, "dtype", lambda header: str(header.dtype)),
        *_mixed(rows, headers, file, "compression", lambda header: "lossy" if header.lossy else "lossless"),
        *_pixel_sizes(rows, headers, file),
        *_said_by_files(rows, headers, file),
    ]


def file_properties(headers: Mapping[int, Header], positions: Sequence[int]) -> dict[str, list[str]]:
    """Return, per property that must not tell the class, its value in each of these rows."""
    chosen = [headers[at] for at in positions]
    return {
        "file type": [header.kind for header in chosen],
        "dtype": [str(header.dtype) for header in chosen],
        "image size": [f"{header.height}x{header.width}" for header in chosen],
        "lossy compression": ["lossy" if header.lossy else "lossless" for header in chosen],
    }


def notes(headers: Mapping[int, Header]) -> list[str]:
    """Say in a few lines what the files are."""
    if not headers:
        return []
    every = list(headers.values())
    sizes = Counter(f"{h.height}x{h.width}" for h in every)
    kinds = Counter(f"{h.channels} channel(s) {h.dtype} {h.kind}, axes {h.axes}" for h in every)
    lines = [f"images: {_counted(sizes)} px; {_counted(kinds)}"]
    levels = max(h.levels for h in every)
    if levels > 1:
        lines.append(f"pyramids: {levels} levels, using 0 unless --set images.level says another")
    sizes_um = sorted({round(h.pixel_um, 4) for h in every if h.pixel_um})
    lines.append(
        f"pixel size: {', '.join(f'{um:g}' for um in sizes_um[:4])} um" if sizes_um else "pixel size: not given"
    )
    return lines


def _counted(counts: Counter[str]) -> str:
    shown = [f"{name} ({count:,})" for name, count in counts.most_common(_SHOWN_FILES)]
    more = len(counts) - _SHOWN_FILES
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _line(rows: pd.DataFrame, at: int) -> int:
    return int(rows["row"].iloc[at])


def _small(rows: pd.DataFrame, headers: Mapping[int, Header], file: str, minimum_px: int) -> list[Problem]:
    fix = "Leave it out, or enlarge small images with --set images.pad=reflect."
    return [
        Problem("list", "too_small", f"image {h.height}x{h.width}, the model needs >= {minimum_px} pixels each way",
                fix, file, _line(rows, at), "image")
        for at, h in headers.items() if min(h.height, h.width) < minimum_px
    ]  # fmt: skip


def _channel_counts(rows: pd.DataFrame, headers: Mapping[int, Header], file: str) -> list[Problem]:
    counts = Counter(header.channels for header in headers.values())
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    fix = "Leave these rows out, or split the table; RGB pictures of one grey channel: --set images.gray=true."
    return [
        Problem("list", "channel_count", f"{h.channels} channel(s) (axes {h.axes}), the other images have {usual}",
                fix, file, _line(rows, at), "image")
        for at, h in headers.items() if h.channels != usual
    ]  # fmt: skip


def _channel_names(rows: pd.DataFrame, headers: Mapping[int, Header], file: str) -> list[Problem]:
    named: dict[tuple[str, ...], list[int]] = {}
    for at, header in headers.items():
        named.setdefault(header.channel_names, []).append(_line(rows, at))
    if len(named) < 2:
        return []
    orders = "; ".join(f"{', '.join(names) or 'no names'} ({some_lines(at)})" for names, at in named.items())
    if () not in named and len({tuple(sorted(names)) for names in named}) == 1:
        fix = "They are put in one order by name."
    else:
        fix = "Those without fitting names are taken in the order of the file: make sure that it is the same."
    return [Problem("warn", "channel_names", f"the files name their channels differently: {orders}", fix, file)]


def _mixed(
    rows: pd.DataFrame, headers: Mapping[int, Header], file: str, what: str, value: Callable[[Header], str]
) -> list[Problem]:
    """Warn of each plate that mixes values; say how they meet the classes."""
    problems = []
    plates: dict[str, dict[str, list[int]]] = {}
    for at, header in headers.items():
        plates.setdefault(rows["plate"].iloc[at], {}).setdefault(value(header), []).append(at)
    for plate, values in plates.items():
        if len(values) < 2:
            continue
        parts = []
        for name, positions in sorted(values.items()):
            classes = Counter(rows["label"].iloc[at] or "not labelled" for at in positions)
            files = ", ".join(headers[at].path.name for at in positions[:_SHOWN_FILES])
            parts.append(f"{name} in {len(positions)} ({_counted(classes)}; {files}{', …' * (len(positions) > 3)})")
        cause = f"plate {plate!r} mixes {what}: {'; '.join(parts)}"
        fix = "Save all images of a plate in one way, or the class can be told from the file."
        problems.append(Problem("warn", f"mixed_{what}", cause, fix, file))
    return problems


def _pixel_sizes(rows: pd.DataFrame, headers: Mapping[int, Header], file: str) -> list[Problem]:
    known = {at: header.pixel_um for at, header in headers.items() if header.pixel_um}
    if not known:
        return []
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    if known[high] <= known[low] * (1 + PIXEL_SIZE_TOLERANCE):
        return []
    cause = f"pixels of {known[low]:g} um (row {_line(rows, low)}) and of {known[high]:g} um (row {_line(rows, high)})"
    fix = "Cells differ in size by as much: bring the images to one scale, or train on one of them."
    return [Problem("warn", "pixel_size", cause, fix, file, _line(rows, high))]


def _said_by_files(rows: pd.DataFrame, headers: Mapping[int, Header], file: str) -> list[Problem]:
    said: dict[str, list[int]] = {}
    for at, header in headers.items():
        for sentence in header.warnings:
            # The file's name would keep equal remarks apart.
            said.setdefault(sentence.replace(str(header.path), header.path.name), []).append(_line(rows, at))
    return [
        Problem("warn", "file_remark", f"{sentence} ({some_lines(lines)})", "", file, lines[0])
        for sentence, lines in said.items()
    ]
