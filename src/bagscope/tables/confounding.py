"""How well the label can be told without looking at the pixels: from plate, place or file properties alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bagscope.errors import Problem
from bagscope.tables.wells import NO_WELL, well_name, well_place

# Half of what guessing the commonest class leaves wrong: less is common by chance, more is worth a look.
_TELLING = 0.5
FILE_PROPERTIES = ("file type", "dtype")


@dataclass(frozen=True)
class Confounding:
    """One property: how often it alone gives the label, against guessing the commonest label."""

    name: str
    accuracy: float
    majority: float
    separates: bool

    @property
    def telling(self) -> bool:
        """True when it removes at least half of the errors of guessing the commonest label."""
        return self.majority < 1 and (self.accuracy - self.majority) >= _TELLING * (1 - self.majority)

    def sentence(self) -> str:
        """Say it for people."""
        return (
            f"{self.name} alone predicts the label: {self.accuracy:.2f} (majority {self.majority:.2f}); "
            f"the result cannot tell class from {self.name}"
        )


def predictability(name: str, labels: Sequence[str], values: Sequence[str], units: Sequence[str]) -> Confounding:
    """Measure how often the label of a unit follows from one property of it.

    Each unit (well) is predicted by the commonest label among the *other* units with the same value,
    or among all others where no other has it: a value of its own for every well, such as a file date,
    therefore predicts nothing. Ties count in part.

    Parameters
    ----------
    labels, values, units : per row: label ("" rows are left out), value of the property, id of the unit.
    """
    label_of: dict[str, Counter[str]] = {}
    value_of: dict[str, Counter[str]] = {}
    for label, value, unit in zip(labels, values, units, strict=True):
        if label:
            label_of.setdefault(str(unit), Counter())[label] += 1
            value_of.setdefault(str(unit), Counter())[value] += 1
    pairs = [(label_of[unit].most_common(1)[0][0], value_of[unit].most_common(1)[0][0]) for unit in label_of]
    if not pairs:
        return Confounding(name, 0.0, 1.0, separates=False)
    every = Counter(label for label, _ in pairs)
    of_value: dict[str, Counter[str]] = {}
    for label, value in pairs:
        of_value.setdefault(value, Counter())[label] += 1
    right = sum(_share_right(label, of_value[value], every) for label, value in pairs)
    pure = len(of_value) > 1 and len(every) > 1 and all(len(counts) == 1 for counts in of_value.values())
    # One value per well tells nothing; a property separates classes when its values are shared within them.
    repeated = len(of_value) < len(pairs)
    majority = max(every.values()) / len(pairs)
    return Confounding(name, right / len(pairs), majority, separates=pure and repeated)


def _share_right(label: str, counts: Counter[str], every: Counter[str]) -> float:
    own = Counter({label: 1})
    left = (counts - own) or (every - own)
    if not left:
        return 0.0
    most = max(left.values())
    winners = [name for name, count in left.items() if count == most]
    return 1 / len(winners) if label in winners else 0.0


def of_table(rows: pd.DataFrame, units: Sequence[str]) -> list[Confounding]:
    """Measure plate (when there are several), plate row and plate column."""
    labels = rows["label"].tolist()
    places = [well_place(well) if well != NO_WELL else None for well in rows["well"]]
    found = []
    if rows["plate"].nunique() > 1:
        found.append(predictability("plate", labels, rows["plate"].tolist(), units))
    if all(places):
        letters = [well_name(place[0], 1)[:-2] for place in places if place]
        numbers = [str(place[1]) for place in places if place]
        if len(set(letters)) > 1:
            found.append(predictability("plate row", labels, letters, units))
        if len(set(numbers)) > 1:
            found.append(predictability("plate column", labels, numbers, units))
    return found


def of_files(rows: pd.DataFrame, units: Sequence[str], properties: Mapping[str, Sequence[str]]) -> list[Confounding]:
    """Measure properties of the files, one text per row and property; those with one value tell nothing."""
    labels = rows["label"].tolist()
    return [
        predictability(name, labels, list(values), units) for name, values in properties.items() if len(set(values)) > 1
    ]


def problems(found: Sequence[Confounding], file: str = "", force: bool = False) -> list[Problem]:
    """Turn findings into warnings; a file type or dtype that separates the classes is refused unless `force`."""
    result = []
    for one in found:
        if one.separates and one.name in FILE_PROPERTIES and not force:
            fix = "Save all images in one way, or train nevertheless with --set table.force=true."
            result.append(Problem("refuse", "confounded", one.sentence(), fix, file, None, "label"))
        elif one.telling or (one.separates and one.name in FILE_PROPERTIES):
            fix = "Spread the classes over it, or judge the result by data where they are."
            result.append(Problem("warn", "confounded", one.sentence(), fix, file, None, "label"))
    return result
