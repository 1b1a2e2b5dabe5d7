"""Classes that a table names, and the target of each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bagscope.errors import BagscopeError, Problem, shown
from bagscope.tables.spelling import some_lines
from bagscope.tables.values import label_parts
from bagscope.tables.wells import NO_WELL

NONE = "none"


@dataclass(frozen=True)
class Vocabulary:
    """The classes, whether some row is labelled `none`, and whether a row may have several classes."""

    classes: tuple[str, ...]
    none: bool
    several: bool


def classes_of(labels: Iterable[str] | pd.DataFrame) -> tuple[tuple[str, ...], bool]:
    """Return the classes in sorted order, and whether some row is labelled `none` (no class applies).

    Parameters
    ----------
    labels : label cells, or the rows of a screen; empty ones are not counted, `;` joins several classes.
    """
    parts = {part for label in _cells(labels) for part in label_parts(label)}
    return tuple(sorted(parts - {NONE})), NONE in parts


def several_labels(labels: Iterable[str] | pd.DataFrame) -> bool:
    """Tell whether some row has more than one class at once."""
    return any(len(label_parts(label)) > 1 for label in _cells(labels))


def vocabulary_of(labels: Iterable[str] | pd.DataFrame) -> Vocabulary:
    """Return the classes that labels name, whether one is `none`, and whether one names several classes."""
    cells = _cells(labels)
    classes, none = classes_of(cells)
    return Vocabulary(classes, none, several_labels(cells))


def targets(labels: Iterable[str] | pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Return per row and class whether the label names it.

    Returns
    -------
    (R, K) float32, 0 or 1; a row labelled `none`, or not labelled, is all 0.

    Raises
    ------
    BagscopeError : a label names a class that is not among `classes`.
    """
    place = {name: at for at, name in enumerate(classes)}
    cells = _cells(labels)
    result = np.zeros((len(cells), len(classes)), dtype=np.float32)
    for row, label in enumerate(cells):
        for part in label_parts(label):
            if part == NONE:
                continue
            if part not in place:
                cause = f"the label {shown(part)} is none of the classes {', '.join(map(shown, classes))}"
                raise BagscopeError(cause, "Leave the row out, or train with it.", code="unknown_label")
            result[row, place[part]] = 1
    return result


def unknown_labels(labels: Iterable[str] | pd.DataFrame, classes: Sequence[str]) -> dict[str, int]:
    """Count the rows per label that is none of these classes."""
    known = {*classes, NONE}
    counts: dict[str, int] = {}
    for label in _cells(labels):
        for part in label_parts(label):
            if part not in known:
                counts[part] = counts.get(part, 0) + 1
    return counts


def label_conflicts(rows: pd.DataFrame, file: str) -> list[Problem]:
    """Find wells whose fields have different labels; empty labels do not count, rows without a well neither."""
    seen: dict[tuple[str, str], tuple[str, int]] = {}
    conflicts: dict[tuple[str, str], Problem] = {}
    for plate, well, label, line in zip(rows["plate"], rows["well"], rows["label"], rows["row"], strict=True):
        if not label or well == NO_WELL:
            continue
        first, at = seen.setdefault((plate, well), (label, line))
        if set(label_parts(first)) != set(label_parts(label)) and (plate, well) not in conflicts:
            cause = f"well {well} of plate {shown(plate)} has two labels, {shown(first)} (row {at}) and {shown(label)}"
            fix = "Give each well one label, or choose --set table.label_level=image."
            conflicts[plate, well] = Problem("refuse", "two_labels", cause, fix, file, int(line), "label")
    return list(conflicts.values())


def training_problems(
    labels: Sequence[str], groups: Sequence[str], lines: Sequence[int], file: str = "", unit: str = "well"
) -> list[Problem]:
    """Find what makes training impossible: no label, a single class, a class that only one group has.

    Parameters
    ----------
    labels, groups, lines : per row: label, the group that is never cut, line of the table.
    unit : what a group is, for the message.
    """
    holders: dict[str, dict[str, int]] = {}
    for label, group, line in zip(labels, groups, lines, strict=True):
        for part in label_parts(label):
            holders.setdefault(part, {}).setdefault(group, line)
    if not holders:
        cause, fix = (
            "no row has a label",
            "Fill the column 'label', or join a plate map with `bagscope import --labels`.",
        )
        return [Problem("refuse", "no_label", cause, fix, file, None, "label")]
    if len(holders) == 1:
        ((name, held),) = holders.items()
        cause = f"1 class ({name}, {len(held)} {unit}(s)); at least 2"
        fix = "Label rows of another class, or 'none' where no class applies."
        return [Problem("refuse", "one_class", cause, fix, file, None, "label")]
    problems = []
    for name, held in sorted(holders.items()):
        if len(held) < 2:
            ((group, line),) = held.items()
            cause = (
                f"class {shown(name)} has 1 {unit}, {shown(group)} ({some_lines([line])}); "
                f"each class needs >= 2 {unit}s to be tested, >= 4 for a validation part"
            )
            fix = "Label more of it, merge it with another class, or clear its labels."
            problems.append(Problem("refuse", "lonely_class", cause, fix, file, line, "label"))
    return problems


def _cells(labels: Iterable[str] | pd.DataFrame) -> list[str]:
    return labels["label"].tolist() if isinstance(labels, pd.DataFrame) else list(labels)
