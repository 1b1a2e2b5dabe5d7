"""Which rows train and which watch: a group never stands on two sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bagscope.errors import Problem, SettingsError, nearest, shown
from bagscope.tables.labels import classes_of
from bagscope.tables.values import label_parts
from bagscope.tables.wells import well_keys

Texts = Sequence[str] | np.ndarray

TRAIN, VALIDATION, TEST = "train", "validation", "test"
OF_NO_FOLD = -1
# With fewer groups left to learn from, a watching part costs more than it tells.
LEAST_TRAINING_GROUPS = 3
_SHOWN_GROUPS = 5


@dataclass(frozen=True)
class Parts:
    """Part of each row (`train`, `validation`, `test`, or "" for a row without a label), and what to say of it."""

    parts: np.ndarray
    notes: tuple[str, ...]


def groups_of(rows: pd.DataFrame, by: str = "") -> np.ndarray:
    """Name the group of each row: rows of one well, of one `group`, or of one value of `by` belong together.

    What is joined by any of them is one group, so that a patient on two plates keeps both together.
    A row without well, group and `by` is a group of its own.

    Parameters
    ----------
    rows : of a screen.
    by : column whose values are never cut either: `plate`, or one of the user's own.

    Raises
    ------
    SettingsError : there is no such column, or it is empty.
    """
    if by and (by not in rows or not any(rows[by].astype(str))):
        cause = f"split by '{by}': the table has no such column, or it is empty{nearest(by, map(str, rows.columns))}"
        raise SettingsError(cause, "Name a filled column, e.g. --split-by plate.", code="bad_split_by")
    columns = ["group"] + ([by] if by and by != "group" else [])
    nodes: dict[tuple[str, ...], int] = {}
    parent: list[int] = []
    names: list[str] = []

    def node(key: tuple[str, ...], name: str) -> int:
        if key not in nodes:
            nodes[key] = len(parent)
            parent.append(len(parent))
            names.append(name)
        return nodes[key]

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    first = []
    records = rows[list(dict.fromkeys(["row", *columns]))].to_dict("records")
    for record, key in zip(records, well_keys(rows), strict=True):
        named = [node((name, str(record[name])), str(record[name])) for name in columns if str(record[name])]
        plate, well, alone = key
        named.append(node(("", *key), f"row {record['row']}" if alone else f"{plate}/{well}"))
        for other in named[1:]:
            parent[root(other)] = root(named[0])
        first.append(named[0])
    return np.array([names[root(at)] for at in first], dtype=object)


def bags_of_rows(rows: pd.DataFrame, by: str, split_by: str = "") -> list[tuple[str, ...]]:
    """Tell what bag each row is of: its image, its well (see `well_keys`), or its group.

    Parameters
    ----------
    rows : of a screen. by : "well", "group" (see `groups_of`), or "image" and "shape", which no row shares.
    """
    if by == "group":
        return [(group,) for group in groups_of(rows, split_by)]
    if by == "well":
        return list(well_keys(rows))
    return [(f"row {line}",) for line in rows["row"]]


def mixed_bags(rows: pd.DataFrame, by: str, split_by: str, file: str) -> list[Problem]:
    """Refuse bags whose rows have several labels: a bag has one, and no row's is better than another's."""
    held: dict[tuple[str, ...], dict[str, int]] = {}
    for bag, label, line in zip(bags_of_rows(rows, by, split_by), rows["label"], rows["row"], strict=True):
        if label:
            held.setdefault(bag, {}).setdefault(str(label), int(line))
    mixed = {bag: lines for bag, lines in held.items() if len(lines) > 1}
    if not mixed:
        return []
    bag, lines = next(iter(mixed.items()))
    name = "/".join(part for part in bag if part)
    told = ", ".join(f"{shown(label)} in line {line}" for label, line in list(lines.items())[:3])
    cause = f"bags.by={by}: {len(mixed)} bags have several labels, such as {shown(name)} ({told})"
    fix = "Give all rows of a bag one label, or choose smaller bags with --set bags.by=image or shape."
    return [Problem("refuse", "mixed_bags", cause, fix, file, min(lines.values()), "label")]


def split_by_group(labels: Texts, groups: Texts, share: float, seed: int) -> np.ndarray:
    """Set whole groups apart for validation, so that every class has its share of them.

    Depends on labels, groups and seed alone, not on the order of the rows. When some class could not
    keep three groups to train on and give one, all rows train.

    Parameters
    ----------
    labels : (R,) text, classes joined by `;`, "" = not labelled.
    groups : (R,) ids.
    share : of the groups, in [0, 1).

    Returns
    -------
    (R,) `train` or `validation`.
    """
    held = _classes_of_groups(labels, groups)
    chosen = _validation_groups(held, share, seed) if share > 0 else set()
    return np.array([VALIDATION if str(group) in chosen else TRAIN for group in groups], dtype=object)


def _validation_groups(held: dict[str, frozenset[str]], share: float, seed: int) -> set[str]:
    total = _count(held, held)
    rng = np.random.default_rng(seed)
    chosen: set[str] = set()
    taken = dict.fromkeys(total, 0)
    for name in sorted(total, key=lambda c: (total[c], c)):
        wanted = max(1, round(share * total[name]))
        members = sorted(group for group, classes in held.items() if name in classes and group not in chosen)
        for at in rng.permutation(len(members)):
            group = members[at]
            spare = all(total[c] - taken[c] > LEAST_TRAINING_GROUPS for c in held[group])
            if taken[name] < wanted and spare:
                chosen.add(group)
                for c in held[group]:
                    taken[c] += 1
    return chosen if all(taken.values()) else set()


def fold_numbers(rows: pd.DataFrame, by: str, k: int, seed: int) -> np.ndarray:
    """Return the fold of each row of a screen, `OF_NO_FOLD` for rows that the table keeps for testing; see `folds`.

    Raises
    ------
    SettingsError : as `folds` and `groups_of`.
    """
    numbers = np.full(len(rows), OF_NO_FOLD)
    open_rows = (rows["split"] != TEST).to_numpy()
    own = rows[open_rows]
    numbers[open_rows] = folds(own["label"].tolist(), groups_of(own, by).tolist(), k, seed)
    return numbers


def folds(labels: Texts, groups: Texts, k: int, seed: int) -> np.ndarray:
    """Deal whole groups into k folds, so that every class is spread over as many folds as it can.

    Depends on labels, groups and seed alone, not on the order of the rows.

    Returns
    -------
    (R,) fold from 0 to k - 1; -1 where no row of the group is labelled.

    Raises
    ------
    SettingsError : k < 2, fewer labelled groups than folds, or a class that only one group has.
    """
    held = _classes_of_groups(labels, groups)
    total = _count(held, held)
    if k < 2 or k > len(held):
        cause = f"{k} folds of {len(held)} labelled groups"
        raise SettingsError(cause, "Choose between 2 folds and one per group.", code="bad_folds")
    lonely = sorted(name for name, count in total.items() if count < 2)
    if lonely:
        cause = f"class {shown(lonely[0])} has 1 group: the fold that holds it would be judged without having seen it"
        raise SettingsError(cause, "Label more of it, or split by a finer column.", code="lonely_class")
    rng = np.random.default_rng(seed)
    fold_of: dict[str, int] = {}
    sizes = np.zeros(k, dtype=int)
    of_class = {name: np.zeros(k, dtype=int) for name in total}
    for name in sorted(total, key=lambda c: (total[c], c)):
        members = sorted(group for group, classes in held.items() if name in classes and group not in fold_of)
        for at in rng.permutation(len(members)):
            fold = int(np.lexsort((np.arange(k), sizes, of_class[name]))[0])
            fold_of[members[at]] = fold
            sizes[fold] += 1
            for c in held[members[at]]:
                of_class[c][fold] += 1
    return np.array([fold_of.get(str(group), -1) for group in groups], dtype=int)


def _classes_of_groups(labels: Texts, groups: Texts) -> dict[str, frozenset[str]]:
    held: dict[str, set[str]] = {}
    for label, group in zip(labels, groups, strict=True):
        parts = label_parts(label)
        if parts:
            held.setdefault(str(group), set()).update(parts)
    return {group: frozenset(classes) for group, classes in held.items()}


def _count(held: dict[str, frozenset[str]], among: dict[str, frozenset[str]] | set[str]) -> dict[str, int]:
    total: dict[str, int] = {}
    for group in among:
        for name in held[group]:
            total[name] = total.get(name, 0) + 1
    return total


def assign_parts(rows: pd.DataFrame, by: str = "", share: float = 0.2, seed: int = 0) -> Parts:
    """Give each labelled row its part: the user's `split` where the table has one, else by group.

    A table that names `train` rows but no `validation` rows gives a share of its `train` groups.

    Raises
    ------
    SettingsError : `by` is no filled column.
    """
    groups = groups_of(rows, by)
    labels = rows["label"].to_numpy(dtype=object)
    own = rows["split"].to_numpy(dtype=object)
    labelled = np.array([bool(label_parts(label)) for label in labels])
    parts = np.where(labelled, TRAIN, "").astype(object)
    if any(own):
        parts = np.where(labelled, own, "").astype(object)
    open_rows = np.flatnonzero(parts == TRAIN)
    notes = []
    if not (parts == VALIDATION).any() and share > 0 and len(open_rows):
        parts[open_rows] = split_by_group(labels[open_rows], groups[open_rows], share, seed)
        if not (parts == VALIDATION).any():
            notes.append(
                f"No validation part: every class would have to keep {LEAST_TRAINING_GROUPS} groups to train on "
                "and give one; training runs all its steps and does not stop early."
            )
    kinds = [part for part in (TRAIN, VALIDATION, TEST) if (parts == part).any()]
    sets = {part: set(groups[parts == part]) for part in kinds}
    shared = len(_shared(parts, groups))
    counts = " / ".join(f"{len(held)} {part}" for part, held in sets.items())
    notes.append(f"{shared} groups shared ({counts}).")
    return Parts(parts, tuple(notes))


def _shared(parts: Texts, groups: Texts) -> dict[str, list[int]]:
    """Return groups that stand on two sides, with the positions of their rows."""
    sides: dict[str, set[str]] = {}
    positions: dict[str, list[int]] = {}
    for at, (part, group) in enumerate(zip(parts, groups, strict=True)):
        if part:
            sides.setdefault(str(group), set()).add(part)
            positions.setdefault(str(group), []).append(at)
    return {group: positions[group] for group, on in sides.items() if len(on) > 1}


def split_problems(rows: pd.DataFrame, by: str = "", file: str = "") -> list[Problem]:
    """Find what is wrong with the user's own `split` column: cut groups, gaps, a training part without a class."""
    own = rows["split"].tolist()
    if not any(own):
        return []
    problems = []
    lines = rows["row"].tolist()
    cut = _shared(own, groups_of(rows, by))
    if cut:
        listed = ", ".join(shown(group) for group in list(cut)[:_SHOWN_GROUPS])
        cause = (
            f"{len(cut)} group(s) stand on two sides of the split: {listed}{' …' if len(cut) > _SHOWN_GROUPS else ''}"
        )
        fix = "Give all rows of a well, and of a group, one part; the column 'group' says what belongs together."
        at = next(iter(cut.values()))[0]
        problems.append(Problem("refuse", "group_cut", cause, fix, file, lines[at], "split"))
    gaps = [line for line, part, label in zip(lines, own, rows["label"], strict=True) if label and not part]
    if gaps:
        cause = f"{len(gaps)} labelled row(s) have no part although others have"
        fix = "Give each of them train, validation or test, or clear their labels."
        problems.append(Problem("refuse", "split_gap", cause, fix, file, gaps[0], "split"))
    train, none = classes_of(label for label, part in zip(rows["label"], own, strict=True) if part == TRAIN)
    every, every_none = classes_of(rows)
    absent = sorted(set(every) - set(train)) + (["none"] if every_none and not none else [])
    if len(train) + none < 2:
        cause = f"the part 'train' has {len(train) + none} class(es); at least 2"
        problems.append(
            Problem("refuse", "one_class", cause, "Give rows of each class to 'train'.", file, None, "split")
        )
    elif absent:
        cause = f"the part 'train' has no row of {', '.join(map(shown, absent))}: the model will not know it"
        problems.append(Problem("warn", "class_not_trained", cause, "Give it rows in 'train'.", file, None, "split"))
    return problems
