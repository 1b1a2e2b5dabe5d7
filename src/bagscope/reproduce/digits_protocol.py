"""By which rules the cluttered digits are drawn, learned from and compared: all of them chosen on sets not reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bagscope.files.writer import write_atomic, write_ome_tiff
from bagscope.synth.digits import Clutter, Glyphs, draw_set
from bagscope.tables.frames import csv_bytes
from bagscope.tables.table import Screen, make_screen, read_screen

CHANNEL = "digits"
PER_CLASS, NEGATIVES = 50, 50
TEST_PER_CLASS, TEST_ZEROS = 10, 5
SETS = (1, 2, 3)
# Streams of chance: fields to learn from, to be judged, of zeros alone, without overlap, single digits.
LEARN, JUDGE, ZEROS, SPACED, CROPS = range(5)
# Sets that choices are made on are drawn from other digits: the last 10,000 of MNIST's training part.
TUNING_SET = 901
HELD_BACK = 10_000

COMMON = {
    "validation": 0.0,
    "scale.cell_diameter": "off",
    "augment.dihedral": False,
    "augment.gain": 0.2,
    "augment.scale": 0.1,
    "augment.background": 0.0,
    "network.dropout_last": 0.0,
    "training.crop": 255,
    "training.steps": 220,
    "training.save_every": 10_000,
}
SECOND = {
    "self_training.cells": "parts",
    "self_training.within_label": True,
    "self_training.rounds": 2,
    "self_training.fields": 160,
    "self_training.steps": 100,
    "self_training.rate": 3e-3,
    "self_training.mix": 0.5,
    "self_training.sure": 0.5,
}
ALONE = {"self_training.steps": 0}

POOLINGS: Mapping[str, Mapping[str, Any]] = {
    "noisy_and_10": {"pooling.name": "noisy_and", "pooling.a": 10},
    "noisy_and_5": {"pooling.name": "noisy_and", "pooling.a": 5},
    "noisy_and_7.5": {"pooling.name": "noisy_and", "pooling.a": 7.5},
    "lse_1": {"pooling.name": "lse", "pooling.r": 1},
    "lse_2.5": {"pooling.name": "lse", "pooling.r": 2.5},
    "lse_5": {"pooling.name": "lse", "pooling.r": 5},
    "gm_1": {"pooling.name": "gm", "pooling.r": 1},
    "gm_2.5": {"pooling.name": "gm", "pooling.r": 2.5},
    "gm_5": {"pooling.name": "gm", "pooling.r": 5},
    "max": {"pooling.name": "max"},
    "noisy_or": {"pooling.name": "noisy_or"},
    "isr": {"pooling.name": "isr"},
    "attention": {"pooling.name": "attention"},
}
# What every pooling may choose: the highest learning rate and the bias that the class maps start with.
GRID = {
    "0.005_-3": {"training.rate": 5e-3, "network.bias": -3.0},
    "0.002_-3": {"training.rate": 2e-3, "network.bias": -3.0},
    "0.005_-6": {"training.rate": 5e-3, "network.bias": -6.0},
}
TUNING_STEPS = 100
# The place of the grid at which each made the fewest errors (then the smallest loss) on the tuning set:
# `bagscope reproduce digits --only tuning`.
CHOSEN: Mapping[str, str] = {
    "noisy_and_10": "0.005_-3",
    "noisy_and_5": "0.005_-6",
    "noisy_and_7.5": "0.005_-6",
    "lse_1": "0.005_-3",
    "lse_2.5": "0.005_-3",
    "lse_5": "0.005_-6",
    "gm_1": "0.005_-3",
    "gm_2.5": "0.005_-3",
    "gm_5": "0.002_-3",
    "max": "0.005_-3",
    "noisy_or": "0.005_-3",
    "isr": "0.005_-3",
    "attention": "0.005_-6",
}


@dataclass(frozen=True)
class Setting:
    """One model of the experiment.

    pooling : of `POOLINGS`. number : of the generated set. per_class, negatives : fields learned from.
    second : whether it learns once more from single digits. grid : place of `GRID`. steps : None for the usual ones.
    """

    pooling: str
    number: int
    per_class: int = PER_CLASS
    negatives: int = NEGATIVES
    second: bool = False
    grid: str = CHOSEN["noisy_and_10"]
    steps: int | None = None

    def choices(self) -> dict[str, Any]:
        """Return the settings of training."""
        steps = {} if self.steps is None else {"training.steps": self.steps}
        return {**COMMON, **POOLINGS[self.pooling], **GRID[self.grid], **(SECOND if self.second else ALONE), **steps}


def all_settings() -> dict[str, Setting]:
    """Name every model that the experiment holds, the default first."""
    found = {f"default/set{n}": Setting("noisy_and_10", n, second=True) for n in SETS}
    found |= {f"paper/set{n}": Setting("noisy_and_10", n, negatives=0) for n in SETS}
    for name in POOLINGS:
        if name != "noisy_and_10":
            found[name] = Setting(name, 1, grid=CHOSEN[name])
    for count in (5, 10, 25):
        found[f"curve_{count}/set1"] = Setting("noisy_and_10", 1, per_class=count, negatives=count)
    return found


def tuning_settings() -> dict[str, Setting]:
    """Name every place of the grid, for every pooling, on the set that choices are made on."""
    return {
        f"tuning/{name}/{place}": Setting(name, TUNING_SET, grid=place, steps=TUNING_STEPS)
        for name in POOLINGS
        for place in GRID
    }


def fields_to_learn(setting: Setting, glyphs: Glyphs, folder: Path) -> Screen:
    """Draw the labelled fields of a setting, or take those that were drawn before, as a screen."""
    place = folder / f"set{setting.number}_{setting.per_class}_{setting.negatives}"
    table = place / "screen.csv"
    if not table.is_file():
        drawn = draw_set(glyphs, [11, setting.number, LEARN], setting.per_class, negatives=setting.negatives)
        place.mkdir(parents=True, exist_ok=True)
        names = [f"field_{number:03d}.ome.tif" for number in range(len(drawn))]
        for name, one in zip(names, drawn, strict=True):
            write_ome_tiff(place / name, one.pixels[None], channel_names=(CHANNEL,), compression="zlib")
        wells = [f"field {number:03d}" for number in range(len(drawn))]
        columns = {"image": names, "plate": [place.name] * len(names), "well": wells}
        screen, _ = make_screen({**columns, "label": [one.label for one in drawn]}, place, well_free_text=True)
        write_atomic(table, csv_bytes(screen.rows[["image", "plate", "well", "label"]]))
    return read_screen(table, well_free_text=True)


def fields_to_judge(number: int, glyphs: Glyphs, per_class: int, *, spaced: bool = False) -> list[Clutter]:
    """Draw the fields that models are judged on."""
    return draw_set(glyphs, [11, number, SPACED if spaced else JUDGE], per_class, spaced=spaced)


def fields_of_zeros(number: int, glyphs: Glyphs, count: int) -> list[Clutter]:
    """Draw fields in which no class is."""
    return draw_set(glyphs, [11, number, ZEROS], 0, negatives=count)


def chance_of_crops(number: int) -> np.random.Generator:
    """Return the chance that places single digits in their crops."""
    return np.random.default_rng([11, number, CROPS])
