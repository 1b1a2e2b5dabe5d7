"""Which labelled rows can be trained on: opened, read when they fit into memory, the bad ones set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from bagscope.engine.check import CheckReport
from bagscope.engine.events import Events
from bagscope.engine.failures import Failure, of_check
from bagscope.engine.inputs import Source, channels_of, make_source, signed_rows
from bagscope.engine.pixel_findings import empty_classes, is_constant
from bagscope.errors import TableError
from bagscope.files.memory import free_memory
from bagscope.files.worker import DecodingWorker
from bagscope.settings.jobs import ImagesJob
from bagscope.tables.labels import training_problems
from bagscope.tables.splits import groups_of
from bagscope.tables.table import Screen


@dataclass(frozen=True)
class Rows:
    """Labelled rows that can be read: their screen, what can be read of it, and (R,) signatures of their files."""

    screen: Screen
    source: Source
    signatures: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.signatures)

    @property
    def table(self) -> pd.DataFrame:
        """The rows, in the order of the source."""
        return self.screen.rows.iloc[self.source.positions]

    def take(self, chosen: np.ndarray) -> Rows:
        """Return some rows, by their place among these (positions, or one True or False per row)."""
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Rows(self.screen, self.source.take(chosen), tuple(self.signatures[i] for i in chosen))


def labelled_rows(
    report: CheckReport, job: ImagesJob, worker: DecodingWorker, events: Events
) -> tuple[Rows, list[Failure]]:
    """Open the labelled rows of a checked screen.

    Pixels that fit into a quarter of the free memory are read now, once; then bad files are found before
    any training. Else windows are read when they are needed.

    Raises
    ------
    TableError : too little is left to train on, or a class shows nothing at all.
    """
    screen = cast(Screen, report.screen)
    failures = of_check(screen, report.problems)
    labels = screen.rows["label"].tolist()
    headers = {at: header for at, header in report.headers.items() if labels[at]}
    channels = channels_of(screen, headers, job.images.channels)
    source, more = make_source(screen, headers, job.images, channels, worker, free_memory())
    source, signatures, unreadable = signed_rows(source, events)
    failures += [*more, *unreadable]
    rows = Rows(screen, source, signatures)
    refuse_untrainable(rows, job)
    store = source.store
    constant = {at: is_constant(store.whole(i)) for i, at in enumerate(source.positions.tolist())} if store.held else {}
    empty = empty_classes(screen.rows, constant, str(screen.path or ""))
    if empty:
        raise TableError(empty)
    return rows, failures


def refuse_untrainable(rows: Rows, job: ImagesJob) -> None:
    """Refuse rows of which too few are left.

    Raises
    ------
    TableError : no label, one class, or a class that only one group has.
    """
    table = rows.table
    groups = groups_of(table, job.split.by).tolist() if len(table) else []
    file = str(rows.screen.path or "")
    lacking = training_problems(table["label"].tolist(), groups, table["row"].tolist(), file)
    if lacking:
        raise TableError(lacking)
