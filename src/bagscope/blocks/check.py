"""All that is wrong with a screen of blocks, at once: table, images, coarse labels, and the expert's shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bagscope.blocks.card import BlocksCard
from bagscope.blocks.rows import COARSE, KnownBlocks, LabelReading, known_blocks, no_blocks, total
from bagscope.engine import header_findings
from bagscope.engine.check import Checking, CheckReport, check_fields, files_missing
from bagscope.errors import SEVERITIES, BagscopeError, Problem, TableError, nearest
from bagscope.files.worker import DecodingWorker
from bagscope.settings.jobs import BlocksJob, BlocksReadJob
from bagscope.tables import confounding
from bagscope.tables.boxes import counted
from bagscope.tables.proportions import Proportions, missing_classes, read_proportions, table_warnings
from bagscope.tables.spelling import some_lines
from bagscope.tables.splits import groups_of
from bagscope.tables.table import Screen

# Fraction of the pixels that blocks should cover at least.
_LEAST_COVER = 0.5
# Pixel sizes whose ratio is larger belong to different objectives.
_OTHER_SIZE = 1.1
NO_TABLE = "blocks need a table of shares: which share of each fine class the blocks of a coarse class hold"


CARD = BlocksCard


def check(
    screen: Screen | Path | str, job: BlocksReadJob, card: BlocksCard | None = None, pixels: bool = False
) -> CheckReport:
    """List every problem of images, their coarse labels and the proportion table; see `engine.tasks.Check`."""
    if isinstance(job, BlocksJob):
        return check_blocks(screen, job, pixels)
    return check_scoring(screen, job, card, pixels)


@dataclass(frozen=True)
class BlocksReport(CheckReport):
    """What the check of a training on blocks found: also the blocks by position, and the proportion table."""

    known: Mapping[int, KnownBlocks] = field(default_factory=dict)
    table: Proportions | None = None


def check_blocks(screen: Screen | Path | str, job: BlocksJob, pixels: bool = False) -> BlocksReport:
    """List every problem of a screen of blocks before training."""
    how = Checking("train", pixels, labels=COARSE, io_timeout=job.compute.io_timeout)
    report = check_fields(screen, job.table, job.images, how)
    if report.screen is None:
        return BlocksReport(report.problems)
    found, file = report.screen, str(report.screen.path or "")
    problems, table = [*report.problems, *files_missing(report.problems, found, job.table)], None
    try:
        table = read_proportions(Path(job.blocks.proportions)) if job.blocks.proportions else None
    except BagscopeError as error:
        problems += error.problems if isinstance(error, TableError) else [error.problem]
    if table is None and not job.blocks.proportions:
        fix = "Give --proportions FILE, as `bagscope proportions read` makes it."
        problems.append(Problem("refuse", "no_proportions", NO_TABLE, fix, file))
    # Its process starts with the first label image: boxes need none.
    with closing(DecodingWorker(job.compute.io_timeout)) as worker:
        reading = LabelReading(job.blocks, len(table.fine) if table else 0, worker)
        known, more = known_blocks(found, report.headers, job.images, reading)
    problems += more
    if table is not None and job.blocks.unknown == "leave":
        known, more = _without_unknown(known, table, file)
        problems += more
    known, more = _without_small(known, report, job.view.context, file)
    problems += more
    blocks = [one.blocks for one in known.values()]
    if not known or (not total(blocks) and job.blocks.method != "pixels"):
        problems.append(no_blocks(file))
    if table is not None and job.maps.threshold == "table" and len(table.fine) != 2:
        cause = f"maps.threshold = 'table' with {len(table.fine)} fine classes"
        problems.append(Problem("refuse", "bad_setting", cause, "It is for two classes; leave it out.", file))
    notes = list(report.notes)
    if table is not None and total(blocks):
        problems += _uncovered(known, report, file)
        counts = counted(blocks)
        problems += missing_classes(table, list(counts), file)
        problems += _absent(table, counts, file)
        problems += table_warnings(table, counts, job.blocks.effective, file)
        problems += _confounded(known, report, job)
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        notes.append(f"{total(blocks):,} blocks of {len(known)} images: {told}")
    problems = sorted(dict.fromkeys(problems), key=lambda problem: SEVERITIES.index(problem.severity))
    return BlocksReport(tuple(problems), found, report.headers, report.listed, tuple(notes), known, table)


def _without_unknown(
    known: dict[int, KnownBlocks], table: Proportions, file: str
) -> tuple[dict[int, KnownBlocks], list[Problem]]:
    """Leave out blocks of which the table says nothing, as was asked."""
    left = {at: np.isin(one.blocks.coarse.astype(str), table.coarse) for at, one in known.items()}
    away = sum(int((~inside).sum()) for inside in left.values())
    if not away:
        return known, []
    rest = {at: replace(one, blocks=one.blocks.take(left[at])) for at, one in known.items()}
    rest = {at: one for at, one in rest.items() if len(one.blocks) or one.pixels is not None}
    cause = f"{away} blocks of coarse classes of which the table has no row are left out"
    return rest, [Problem("warn", "unknown_left", cause, "", file, None, "coarse")]


def _without_small(
    known: dict[int, KnownBlocks], report: CheckReport, context: int, file: str
) -> tuple[dict[int, KnownBlocks], list[Problem]]:
    """List images that are smaller than the largest block: crops of one size, which holds a block, are cut of all."""
    if report.screen is None or not total([one.blocks for one in known.values()]):
        return known, []
    largest = max(int(one.blocks.size.max()) for one in known.values() if len(one.blocks))
    edges = {at: min(report.headers[at].height, report.headers[at].width) for at in known}
    small = [at for at, edge in edges.items() if edge < largest]
    found = []
    for at in small:
        header, line = report.headers[at], int(report.screen.rows["row"].iloc[at])
        cause = f"an image of {header.height}x{header.width} is smaller than the largest block, {largest} px"
        found.append(Problem("list", "small_image", cause, "Leave it out, or use smaller blocks.", file, line))
    rest = {at: one for at, one in known.items() if at not in small}
    least = min((edges[at] for at in rest), default=context)
    if context and least < context:
        cause = f"crops have {least} px instead of view.context = {context}: the smallest image is no larger"
        found.append(Problem("warn", "small_context", cause, "Leave small images out, or lower view.context.", file))
    return rest, found


def _uncovered(known: dict[int, KnownBlocks], report: CheckReport, file: str) -> list[Problem]:
    """Warn where blocks tell of a small part of the images only."""
    sizes = [report.headers[at].height * report.headers[at].width for at in known]
    inside = sum(float((one.blocks.size.astype(float) ** 2).sum()) for one in known.values())
    if inside >= _LEAST_COVER * sum(sizes):
        return []
    cause = f"blocks cover {inside / sum(sizes):.0%} of their images; of the rest nothing is known"
    fix = "Maps may say anything there: label blocks of empty glass, too, or cut the images."
    return [Problem("warn", "uncovered", cause, fix, file)]


def _confounded(known: Mapping[int, KnownBlocks], report: CheckReport, job: BlocksJob) -> list[Problem]:
    """Warn where a plate or a property of the files alone predicts the coarse class of an image's blocks."""
    if report.screen is None:
        return []
    classes = {
        at: Counter(blocks.blocks.coarse.tolist()).most_common(1)[0][0]
        for at, blocks in known.items()
        if len(blocks.blocks)
    }
    positions = sorted(classes)
    rows = report.screen.rows.iloc[positions].assign(label=[str(classes[at]) for at in positions])
    units = groups_of(rows, "").tolist()
    properties = header_findings.file_properties(report.headers, positions)
    found = confounding.of_table(rows, units) + confounding.of_files(rows, units, properties)
    return confounding.problems(found, str(report.screen.path or ""), job.table.force)


