"""Label super-resolution on real images: which share of what pixel labels teach is learned from block labels."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bagscope.engine.events import SILENT, Events
from bagscope.files.folder import claimed
from bagscope.files.writer import write_atomic
from bagscope.reproduce import superres_data as data
from bagscope.reproduce import superres_measures as measures
from bagscope.reproduce import superres_runs as one_run
from bagscope.reproduce.ledger import RESULTS, RUNS, TABLE, Ledger
from bagscope.reproduce.order import Order
from bagscope.reproduce.superres_labels import Coarse, coarse_labels
from bagscope.reproduce.superres_text import DEFAULTS, PICTURE, compared, panel, text

FILES = "sets"
REGIMES = {"fluorescence": ("none", "middle", "strong", "real"), "histology": ("none", "real"),
           "glands": ("none", "real")}  # fmt: skip
SEEDS, FIVE = 1, ("default", "hard", "supervised")
SEEDS_OF_FIVE = 5
# These learn nothing and are judged once, or for as many tables as the default.
OF_PIXELS, OF_TABLE = ("otsu", "everything", "oracle_blocks"), ("lowres",)
QUICK_STEPS = 6
_SECONDS = 24  # of a training on two quiet cores; only told, never relied on


def reproduce(order: Order, events: Events) -> Path:
    """Run the experiment; see `run_experiment`."""
    ledger = Ledger(order.out, order.name, order.protocol())
    wanted = _wanted(order)
    asked = [(name, seed) for name in wanted for seed in range(_seeds(name, order))]
    with claimed(order.out, (RUNS, RESULTS, TABLE, FILES, PICTURE), finished=TABLE, resume=True):
        every = dict.fromkeys([*asked, *((name, seed) for name in wanted for seed in range(SEEDS_OF_FIVE))])
        known = {key: ledger.find(*key) for key in every}
        # Runs of more seeds that an earlier call made by the same protocol stay in the tables.
        runs = {key: found for key, found in known.items() if key in asked or found is not None}
        missing = [key for key, found in runs.items() if found is None]
        trainings = sum(name.split("/")[0] not in (*OF_PIXELS, *OF_TABLE) for name, _ in missing)
        minutes = trainings * (1 if order.quick else _SECONDS) / 60
        events.say(
            f"superres: {len(runs)} runs of {len(wanted)} settings, {len(missing)} still to do, {trainings} of them "
            f"trainings, about {max(1, minutes):.0f} minutes on two quiet cores; results go to {order.out}"
        )
        sets: dict[str, _Set] = {}

        def measure(name: str, seed: int) -> dict[str, float]:
            kind, of, regime = _parts(name)
            if of not in sets:
                sets[of] = _Set.read(of, order)
            own = sets[of]
            if name in one_run.TUNING:  # nothing is chosen on what is judged
                own = replace(own, judged=own.part_a)
            return _measured(kind, own, regime, seed, ledger.place(name, seed), order)

        runs |= ledger.complete(missing, measure, events)
        done = {key: found for key, found in runs.items() if found is not None}
        done = compared(done, ledger)
        _draw(done, ledger, order)
        ledger.write(done, text(order, done, data.SOURCES))
    return order.out


@dataclass(frozen=True)
class _Set:
    """Pictures of a set, numbers of those of part A, those to learn from, and those that are judged."""

    name: str
    found: list[data.Picture]
    part_a: list[int]
    learned: list[int]
    judged: list[int]

    @classmethod
    def read(cls, of: str, order: Order) -> _Set:
        """Read a set; with test data, parts A and B share all of the training data, and the others are judged."""
        found = data.pictures(of, order, order.data)
        if order.test_data is None:
            dealt = data.parts(found, data.SHARES)
            return cls(of, found, dealt["A"], dealt["B"], dealt["C"])
        whole = data.SHARES["A"] + data.SHARES["B"]
        dealt = data.parts(found, {name: data.SHARES[name] / whole for name in ("A", "B")})
        more = data.pictures(of, order, order.test_data)
        return cls(of, [*found, *more], dealt["A"], dealt["B"], list(range(len(found), len(found) + len(more))))

    @cached_property
    def pictures(self) -> list[data.Picture]:
        """What is judged."""
        return [self.found[at] for at in self.judged]


def _wanted(order: Order) -> list[str]:
    if order.only is not None and order.only.startswith("tuning"):
        return [name for name in one_run.TUNING if name.startswith(order.only)]
    return order.settings(_known(order))


def _known(order: Order) -> list[str]:
    if order.quick:
        return ["quick/histology", "supervised/histology", "lowres/histology", "otsu/histology"]
    names = []
    # What all methods are compared on comes first.
    for regime in ("none", "strong", "middle", "real"):
        for of in (of for of, regimes in REGIMES.items() if regime in regimes):
            kinds = [*one_run.METHODS, *OF_TABLE, *(OF_PIXELS if regime == "none" else ())]
            # Pixel labels have no noise: the ceiling of a set is that of all its regimes.
            names += [f"{kind}/{of}" + ("" if regime == "none" else f"_{regime}") for kind in kinds
                      if regime == "none" or kind != "supervised"]  # fmt: skip
    return names


def _parts(name: str) -> tuple[str, str, str]:
    kind, of = name.split("/")
    of, _, regime = of.partition("_")
    return kind, of, regime or "none"


def _seeds(name: str, order: Order) -> int:
    kind = name.split("/")[0]
    if order.quick or kind in OF_PIXELS or kind.startswith("tuning"):
        return 1
    return order.seeds or (SEEDS_OF_FIVE if kind in FIVE else SEEDS)


def _measured(kind: str, of: _Set, regime: str, seed: int, place: Path, order: Order) -> dict[str, float]:
    """Make the maps of one method, and hold them against pixel labels; keep what comparisons need."""
    values: dict[str, float] = {}
    calibrated = None
    if kind in OF_PIXELS:
        maps, more = _of_pixels(kind, of)
        values |= more
    else:
        known = coarse_labels(of.found, of.part_a, regime, seed)
        values |= {"table_r2": known.explained, "classifier_noise": known.level}
        if kind in OF_TABLE:
            maps = measures.of_blocks(of.pictures, lambda at: _told(known, of.judged[at]))
        else:
            maps, calibrated, more = _of_network(kind, of, known, seed, place, order)
            values |= more
    values |= measures.map_measures(maps, of.pictures)
    if calibrated is not None:
        values["masked_iou_calibrated"] = measures.map_measures(calibrated, of.pictures)["masked_iou"]
    one_run.keep(place, maps, of.pictures)
    return values


def _of_pixels(kind: str, of: _Set) -> tuple[list[np.ndarray], dict[str, float]]:
    if kind == "everything":
        return measures.everything(of.pictures), {}
    if kind == "oracle_blocks":
        return measures.of_blocks(of.pictures, lambda at: data.cut(of.pictures[at])[2]), {}
    # Of four thresholds the one that fits the judged pictures best: more than a user could know.
    tried = measures.otsu(of.pictures)
    each = {name: measures.map_measures(maps, of.pictures) for name, maps in tried.items()}
    best = max(each, key=lambda name: each[name]["masked_iou"])
    narrow = max(one["masked_iou_narrow"] for one in each.values())
    return tried[best], {
        "best_narrow": narrow,
        **{f"masked_iou:{name}": one["masked_iou"] for name, one in each.items()},
    }


def _told(known: Coarse, at: int) -> np.ndarray:
    """Mean share by the table of a picture's blocks; that of the whole table where it has no row."""
    mean = dict(zip(known.table.coarse, known.table.mean[:, 1], strict=True))
    return np.array([mean.get(name, float(known.table.mean[:, 1].mean())) for name in known.classes[at]])


