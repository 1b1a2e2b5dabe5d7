"""How well shapes are told apart in 3D: sparse and dense networks, the traditional measures, and both together."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagscope.api import training_job
from bagscope.engine.compute import device_of, memory_kept, threads
from bagscope.engine.events import Events
from bagscope.engine.loaded import LoadedModel
from bagscope.engine.run import Run, Target
from bagscope.engine.states import Checkpoints
from bagscope.files.folder import claimed
from bagscope.files.worker import DecodingWorker
from bagscope.reproduce import shapes_data as data
from bagscope.reproduce.ledger import RESULTS, RUNS, TABLE, Ledger
from bagscope.reproduce.order import Order
from bagscope.reproduce.shapes_text import text
from bagscope.reproduce.shapes_turned import rotation_change
from bagscope.tables.labels import Vocabulary, vocabulary_of
from bagscope.tables.splits import OF_NO_FOLD, TEST, TRAIN, fold_numbers
from bagscope.volumes import fit as stage
from bagscope.volumes import folds
from bagscope.volumes.check import check_volumes
from bagscope.volumes.shape_compare import comparison

SETS = "sets"
FOLDS = 5
# One of each kind in an hour; the others when they are asked for.
BY_DEFAULT = ("adrenal28", "nuclei", "simulated")
# Runs of a setting that are looked for when the table is written, whatever was asked for this time.
_MOST_RUNS = 10
# Settings whose figures come from one run of a set, by what it calls them.
OF_ONE_RUN = {"default": "default", "sparse": "network", "morphometry": "measures", "six": "six"}
DENSE = {"network.name": "dense"}
QUICK_VOLUMES, QUICK_STEPS = 24, 4
# Two cores; only told, never relied on.
_MINUTES = {
    "adrenal28": 7,
    "adrenal64": 10,
    "nuclei": 18,
    "nuclei_unit_volume": 13,
    "simulated": 28,
    "simulated_blurred": 10,
}
_DENSE_MINUTES = 10


def reproduce(order: Order, events: Events) -> Path:
    """Run the experiment; see `run_experiment`."""
    ledger = Ledger(order.out, order.name, order.protocol())
    every = _settings(order)
    wanted = [name for name in order.settings(every) if order.only or order.quick or _by_default(name)]
    runs = [(name, seed) for name in wanted for seed in range(1 if order.quick else order.seeds or 1)]
    with claimed(order.out, (RUNS, RESULTS, TABLE, SETS), finished=TABLE, resume=True):
        known = {key: ledger.find(*key) for key in runs}
        missing = [key for key, found in known.items() if found is None]
        units = list(dict.fromkeys((_unit(name), seed) for name, seed in missing))
        minutes = sum(_DENSE_MINUTES if kind == "dense" else _MINUTES[of] for (kind, of), _ in units)
        events.say(
            f"shapes: {len(runs)} figures of {len(wanted)} settings, {len(missing)} still to do in {len(units)} runs, "
            f"about {max(1, minutes * (0.05 if order.quick else 1)):.0f} minutes on two quiet cores; "
            f"results go to {order.out}"
        )
        held: dict[str, stage.LabelledShapes] = {}
        for number, ((kind, of), seed) in enumerate(units, start=1):
            events.say(f"run {number} of {len(units)}: {kind}, {of}, seed {seed}")
            for setting, values in _measured(kind, of, seed, held, order, events).items():
                ledger.keep(setting, seed, values)
        made = {(name, seed): ledger.find(name, seed) for name in every for seed in range(_MOST_RUNS)}
        done = {key: found for key, found in made.items() if found is not None}
        ledger.write(done, text(order, done, data.SOURCES))
    return order.out


def _settings(order: Order) -> list[str]:
    sets = data.known_sets()
    known = [f"{kind}/{of}" for of in sets for kind in (*OF_ONE_RUN, "boosting")]
    known += [f"dense/{of}" for of in sets]
    if order.quick:
        # Where there is something to be judged at the end, the smoke run comes by it, too.
        of = "simulated" if order.test_data is None else "adrenal28"
        return [name.replace("default/", "quick/") for name in known if name.endswith(f"/{of}")]
    return known


def _by_default(name: str) -> bool:
    kind, of = name.split("/")
    return kind != "dense" and of in BY_DEFAULT


def _unit(name: str) -> tuple[str, str]:
    kind, of = name.split("/")
    return ("dense" if kind == "dense" else "all", of)


def _measured(
    kind: str, of: str, seed: int, held: dict[str, stage.LabelledShapes], order: Order, events: Events
) -> dict[str, dict[str, float]]:
    """Train on a set and judge what was held out; figures by setting."""
    few = QUICK_VOLUMES if order.quick else None
    shapes = data.shape_set(of, order, order.out / SETS, few)
    choices: dict[str, Any] = {
        **shapes.choices, "seed": seed, "validation": 0.0, "device": order.device, "threads": order.threads,
        "table.well_free_text": True, "table.label_level": "image",
    }  # fmt: skip
    if kind == "dense":
        choices |= DENSE
    if order.quick:
        choices |= {"training.steps": QUICK_STEPS, "training.batch": 4, "turns.views": 2}
    job = training_job("volumes", None, choices)
    with threads(job.compute.threads), memory_kept(), DecodingWorker(job.compute.io_timeout) as worker:
        run = Run(job, Target(order.out / "states"), device_of(job.compute), worker, events)
        if of not in held:
            held.clear()  # one set at a time is kept
            held[of] = _read(shapes, run)
        rows = held[of]
        began = time.monotonic()
        scores, model, away = _cross_validated(rows, shapes, run, seed)
        card = model.card
        seconds = time.monotonic() - began
        told = by_method(comparison(scores, card.outputs))
        drawn = partial(data.redrawn, of) if of.startswith("simulated") else None
        change = rotation_change(model.network, card, away, seed, drawn, few=order.quick)
    judged = rows.table["split"].to_numpy() == TEST
    with_test = order.test_data is not None and judged.any() and shapes.cross_validated
    tested = _tested(rows, run, seed) if with_test else {}
    named = {"dense": "network"} if kind == "dense" else {**OF_ONE_RUN, "boosting": "boosting"}
    result = {}
    for setting, method in named.items():
        one = told[method]
        values = {"auc_cv": one["auc"], "auc_cv_low": one["low"], "auc_cv_high": one["high"]}
        if setting in ("default", "sparse", "dense"):
            values |= {"train_seconds": seconds, "bags": one["bags"]} | {
                f"rotation_change{word}": value for word, value in change[method].items()
            }
        if setting != "default" and kind != "dense":
            values |= {"default_above": one["default_above"], "default_above_low": one["above_low"],
                       "default_above_high": one["above_high"]}  # fmt: skip
        if setting == "sparse":
            values |= _above_six(scores, card.outputs)
        if method in tested:
            values |= tested[method]
        key = f"{'quick' if order.quick and setting == 'default' else setting}/{of}"
        result[key] = {name: float(value) for name, value in values.items()}
    return result


def _above_six(scores: pd.DataFrame, outputs: tuple[str, ...]) -> dict[str, float]:
    """How far the network alone is above the six measures."""
    found = by_method(comparison(scores, outputs, ("network", "six")))["six"]
    return {"above_six": found["default_above"], "above_six_low": found["above_low"],
            "above_six_high": found["above_high"]}  # fmt: skip


def _read(shapes: data.ShapeSet, run: Run[Any]) -> stage.LabelledShapes:
    report = check_volumes(shapes.screen, run.job, run.job.volumes)
    report.refuse()
    rows, failures = stage.labelled_shapes(report, run)
    for failure in failures:
        run.events.warn(str(failure.problem))
    return rows


def _cross_validated(
    rows: stage.LabelledShapes, shapes: data.ShapeSet, run: Run[Any], seed: int
) -> tuple[pd.DataFrame, LoadedModel[Any], stage.LabelledShapes]:
    """Return the scores of bags by models that have not seen them, the last model, and the rows it has not seen."""
    classes = vocabulary_of(rows.table["label"].tolist())
    split = rows.table["split"].to_numpy()
    if shapes.cross_validated:
        numbers = fold_numbers(rows.table, "", FOLDS, seed)
        turns = [((numbers != OF_NO_FOLD) & (numbers != fold), numbers == fold) for fold in range(FOLDS)]
    else:
        turns = [(split == TRAIN, split == TEST)]
    tables = []
    for at, (seen, away) in enumerate(turns):
        model = _trained(rows, seen, classes, run, f"{seed} {at}")
        tables.append(folds.scored_fold(model, rows.take(seen), rows.take(away), run.job).assign(fold=at))
        run.events.progress("scored", at + 1, len(turns))
    return pd.concat(tables, ignore_index=True), model, rows.take(away)


def _trained(
    rows: stage.LabelledShapes, seen: np.ndarray, classes: Vocabulary, run: Run[Any], fingerprint: str
) -> LoadedModel[Any]:
    """Train a model on some rows."""
    checkpoints = Checkpoints(run.target.folder, fingerprint, run.target.resume)
    _, card, network = stage.fit_one(rows, np.where(seen, TRAIN, ""), classes, run, checkpoints)
    return LoadedModel(run.target.folder, network, card, run.device)


def _tested(rows: stage.LabelledShapes, run: Run[Any], seed: int) -> dict[str, dict[str, float]]:
    """Train on all of the training part, and score the rows that are reserved for testing."""
    split = rows.table["split"].to_numpy()
    model = _trained(rows, split == TRAIN, vocabulary_of(rows.table["label"].tolist()), run, f"{seed} test")
    card = model.card
    scores = folds.scored_fold(model, rows.take(split == TRAIN), rows.take(split == TEST), run.job)
    return {
        method: {"auc_test": row["auc"], "auc_test_low": row["low"], "auc_test_high": row["high"]}
        for method, row in by_method(comparison(scores.assign(fold=0), card.outputs)).items()
    }


def by_method(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Rows of a comparison as plain numbers."""
    rows = table.to_dict("records")
    return {str(row["method"]): {str(k): float(v) for k, v in row.items() if k != "method"} for row in rows}