def check_scoring(
    screen: Screen | Path | str, job: BlocksReadJob, card: BlocksCard | None = None, pixels: bool = False
) -> CheckReport:
    """List every problem of images that are mapped; with a card, also how they differ from the training images."""
    report = _without_pixel_size(check_images(screen, job, pixels), job)
    if report.screen is None:
        return report
    more = [*_no_truth(report.screen, job), *([] if card is None else _other_pixel_size(card, report, job))]
    return replace(report, problems=(*report.problems, *more))


def _no_truth(screen: Screen, job: BlocksReadJob) -> list[Problem]:
    name = job.blocks.truth
    if not name or name in screen.rows:
        return []
    cause = f"blocks.truth = {name!r}, and there is no such column{nearest(name, screen.rows.columns)}"
    fix = "Name a column of label images (k = the k-th fine class, 0 = unknown), or leave it out."
    return [Problem("refuse", "no_column", cause, fix, str(screen.path or ""), None, name)]


def _other_pixel_size(card: BlocksCard, report: CheckReport, job: BlocksReadJob) -> list[Problem]:
    """Warn of pixels of another size than in training: the network sees another magnification."""
    trained, file = card.pixel_um, str(report.screen.path or "") if report.screen else ""
    sizes = {job.images.pixel_um or header.pixel_um for header in report.headers.values()}
    other = sorted(um for um in sizes if um and trained and max(um / trained, trained / um) > _OTHER_SIZE)
    if not other or not trained:
        return []
    cause = f"pixels of {', '.join(f'{um:g}' for um in other[:3])} um, the training images have {trained:g} um"
    fix = "Choose the level of the pyramid that is nearest with --set images.level=1."
    return [Problem("warn", "other_pixel_size", cause, fix, file)]


