"""How volumes become a judge of shapes: read, described, gathered into bags; network and measures are fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bagscope.engine import loop
from bagscope.engine.check import CheckReport
from bagscope.engine.compute import Execution
from bagscope.engine.failures import Failure, of_check, of_error
from bagscope.engine.run import Run
from bagscope.engine.scoring import screen_of
from bagscope.engine.states import Checkpoints
from bagscope.errors import ImageReadError, TableError
from bagscope.nets.shape_judge import ShapeJudge
from bagscope.settings.jobs import VolumesJob
from bagscope.tables.labels import Vocabulary, targets, training_problems
from bagscope.tables.splits import TRAIN, VALIDATION, bags_of_rows, groups_of
from bagscope.volumes import setup
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.headers import KnownVolume
from bagscope.volumes.rows import RowShapes, shapes_of_row
from bagscope.volumes.samples import Bags


@dataclass(frozen=True)
class LabelledShapes:
    """Labelled rows and their shapes: table of the rows, what was found in each, and their volumes' spacing."""

    table: pd.DataFrame
    found: tuple[RowShapes, ...]
    spacings: tuple[tuple[float, float, float], ...]

    def __len__(self) -> int:
        return len(self.found)

    def take(self, chosen: np.ndarray) -> LabelledShapes:
        """Return some rows."""
        at = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return LabelledShapes(
            self.table.iloc[at], tuple(self.found[i] for i in at), tuple(self.spacings[i] for i in at)
        )


def labelled_shapes(report: CheckReport, run: Run[VolumesJob]) -> tuple[LabelledShapes, list[Failure]]:
    """Read the volumes of the labelled rows of a checked screen and find their shapes.

    Raises
    ------
    TableError : too little is left to train on.
    """
    screen, job, events = screen_of(report), run.job, run.events
    failures = of_check(screen, report.problems)
    positions = [at for at in sorted(report.headers) if screen.rows["label"].iloc[at]]
    found, kept, notes = [], [], 0
    for number, at in enumerate(positions, start=1):
        known: KnownVolume = report.headers[at]
        try:
            shapes = shapes_of_row(known, job.volumes, run.worker)
            found.append(shapes)
            kept.append(at)
            notes += bool(shapes.notes)
            if shapes.notes and notes <= 3:
                events.warn(f"{known.file.path.name}: {'; '.join(shapes.notes)}")
        except ImageReadError as error:
            failures.append(of_error(at, "read", error))
        events.progress("finding and measuring shapes", number, len(positions))
    if notes > 3:
        events.warn(f"the same or the like in {notes - 3} more volumes")
    table = screen.rows.iloc[kept]
    groups = groups_of(table, job.split.by).tolist() if len(table) else []
    lacking = training_problems(table["label"].tolist(), groups, table["row"].tolist(), str(screen.path or ""), "group")
    if lacking:
        raise TableError(lacking)
    spacings = tuple(report.headers[at].spacing for at in kept)
    return LabelledShapes(table, tuple(found), spacings), failures


def fit_one(
    rows: LabelledShapes, parts: np.ndarray, classes: Vocabulary, run: Run[VolumesJob], checkpoints: Checkpoints
) -> tuple[loop.Fitted, ShapesCard, ShapeJudge]:
    """Train the network on the training rows and fit the regression on measures beside it.

    Parameters
    ----------
    parts : (R,) `train`, `validation` or anything else for rows that are not used.
    """
    job, train, validation = run.job, rows.take(parts == TRAIN), rows.take(parts == VALIDATION)
    bags, groups, measures = bags_of(train, classes, job)
    validation_bags = bags_of(validation, classes, job)[0] if len(validation) else None
    names = list(train.found[0].solids[0].measures)
    training_bags = setup.TrainingBags(bags, validation_bags, names, train.spacings)
    task = setup.make_task(job, classes, training_bags, run.device)
    fitted = loop.fit(task, job.training, Execution(run.device, seed=job.seed), checkpoints, run.events)
    card = task.learned(fitted.network)
    network = setup.build_network(card)
    network.net.load_state_dict(fitted.network.state_dict())
    strength = job.measures.regularisation
    regression = setup.fit_measures(measures, bags.targets, groups, card, strength, job.seed)
    setup.set_measures(network, regression)
    return fitted, card, network.to(run.device).eval()


def bags_of(rows: LabelledShapes, vocabulary: Vocabulary, job: VolumesJob) -> tuple[Bags, np.ndarray, np.ndarray]:
    """Gather shapes into bags that share a label: each shape, or all of an image, a well, a group.

    Returns
    -------
    The bags, (B,) groups that are never cut, and (B, M) mean measures.
    """
    table = rows.table
    group = groups_of(table, job.split.by)
    of_row = bags_of_rows(table, job.bags.by, job.split.by)
    members: dict[tuple[tuple[str, ...], int], list[tuple[int, int]]] = {}
    for row, found in enumerate(rows.found):
        for shape in range(len(found.solids)):
            key = of_row[row], shape if job.bags.by == "shape" else 0
            members.setdefault(key, []).append((row, shape))
    every = list(members.values())
    first = [own[0][0] for own in every]
    shapes = [[rows.found[row].solids[shape].shape for row, shape in own] for own in every]
    means = [
        np.mean([list(rows.found[row].solids[shape].measures.values()) for row, shape in own], axis=0) for own in every
    ]
    labels = [table["label"].iloc[row] for row in first]
    ids = table["row"].to_numpy(np.int64)[first]
    return Bags(shapes, targets(labels, vocabulary.classes), ids), group[first], np.array(means)
