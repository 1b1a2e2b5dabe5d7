"""How a model scores a screen: the steps that every task shares."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bagscope.engine.check import CheckReport
from bagscope.engine.compute import device_of, memory_kept, threads
from bagscope.engine.events import SILENT, Events
from bagscope.engine.loaded import CardT, LoadedModel
from bagscope.engine.run import Run, Target, announce
from bagscope.engine.score_folder import Provenance, Scores
from bagscope.engine.tasks import check_of, stages_of
from bagscope.errors import TableError
from bagscope.files.folder import claimed
from bagscope.files.run_names import RUN
from bagscope.files.worker import DecodingWorker
from bagscope.settings.jobs import READ_JOBS, ReadJob, make_job
from bagscope.tables.table import Screen


def score_screen(
    model: LoadedModel[Any], screen: Screen | Path | str, target: Target, job: ReadJob, events: Events
) -> Scores:
    """Score all rows of a screen and write a score folder; see `ScreenModel.score`."""
    stages, began = stages_of(model.card.task), time.monotonic()
    job = stages.prepare(job, model.card)
    device = device_of(job.compute) if "device" in job.compute.model_fields_set else model.device
    with (
        model.moved_to(device) as lent,
        threads(job.compute.threads),
        memory_kept(),
        # Claimed first: a folder that cannot be written to is reported before any image is opened.
        claimed(target.folder, stages.SCORE_FILES, finished=RUN, resume=target.resume, overwrite=target.overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        report = check_of(model.card.task).check(screen, job, model.card)
        warnings = announce(report, events)
        run = Run(job, target, device, worker, events, warnings)
        predictions = stages.predict_rows(lent, report, run)
        for warning in predictions.warnings:
            events.warn(warning)
        seconds = time.monotonic() - began
        how = Provenance(job, (*warnings, *predictions.warnings), seconds, model.folder)
        return stages.write_scores(lent, screen_of(report), predictions, how, run)


def screen_of(report: CheckReport) -> Screen:
    """Return the screen of a check that refused nothing.

    Raises
    ------
    TableError : the table could not be read.
    """
    if report.screen is None:
        raise TableError(list(report.problems))
    return report.screen


class ScreenModel(LoadedModel[CardT]):
    """A trained model that scores screens."""

    def score(
        self,
        screen: Screen | Path | str,
        out: Path | str,
        *,
        config: Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
        events: Events = SILENT,
        **choices: Any,
    ) -> Scores:
        """Score all rows of a screen, and write a score folder.

        Every row of the screen has a row in the result; rows that cannot be read have no scores and are listed in
        `failures`. The score of a row depends on its own pixels alone. A model of blocks writes a map and outlines of
        each image, a model of volumes a row per shape (`volumes.parquet`).

        Parameters
        ----------
        screen : a screen, or a table's path.
        out : folder of the scores; made when it is missing.
        config : settings as a TOML file.
        resume : go on with what is in `out`, finished or not: rows whose files, model and settings are unchanged are
            not scored again.
        overwrite : replace what is in `out`.
        choices : settings by their short names or as "section.key", such as `device`.

        Raises
        ------
        TableError : the screen cannot be scored by this model; holds all problems, and nothing was written.
        SettingsError : unknown or impossible settings.
        FolderError : `out` is in use or cannot be written.
        BagscopeError : more rows fail than the settings allow; what was scored stays, for `resume`.
        """
        job = make_job(READ_JOBS[self.card.task], config, choices)
        return score_screen(self, screen, Target(Path(out), resume, overwrite), job, events)
