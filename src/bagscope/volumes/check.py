"""All that is wrong with a screen of volumes, at once: what the table says, and what the files say of themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bagscope.engine.check import CheckReport, files_missing, read_table
from bagscope.errors import SEVERITIES, BagscopeError, ImageReadError, Problem
from bagscope.files.volume import Spacing, VolumeFile, VolumeHeader, read_volume_header, spacing_of
from bagscope.settings.jobs import ShapesReadJob, VolumesJob
from bagscope.settings.shape_sections import VolumesSection
from bagscope.tables import confounding
from bagscope.tables.labels import training_problems
from bagscope.tables.splits import groups_of, mixed_bags, split_problems
from bagscope.tables.table import Screen
from bagscope.volumes.card import ShapesCard


@dataclass(frozen=True)
class KnownVolume:
    """What is known of a volume before it is decoded: its file, header and spacing."""

    file: VolumeFile
    header: VolumeHeader
    spacing: Spacing


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
            known[at] = _known(found, at, volumes)
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


def _known(screen: Screen, at: int, volumes: VolumesSection) -> KnownVolume:
    files = screen.files(at)
    if len(files) > 1:
        cause = f"{len(files)} files for one volume"
        raise ImageReadError(cause, "Name one stack per row in the column 'image'.", code="channels")
    row = screen.rows.iloc[at]
    page = int(row["page"]) if str(row["page"]).isdigit() else None
    place = VolumeFile(files[0], volumes.channel, volumes.array, page)
    header = read_volume_header(place)
    told = str(row["spacing_um"]) if "spacing_um" in screen.rows else ""
    return KnownVolume(place, header, spacing_of(told, header, volumes.spacing, files[0]))


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
