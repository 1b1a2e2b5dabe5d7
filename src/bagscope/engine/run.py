"""One run of a stage: its settings, where it computes, where it writes, and who listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from bagscope.engine.check import CheckReport
from bagscope.engine.events import Events
from bagscope.errors import Problem
from bagscope.files.worker import DecodingWorker
from bagscope.settings.jobs import ReadJob

JobT = TypeVar("JobT", bound=ReadJob)


@dataclass(frozen=True)
class Target:
    """A folder that a stage writes.

    resume : go on with unfinished work in the folder. overwrite : replace what is in it.
    """

    folder: Path
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Run(Generic[JobT]):
    """What a task is given when it trains or scores.

    warnings : problems of the table that did not stop the run; models and scores store them.
    """

    job: JobT
    target: Target
    device: torch.device
    worker: DecodingWorker
    events: Events
    warnings: tuple[str, ...] = ()


def announce(report: CheckReport, events: Events) -> tuple[str, ...]:
    """Report what a check found, or stop; return the warnings, confounding first.

    A model that may have learned the plate instead of the phenotype matters more than a lost row.

    Raises
    ------
    TableError : with every problem that stops the work.
    """
    report.refuse()
    for note in report.notes:
        events.say(note)
    for problem in report.problems:
        events.warn(str(problem))
    warnings = [problem for problem in report.problems if problem.severity == "warn"]
    return tuple(map(str, sorted(warnings, key=_is_not_confounding)))


def _is_not_confounding(problem: Problem) -> bool:
    return problem.code != "confounded"
