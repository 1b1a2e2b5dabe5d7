"""What is wrong with a screen of images: for training, and for scoring by a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bagscope.engine.check import Checking, CheckReport, check_fields
from bagscope.errors import SEVERITIES
from bagscope.images import similarity
from bagscope.images.card import ModelCard
from bagscope.settings.jobs import ImagesJob, ReadJob
from bagscope.tables.table import Screen

CARD = ModelCard


def check(
    screen: Screen | Path | str, job: ReadJob, card: ModelCard | None = None, pixels: bool = False
) -> CheckReport:
    """List every problem of a screen of images; see `engine.tasks.Check`."""
    if isinstance(job, ImagesJob):
        return check_for_training(screen, job, pixels)
    return check_for_model(screen, job, card, pixels)


def check_for_training(screen: Screen | Path | str, job: ImagesJob, pixels: bool = False) -> CheckReport:
    """List every problem that stops or harms training."""
    how = Checking(pixels=pixels, split_by=job.split.by, io_timeout=job.compute.io_timeout)
    return check_fields(screen, job.table, job.images, how)


def check_for_model(
    screen: Screen | Path | str, job: ReadJob, card: ModelCard | None, pixels: bool = False
) -> CheckReport:
    """List every problem of a screen that is scored; with a card, also how it differs from the training images."""
    how = Checking("score", pixels, io_timeout=job.compute.io_timeout)
    if card is None:
        return check_fields(screen, job.table, job.images, how)
    # Imported here: a check without a model does without torch.
    from bagscope.images.setup import least_px

    # Images that are rescaled, each by a factor of its own, are measured when they are scored.
    how = replace(how, minimum_px=0 if job.images.rescale else least_px(card))
    report = check_fields(screen, job.table, job.images, how)
    if report.screen is None:
        return report
    more = similarity.before_scoring(card, report.screen, report.headers, job.images, force=job.table.force)
    listed = {problem.row for problem in more if problem.severity == "list"}
    lines = report.screen.rows["row"].tolist()
    usable = {at: header for at, header in report.headers.items() if lines[at] not in listed}
    return replace(
        report,
        problems=tuple(sorted((*report.problems, *more), key=lambda problem: SEVERITIES.index(problem.severity))),
        headers=usable,
        listed=report.listed | (report.headers.keys() - usable.keys()),
    )
