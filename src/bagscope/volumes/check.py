"""All that is wrong with a screen of volumes, at once: what the table says, and what the files say of themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bagscope.engine.check import CheckReport, files_missing, read_table
from bagscope.errors import SEVERITIES, BagscopeError, ImageReadError, Problem
from bagscope.settings.jobs import ShapesReadJob, VolumesJob
from bagscope.settings.shape_sections import VolumesSection
from bagscope.tables import confounding
from bagscope.tables.labels import training_problems
from bagscope.tables.splits import groups_of, mixed_bags, split_problems
from bagscope.tables.table import Screen
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.headers import KnownVolume, known_volume

CARD = ShapesCard


def check(
    screen: Screen | Path | str, job: ShapesReadJob, card: ShapesCard | None = None, pixels: bool = False
) -> CheckReport:
    """List every problem of a screen of volumes; see `engine.tasks.Check`."""
    # Imported here: headers alone are checked without torch.
    from bagscope.volumes.rows import reading_of_model, with_shapes

    section = job.volumes if card is None else reading_of_model(card, job)
    report = check_volumes(screen, job, section)
    if card is not None:
        report = other_spacing(card, report)
    return with_shapes(report, section, job.compute.io_timeout) if pixels else report


def check_volumes(screen: Screen | Path | str, job: ShapesReadJob, volumes: VolumesSection) -> CheckReport:
    """List every problem of a screen of volumes; `headers` of the report are KnownVolume.

    Parameters
    ----------
    job : a training job also asks of labels, groups and bags what training needs.
    volumes : how volumes are read.

    Raises
    ------
    Nothing on bad content: all of it is in the report.
    """
    table = job.table
    found, problems = read_table(screen, table)
    if found is None:
        return CheckReport(tuple(problems))
    file = str(found.path or "")
    lines = found.rows["row"].tolist()
    left_out = {problem.row for problem in problems if problem.severity != "warn" and problem.row}
    known: dict[int, KnownVolume] = {}
    for at, line in enumerate(lines):
        if line in left_out:
            continue
        try:
            known[at] = known_volume(found, at, volumes)
        except ImageReadError as error:
            said = error.problem
            cause = f"{Path(said.file).name}: {said.cause}" if said.file else said.cause
            problems.append(replace(said, severity="list", cause=cause, file=file, row=int(line), column="image"))
    if isinstance(job, VolumesJob):
        problems += files_missing(problems, found, table)
        problems += _for_training(found, known, job, file)
    if len(found) and not known:
        cause, fix = f"none of the {len(found):,} rows can be used", "Mend what is listed; most rows say the same."
        problems.append(Problem("refuse", "nothing_usable", cause, fix, file))
    problems = sorted(dict.fromkeys(problems), key=lambda problem: SEVERITIES.index(problem.severity))
    unused = {problem.row for problem in problems if problem.severity == "list"}
    listed = frozenset(at for at, line in enumerate(lines) if line in unused)
    usable: dict[int, Any] = {at: one for at, one in known.items() if at not in listed}
    report = CheckReport(tuple(problems), found, usable, listed)
    return replace(
        report, notes=(f"{len(found):,} rows of volumes, {len(usable):,} of them can be read", *_notes(report))
    )


def _notes(report: CheckReport) -> list[str]:
    counts = [
        f"{name or '(no label)'} {wells:,} wells, {rows:,} rows" for name, (wells, rows) in report.classes().items()
    ]
    kinds = sorted({one.spacing for one in report.headers.values()})
    told = ", ".join("x".join(f"{edge:g}" for edge in one) for one in kinds[:4])
    return [f"classes: {'; '.join(counts)}", f"spacing z, y, x: {told} um" if kinds else "no volume"]


def other_spacing(card: ShapesCard, report: CheckReport) -> CheckReport:
    """Warn of volumes whose voxels have another spacing than those of the training."""
    trained = {tuple(spacing) for spacing in card.spacings}
    other = sorted({volume.spacing for volume in report.headers.values()} - trained) if trained else []
    if not other:
        return report
    spacings = ", ".join("x".join(f"{edge:g}" for edge in spacing) for spacing in other[:3])
    cause = f"volumes with a spacing of {spacings} um; no training volume had it"
    file = str(report.screen.path or "") if report.screen else ""
    problem = Problem("warn", "other_spacing", cause, "Sizes are kept; blur along z may differ.", file)
    return replace(report, problems=(*report.problems, problem))


def _for_training(screen: Screen, known: dict[int, KnownVolume], job: VolumesJob, file: str) -> list[Problem]:
    split_by = job.split.by
    rows = screen.rows.iloc[sorted(known)] if known else screen.rows
    try:
        groups = groups_of(rows, split_by).tolist()
    except BagscopeError as error:
        return [replace(error.problem, file=file)]
    problems = training_problems(rows["label"].tolist(), groups, rows["row"].tolist(), file, split_by or "group")
    problems += split_problems(rows, split_by, file)
    problems += mixed_bags(rows, job.bags.by, split_by, file)
    found = confounding.of_table(rows, groups)
    if known:
        spacing = ["x".join(f"{edge:g}" for edge in known[at].spacing) for at in sorted(known)]
        found += confounding.of_files(rows, groups, {"spacing of voxels": spacing})
    return problems + confounding.problems(found, file, job.table.force)
