"""The steps of a training that every task shares: go on with earlier work or refuse it, and write the model folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import pandas as pd
from torch import nn

from bagscope.engine.card_file import load_card_as
from bagscope.engine.failures import Failure, write_failures
from bagscope.engine.loaded import CardT
from bagscope.engine.loop import Fitted
from bagscope.engine.model_folder import save_model
from bagscope.engine.model_readme import model_readme
from bagscope.engine.origin import origin
from bagscope.engine.plan import Plan, refuse_other
from bagscope.engine.run import Run
from bagscope.errors import ModelError
from bagscope.files.run_names import CARD, HISTORY, PLAN, README, RESUME, SPLIT
from bagscope.files.writer import write_atomic
from bagscope.tables.frames import csv_bytes
from bagscope.tables.splits import groups_of
from bagscope.tables.table import Screen


def finished_card(folder: Path, plan: Plan, kind: type[CardT], run: Run[Any]) -> CardT | None:
    """Return the card of a model that is finished already; None when it has to be trained, by this plan.

    Raises
    ------
    ModelError : the model there, or the unfinished training, has other rows, files or settings.
    """
    if (folder / CARD).is_file():
        card = load_card_as(folder, kind)
        if card.training.get("plan") != plan.fingerprint:
            cause = "the model there was trained on other rows or files, or with other settings"
            fix = "Name another folder with -o, or replace it with --overwrite."
            raise ModelError(cause, fix, code="changed", file=folder)
        shutil.rmtree(folder / RESUME, ignore_errors=True)
        run.events.say(f"{folder} is finished already")
        return card
    if run.target.resume:
        refuse_other(folder / RESUME / PLAN, plan)
    plan.save(folder / RESUME / PLAN)
    return None


@dataclass(frozen=True)
class Trained(Generic[CardT]):
    """A trained network on its way to a model folder.

    rows : signatures of the rows of each part, by which they are recognised when they are scored.
    extra : what the card's `training` holds for this task alone. files : further files of the folder, by name.
    """

    network: nn.Module
    card: CardT
    fitted: Fitted
    rows: Mapping[str, Sequence[str]]
    extra: Mapping[str, Any]
    files: Mapping[str, bytes]


def write_model(
    folder: Path, trained: Trained[CardT], plan: Plan, run: Run[Any], failed: tuple[Screen, Sequence[Failure]]
) -> CardT:
    """Write a model folder, its card last, and remove the states that a resumed training would have needed.

    Parameters
    ----------
    failed : the screen, and its rows that could not be used.
    """
    fitted = trained.fitted
    training = trained.card.training | {
        "kept_step": fitted.best_step,
        "rows": {part: sorted(signatures) for part, signatures in trained.rows.items()},
        "plan": plan.fingerprint,
        "warnings": list(run.warnings),
        **trained.extra,
    }
    card = trained.card.model_copy(update={"training": training})
    write_failures(folder, *failed, run.events)
    write_atomic(folder / HISTORY, csv_bytes(pd.DataFrame(fitted.history)))
    for name, content in trained.files.items():
        write_atomic(folder / name, content)
    write_atomic(folder / README, model_readme(card))
    card = save_model(folder, trained.network, card)
    shutil.rmtree(folder / RESUME, ignore_errors=True)
    return card


def created(run: Run[Any], bf16: bool) -> dict[str, Any]:
    """Return what the card says of its making: versions, time, command, device, number format and seed."""
    made = {"device": str(run.device), "precision": "bf16" if bf16 else "fp32", "seed": run.job.seed}
    return origin() | made


def split_file(rows: pd.DataFrame, split_by: str, parts: Sequence[str]) -> dict[str, bytes]:
    """Return split.csv, by its name: the group and the part of each row.

    Parameters
    ----------
    rows : of the screen that were trained or validated on. split_by : column whose groups are never cut.
    parts : (R,) part of each row.
    """
    table = rows[["row", "plate", "well", "site", "label"]].reset_index(drop=True)
    return {SPLIT: csv_bytes(table.assign(group=groups_of(rows, split_by), split=parts))}