def _of_network(
    kind: str, of: _Set, known: Coarse, seed: int, place: Path, order: Order
) -> tuple[list[np.ndarray], list[np.ndarray], dict[str, float]]:
    pictures = order.out / FILES / (of.name + ("_test" if order.test_data else ""))
    one_run.write_pictures(pictures, of.found)
    one_run.write_screen(place, pictures.absolute(), of.found, of.learned, known)
    own = one_run.METHODS.get(kind) or one_run.TUNING.get(f"{kind}/{of.name}", {})
    choices: dict[str, Any] = {**own, "device": order.device, "threads": order.threads}
    if order.quick:
        choices["training.steps"] = QUICK_STEPS
    began = time.monotonic()
    model = one_run.trained(place, choices, seed, SILENT)
    seconds = time.monotonic() - began
    said = one_run.maps_of(model, of.pictures)
    limit = model.card.limits[1] if model.card.limits else 0.5
    shutil.rmtree(place / "model", ignore_errors=True)
    told = {"train_seconds": seconds, "table_threshold": limit}
    calibrated = [p >= limit for p in said]
    # As maps.threshold = auto decides.
    by_table = kind in DEFAULTS and known.table.is_weak(model.card.training["blocks"])
    return calibrated if by_table else [p > 0.5 for p in said], calibrated, told


def _draw(done: Mapping[tuple[str, int], Mapping[str, float]], ledger: Ledger, order: Order) -> None:
    """Draw a judged picture of each set beside its maps."""
    rows = {}
    for of in data.SETS:
        kept = {kind: one_run.kept(ledger.place(f"{kind}/{of}", 0)) for kind in
                ("lowres", "hard", "default", "quick", "supervised") if (f"{kind}/{of}", 0) in done}  # fmt: skip
        maps = {kind: one["first"] for kind, one in kept.items() if one is not None}
        if maps:
            at = _Set.read(of, order)
            rows[of] = (at.pictures[0], maps)
    if rows:
        write_atomic(order.out / PICTURE, panel(rows))