def _without_pixel_size(report: CheckReport, job: BlocksReadJob) -> CheckReport:
    """List images whose pixel size is unknown where areas in square micrometres are asked for; else warn."""
    if report.screen is None or job.maps.area == "px" or job.images.pixel_um:
        return report
    unknown = [at for at in sorted(report.headers) if not report.headers[at].pixel_um]
    file, rows = str(report.screen.path or ""), report.screen.rows["row"]
    asked = job.maps.area == "um2"
    fix = "Give --set images.pixel_um=0.5 (the true size)" + (
        ", or ask for pixels with --set maps.area=px." if asked else "; areas are in pixels."
    )
    if asked:
        cause = "an area in square micrometres is asked for, and the file does not say how large a pixel is"
        found = [Problem("list", "no_pixel_size", cause, fix, file, int(rows.iloc[at])) for at in unknown]
        left = {at: header for at, header in report.headers.items() if at not in unknown}
        if unknown and not left:
            said = Problem("refuse", "no_pixel_size", f"{cause}, for any image", fix, file)
            return replace(report, problems=(said, *report.problems))
        problems = sorted((*report.problems, *found), key=lambda problem: SEVERITIES.index(problem.severity))
        return replace(report, problems=tuple(problems), headers=left, listed=report.listed | frozenset(unknown))
    if not unknown:
        return report
    lines = some_lines([int(rows.iloc[at]) for at in unknown])
    cause = f"{len(unknown)} images do not say how large a pixel is ({lines})"
    return replace(report, problems=(*report.problems, Problem("warn", "no_pixel_size", cause, fix, file)))


def check_images(screen: Screen | Path | str, job: BlocksReadJob, pixels: bool = False) -> CheckReport:
    """List every problem of images that are read, whatever is made of them."""
    how = Checking("score", pixels, io_timeout=job.compute.io_timeout)
    return check_fields(screen, job.table, job.images, how)


def _absent(table: Proportions, counts: dict[str, int], file: str) -> list[Problem]:
    found = []
    absent = [name for name in table.coarse if name not in counts]
    if absent:
        cause = f"no block is of coarse class {', '.join(map(repr, absent[:5]))}, which the table knows"
        found.append(Problem("warn", "absent_class", cause, "Its row is not used.", file))
    if len(set(counts) & set(table.coarse)) == 1 and len(table.fine) > 1:
        cause = "all blocks are of one coarse class: nothing tells fine classes apart"
        found.append(Problem("refuse", "one_class", cause, "Give blocks of other classes, too.", file))
    return found
