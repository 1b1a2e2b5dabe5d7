"""How models learn cluttered digits from labels of whole fields, what they say of single digits, and where they look.

The one data set of Kraus, Ba and Frey (2016) that can be rebuilt from public images alone, and the truth of which is
known for every pixel.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bagscope.api import load, train
from bagscope.engine.events import Events
from bagscope.files.folder import claimed
from bagscope.files.writer import write_atomic
from bagscope.images.predict import Model
from bagscope.reproduce import digits_protocol as protocol
from bagscope.reproduce.digits_measures import (
    crop_measures,
    image_measures,
    place_measures,
    probe_measures,
    threshold_measures,
)
from bagscope.reproduce.digits_pictures import curves_picture, sample_picture
from bagscope.reproduce.digits_protocol import Setting
from bagscope.reproduce.digits_text import text
from bagscope.reproduce.ledger import RESULTS, RUNS, TABLE, Ledger
from bagscope.reproduce.order import Order
from bagscope.synth.digits import Glyphs, read_glyphs

DATA = "mnist"
SOURCE = "MNIST (LeCun, Cortes and Burges), https://huggingface.co/datasets/ylecun/mnist"
SEEDS, SEEDS_OF_OTHERS = 5, 1
CROPS_PER_DIGIT = 200
QUICK = ("default/set1", "paper/set1")
QUICK_STEPS, QUICK_PER_CLASS, QUICK_TEST = 30, 6, 1
PICTURES = ("pooling_curves.png", "sample.png")
SETS = "sets"
# Two cores; only told, never relied on.
_MINUTES = {"default": 1.6, "paper": 1.2}
_MINUTES_OF_OTHERS = 0.9


@dataclass(frozen=True)
class _Digits:
    """Single digits to draw training fields from, and those that models are judged on."""

    learn: Glyphs
    judge: Glyphs


def reproduce(order: Order, events: Events) -> Path:
    """Run the experiment; see `run_experiment`."""
    learned_from = order.folder(order.data, SOURCE, DATA)
    judged_on = order.folder(order.test_data, SOURCE, DATA) if order.test_data else learned_from
    wanted = _wanted(order)
    ledger = Ledger(order.out, order.name, order.protocol())
    with claimed(order.out, (RUNS, RESULTS, TABLE, SETS, *PICTURES), finished=TABLE, resume=True):
        asked = {(name, seed) for name in wanted for seed in range(_seeds(name, order))}
        seeds = max(SEEDS, *(_seeds(name, order) for name in wanted))
        known = {(name, seed): ledger.find(name, seed) for name in wanted for seed in range(seeds)}
        # Runs of more seeds that an earlier call made by the same protocol stay in the tables.
        runs = {key: found for key, found in known.items() if key in asked or found is not None}
        missing = [key for key, found in runs.items() if found is None]
        minutes = sum(_MINUTES.get(name.split("/")[0], _MINUTES_OF_OTHERS) for name, _ in missing)
        events.say(
            f"digits: {len(runs)} runs of {len(wanted)} settings, {len(missing)} still to do, "
            f"about {max(1, minutes * (0.25 if order.quick else 1)):.0f} minutes on two quiet cores; "
            f"results go to {order.out}"
        )
        digits = _Digits(read_glyphs(learned_from, "train"), read_glyphs(judged_on, "test"))

        def measure(name: str, seed: int) -> dict[str, float]:
            return _measure(digits, name, wanted[name], seed, ledger, order, events)

        runs |= ledger.complete(missing, measure, events)
        done = {key: found for key, found in runs.items() if found is not None}
        _draw(digits, done, ledger, order)
        ledger.write(done, text(order, done, SOURCE))
    return order.out


def _wanted(order: Order) -> dict[str, Setting]:
    if order.only is not None and order.only.split("/")[0] == "tuning":
        known = protocol.tuning_settings()
    else:
        known = protocol.all_settings()
        if order.quick:
            known = {name.replace("default/", "quick/"): known[name] for name in QUICK}
    return {name: known[name] for name in order.settings(list(known))}


def _seeds(name: str, order: Order) -> int:
    if order.quick or name.startswith("tuning/"):
        return 1
    return order.seeds or (SEEDS if name.startswith("default/") else SEEDS_OF_OTHERS)


def _measure(
    digits: _Digits, name: str, setting: Setting, seed: int, ledger: Ledger, order: Order, events: Events
) -> dict[str, float]:
    """Train one model, and hold it against fields and digits that it has not seen."""
    learn, judge = digits.learn, digits.judge
    if setting.number == protocol.TUNING_SET:
        learn, judge = learn.take(slice(0, -protocol.HELD_BACK)), learn.take(slice(-protocol.HELD_BACK, None))
    choices = setting.choices()
    per_class, judged = setting.per_class, protocol.TEST_PER_CLASS
    if order.quick:
        choices |= {"training.steps": QUICK_STEPS, "self_training.steps": min(5, choices["self_training.steps"])}
        setting = Setting(setting.pooling, setting.number, QUICK_PER_CLASS, min(setting.negatives, QUICK_PER_CLASS))
        per_class, judged = QUICK_PER_CLASS, QUICK_TEST
    screen = protocol.fields_to_learn(setting, learn, order.out / SETS)
    place = ledger.place(name, seed) / "model"
    began = time.monotonic()
    model = train(
        screen,
        place,
        seed=seed,
        device=order.device,
        threads=order.threads,
        overwrite=place.exists(),
        events=events,
        **choices,
    )
    values = {"train_seconds": time.monotonic() - began, "fields_per_class": float(per_class)}
    fields = protocol.fields_to_judge(setting.number, judge, judged)
    values |= image_measures(model, fields) | threshold_measures(model)
    if setting.number == protocol.TUNING_SET:
        shutil.rmtree(place, ignore_errors=True)
        return values
    rng = protocol.chance_of_crops(setting.number)
    values |= crop_measures(model, judge, CROPS_PER_DIGIT, rng)
    values |= probe_measures(model, protocol.fields_of_zeros(setting.number, judge, protocol.TEST_ZEROS))
    if name.split("/")[0] in ("default", "paper", "quick"):
        spaced = protocol.fields_to_judge(setting.number, judge, judged, spaced=True)
        values |= place_measures(model, fields, spaced)
    return values


def _draw(digits: _Digits, done: Mapping[tuple[str, int], Mapping[str, float]], ledger: Ledger, order: Order) -> None:
    """Draw the pooling curves with what was learned, and the maps of one model over a field of some classes."""
    own = [values for (name, _), values in done.items() if name.split("/")[0] in ("default", "quick")]
    if not own:
        return
    write_atomic(order.out / PICTURES[0], curves_picture(own))
    name, seed = next(key for key in done if key[0].split("/")[0] in ("default", "quick"))
    place = ledger.place(name, seed) / "model"
    if place.is_dir():
        fields = protocol.fields_to_judge(protocol.all_settings()["default/set1"].number, digits.judge, 1)
        write_atomic(order.out / PICTURES[1], sample_picture(cast(Model, load(place, order.device or "auto")), fields))
