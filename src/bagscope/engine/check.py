"""All that is wrong with a screen, at once: what the table says and what the files say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from bagscope.engine import header_findings, pixel_findings
from bagscope.engine.inputs import channels_of, fields_of
from bagscope.engine.mask_findings import mask_problems
from bagscope.errors import BagscopeError, ImageReadError, Problem, TableError
from bagscope.files.field import FieldFiles, read_field_header
from bagscope.files.reader import Header
from bagscope.files.worker import DecodingWorker
from bagscope.settings.sections import ImagesSection, TableSection
from bagscope.tables import confounding
from bagscope.tables.labels import label_conflicts, training_problems
from bagscope.tables.splits import groups_of, split_problems
from bagscope.tables.table import Screen, parse_screen
from bagscope.tables.values import label_parts
from bagscope.tables.wells import NO_WELL, well_keys

Purpose = Literal["train", "score"]
Found = TypeVar("Found")
_SHOWN = 20
# Headers are waited for more than worked on; on a network drive this is what hides the waiting.
_THREADS = 8
_OF_LABELS = ("two_labels", "none_and_class", "reserved_label")
_WORDS = {"refuse": "error", "list": "left out", "warn": "warning"}


@dataclass(frozen=True)
class CheckReport:
    """What a check found; goes through its problems when iterated.

    Parameters
    ----------
    problems : refusals first, then rows that would be listed, then warnings.
    screen : the rows; None when the table could not be read at all.
    headers : position of the row -> header of its field (or volume, or blocks), for the rows that can be used.
    listed : positions of the rows that would go to failures.csv.
    notes : sentences on what is there.
    """

    problems: tuple[Problem, ...]
    screen: Screen | None = None
    headers: Mapping[int, Any] = field(default_factory=dict)
    listed: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    def __len__(self) -> int:
        return len(self.problems)

    @property
    def refused(self) -> tuple[Problem, ...]:
        """Return the problems that stop the work."""
        return tuple(problem for problem in self.problems if problem.severity == "refuse")

    def refuse(self) -> None:
        """Stop when something is refused.

        Raises
        ------
        TableError : with what is refused, and then the rows that would be listed, which are often why.
        """
        if self.refused or self.screen is None:
            raise TableError([problem for problem in self.problems if problem.severity != "warn"])

    @property
    def exit_code(self) -> int:
        """2 when the work would be refused, 3 when rows would be listed, else 0."""
        severities = {problem.severity for problem in self.problems}
        return 2 if "refuse" in severities else 3 if "list" in severities else 0

    def classes(self) -> dict[str, tuple[int, int]]:
        """Return per class the number of wells and of fields that name it; "" stands for rows without a label."""
        if self.screen is None:
            return {}
        rows = self.screen.rows
        fields: Counter[str] = Counter()
        wells: dict[str, set[tuple[str, str, str]]] = {}
        for well, label in zip(well_keys(rows), rows["label"], strict=True):
            for part in label_parts(label) or ("",):
                fields[part] += 1
                wells.setdefault(part, set()).add(well)
        return {name: (len(wells[name]), fields[name]) for name in sorted(fields)}

    def summary(self) -> str:
        """Say it all for people: what is there, then the problems."""
        return "\n".join([*self.notes, *self.findings()])

    def findings(self) -> list[str]:
        """Return the problems for people: the first 20 of each kind, then a count."""
        lines = []
        for severity, word in _WORDS.items():
            found = [problem for problem in self.problems if problem.severity == severity]
            lines += [f"{word}: {problem}" for problem in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"{word}: … and {len(found) - _SHOWN:,} more")
        return lines


@dataclass(frozen=True)
class Checking:
    """How a screen of images is checked.

    purpose : `train` also asks of labels, groups and splits what training needs.
    pixels : decode every image and mask: finds broken data, equal and empty pictures, masks of another size.
    minimum_px : smallest image that the network takes, in pixels of the images.
    split_by : column whose groups stay together.
    labels : column of the labels; the checks of classes and wells are for `label` alone.
    io_timeout : seconds that decoding one image may take.
    """

    purpose: Purpose = "train"
    pixels: bool = False
    minimum_px: int = 0
    split_by: str = ""
    labels: str = "label"
    io_timeout: float = 120


def check_fields(
    screen: Screen | Path | str, table: TableSection, images: ImagesSection, how: Checking | None = None
) -> CheckReport:
    """List every problem of a screen of images; reads headers, and pixels only where asked.

    Parameters
    ----------
    screen : a table's path, or a screen that was read before.
    table, images : how the table and the images are read.
    how : default: headers alone, for training.

    Raises
    ------
    Nothing on bad content: all of it is in the report.
    """
    how = how or Checking()
    found, problems = read_table(screen, table)
    if found is None:
        return CheckReport(tuple(problems))
    file = str(found.path or "")
    headers, more = _headers(found, images, _unusable(found, problems), file)
    problems += more
    pad = images.pad != "none"
    # What a model needs is compared with the model; training takes what most images have.
    is_training = how.purpose == "train"
    problems += header_findings.from_headers(
        found.rows, headers, file, minimum_px=0 if pad else how.minimum_px, channel_counts=is_training
    )
    usable = _usable(found, headers, problems)
    # Its process starts with the first file that is decoded: most checks decode none.
    with closing(DecodingWorker(how.io_timeout)) as worker:
        if how.pixels:
            seen, more = _decoded(found, images, usable, file, worker)
            problems += more
            problems += pixel_findings.pixel_problems(
                found.rows, seen, file, training=is_training and how.labels == "label"
            )
            usable = _usable(found, headers, problems)
            twins = pixel_findings.equal_pixels(seen)
            problems += mask_problems(found, {at: headers[at] for at in usable}, worker)
        else:
            twins = _equal_files(found, images, usable, worker)
    labels = found.rows[how.labels].tolist() if how.labels in found.rows else [""] * len(found)
    problems += pixel_findings.twin_problems(found.rows, labels, twins, file, refuse=is_training)
    if is_training and how.labels == "label":
        problems += _for_training(found, headers, usable, table, how.split_by, problems)
    else:
        problems = [_softened(problem) for problem in problems]
    if is_training:
        problems += _wanted_channels(found, {at: headers[at] for at in usable}, images, file)
    if len(found) and not usable:
        cause, fix = f"none of the {len(found):,} rows can be used", "Mend what is listed; most rows say the same."
        problems.append(Problem("refuse", "nothing_usable", cause, fix, file))
    return _report(found, problems, headers, usable)


def read_table(screen: Screen | Path | str, table: TableSection) -> tuple[Screen | None, list[Problem]]:
    """Read a table as far as possible, or take a screen that was read before; tell what is wrong with it."""
    if isinstance(screen, Screen):
        return screen, [*screen.warnings, *_conflicts(screen, table)]
    return parse_screen(
        screen,
        root=table.root or None,
        label_level=table.label_level,
        allow_outside=table.allow_outside,
        well_free_text=table.well_free_text,
    )


def _conflicts(screen: Screen, table: TableSection) -> list[Problem]:
    return label_conflicts(screen.rows, str(screen.path or "")) if table.label_level == "well" else []


def _unusable(screen: Screen, problems: list[Problem]) -> set[int]:
    """Return positions of the rows whose files are not to be opened."""
    lines = {
        problem.row
        for problem in problems
        if problem.severity != "warn" and problem.column.startswith("image") and problem.row
    }
    return {at for at, line in enumerate(screen.rows["row"]) if line in lines}


def _usable(screen: Screen, headers: Mapping[int, Header], problems: list[Problem]) -> list[int]:
    listed = {problem.row for problem in problems if problem.severity == "list"}
    return [at for at in sorted(headers) if int(screen.rows["row"].iloc[at]) not in listed]


def _headers(
    screen: Screen, images: ImagesSection, left_out: set[int], file: str
) -> tuple[dict[int, Header], list[Problem]]:
    fields = fields_of(screen, images)
    positions = [at for at in range(len(screen)) if at not in left_out]

    def one(at: int) -> Header | Problem:
        return _tried(lambda: read_field_header(fields[at]), screen, at, file)

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(one, positions))
    headers = {at: header for at, header in zip(positions, found, strict=True) if isinstance(header, Header)}
    return headers, [problem for problem in found if isinstance(problem, Problem)]


def _tried(read: Callable[[], Found], screen: Screen, at: int, file: str) -> Found | Problem:
    try:
        return read()
    except ImageReadError as error:
        said = error.problem
        cause = f"{Path(said.file).name}: {said.cause}" if said.file else said.cause
        line = int(screen.rows["row"].iloc[at])
        return replace(said, severity="list", cause=cause, file=file, row=line, column=said.column or "image")


def _decoded(
    screen: Screen, images: ImagesSection, positions: list[int], file: str, worker: DecodingWorker
) -> tuple[dict[int, pixel_findings.Seen], list[Problem]]:
    """Decode the fields one by one; one that cannot be decoded is a problem of its row."""
    fields = fields_of(screen, images)
    seen: dict[int, pixel_findings.Seen] = {}
    problems = []
    for at in positions:
        found = _tried(partial(worker.read, fields[at]), screen, at, file)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            seen[at] = pixel_findings.look(found)
    return seen, problems


def _equal_files(
    screen: Screen, images: ImagesSection, positions: list[int], worker: DecodingWorker
) -> list[list[int]]:
    fields: list[FieldFiles] = fields_of(screen, images)

    def is_constant(at: int) -> bool:
        pixels = pixel_findings.read_or_none(lambda: worker.read(fields[at]))
        return pixels is None or pixel_findings.look(pixels).constant

    planes = {at: fields[at].selection for at in positions}
    return pixel_findings.equal_files({at: screen.files(at) for at in positions}, planes, is_constant)


def _for_training(
    screen: Screen,
    headers: Mapping[int, Header],
    usable: list[int],
    table: TableSection,
    split_by: str,
    so_far: list[Problem],
) -> list[Problem]:
    """Ask what training needs of the rows that are left."""
    file = str(screen.path or "")
    problems = files_missing(so_far, screen, table)
    # With no row left the labels are still worth a look: all faults are told in one run.
    rows = screen.rows.iloc[usable] if usable else screen.rows
    try:
        groups = groups_of(rows, split_by)
    except BagscopeError as error:
        return [*problems, replace(error.problem, file=file)]
    unit = split_by or ("group" if any(rows["group"]) else "well" if (rows["well"] != NO_WELL).any() else "image")
    left = len(screen) - len(rows)
    told = f" (not counting {left:,} rows that cannot be used)" if left else ""
    units = groups.tolist()
    lacking = training_problems(rows["label"].tolist(), units, rows["row"].tolist(), file, unit)
    problems += [replace(problem, cause=problem.cause + told) for problem in lacking]
    problems += split_problems(rows, split_by, file)
    found = confounding.of_table(rows, units)
    if usable:
        found += confounding.of_files(rows, units, header_findings.file_properties(headers, usable))
    return problems + confounding.problems(found, file, table.force)


def files_missing(so_far: Sequence[Problem], screen: Screen, table: TableSection) -> list[Problem]:
    """Refuse a screen that more files are missing of than training may go on without."""
    # A mask that is gone is only warned of: its row is scored without cells.
    missing = {problem.row for problem in so_far if problem.code == "missing_file" and problem.severity == "list"}
    if len(missing) <= table.max_missing * len(screen):
        return []
    cause = f"the files of {len(missing):,} of {len(screen):,} rows are missing"
    fix = (
        "Mount the folder, name it with --set table.root=FOLDER, remove these rows from the table, or go on without "
        "them with --set table.max_missing=SHARE."
    )
    return [Problem("refuse", "files_missing", cause, fix, str(screen.path or ""))]


def _wanted_channels(screen: Screen, headers: Mapping[int, Header], images: ImagesSection, file: str) -> list[Problem]:
    if not images.channels or not headers:
        return []
    try:
        channels_of(screen, headers, images.channels)
    except BagscopeError as error:
        return [replace(error.problem, file=file)]
    return []


def _softened(problem: Problem) -> Problem:
    """Scoring needs no labels: what is wrong with them is only said."""
    return replace(problem, severity="warn") if problem.code in _OF_LABELS else problem


def _report(screen: Screen, problems: list[Problem], headers: Mapping[int, Header], usable: list[int]) -> CheckReport:
    order = {severity: at for at, severity in enumerate(_WORDS)}
    problems = sorted(dict.fromkeys(problems), key=lambda problem: order[problem.severity])
    lines = {problem.row for problem in problems if problem.severity == "list"}
    listed = frozenset(at for at, line in enumerate(screen.rows["row"]) if line in lines)
    report = CheckReport(tuple(problems), screen, {at: headers[at] for at in usable}, listed)
    rows = screen.rows
    wells = len(set(well_keys(rows)))
    table = f"delimiter {screen.delimiter}, " if screen.delimiter else ""
    notes = [f"{table}{len(rows):,} rows, plates: {rows['plate'].nunique()}, wells: {wells}"]
    counts = [f"{name or '(no label)'} {w:,} wells, {f:,} fields" for name, (w, f) in report.classes().items()]
    notes.append(f"classes: {'; '.join(counts)}")
    return replace(report, notes=(*notes, *header_findings.notes(report.headers)))
