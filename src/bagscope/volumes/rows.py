"""Which shapes lie in the volumes of a screen: read, cut, curated, described, measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bagscope.engine.card import CallCard
from bagscope.engine.check import CheckReport
from bagscope.errors import ImageReadError, SettingsError
from bagscope.files.signature import signature
from bagscope.files.volume import read_volume
from bagscope.files.worker import DecodingWorker
from bagscope.settings.jobs import ShapesReadJob
from bagscope.settings.shape_sections import VolumesSection
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.headers import KnownVolume
from bagscope.volumes.solids import Solid, solids_of

# Settings by which a shape is described: a model judges only what is described as its training shapes were.
_DESCRIBED = ("size", "smoothing")


@dataclass(frozen=True)
class RowShapes:
    """Shapes of one row of a screen, and what stands for its file.

    notes : sentences on what was left out or is odd.
    """

    solids: tuple[Solid, ...]
    signature: str
    notes: tuple[str, ...]


def shapes_of_row(known: KnownVolume, section: VolumesSection, worker: DecodingWorker) -> RowShapes:
    """Read a volume and find its shapes.

    Raises
    ------
    ImageReadError : it cannot be read, holds nothing, or a shape that is larger than allowed.
    """
    pixels, _ = read_volume(known.file, worker)
    try:
        solids, notes = solids_of(pixels, known.spacing, section)
    except ImageReadError as error:
        said = error.problem
        raise ImageReadError(said.cause, said.fix, code=said.code, file=known.file.path) from None
    return RowShapes(tuple(solids), volume_signature(known), tuple(notes))


def with_shapes(report: CheckReport, section: VolumesSection, io_timeout: float) -> CheckReport:
    """Decode every volume of a checked screen, too, and list those without a fit shape."""
    if report.screen is None:
        return report
    problems, usable, file = list(report.problems), dict(report.headers), str(report.screen.path or "")
    with DecodingWorker(io_timeout) as worker:
        for at, known in report.headers.items():
            try:
                shapes_of_row(known, section, worker)
            except ImageReadError as error:
                cause = f"{known.file.path.name}: {error.problem.cause}"
                row = int(report.screen.rows["row"].iloc[at])
                problems.append(replace(error.problem, severity="list", cause=cause, file=file, row=row))
                del usable[at]
    listed = report.listed | (set(report.headers) - set(usable))
    return replace(report, problems=tuple(problems), headers=usable, listed=frozenset(listed))


def reading_of_model(card: ShapesCard, job: ShapesReadJob) -> VolumesSection:
    """Say how volumes are read and cut for a model: as it learned them; what is given now about reading overrules it.

    A spacing that was given by hand belongs to the volumes it was given for, and is not taken over.

    Raises
    ------
    SettingsError : shapes would be described otherwise than in training.
    """
    trained = card.volumes.model_dump() | {"spacing": ""}
    given = {name: getattr(job.volumes, name) for name in job.volumes.model_fields_set}
    for name in _DESCRIBED:
        if name in given and given[name] != trained[name]:
            cause = f"volumes.{name}={given[name]}, and the model learned from volumes.{name}={trained[name]}"
            raise SettingsError(cause, "Leave it out, or train a model of its own.", code="other_than_trained")
    return VolumesSection(**(trained | given))


def reading_of_job(card: ShapesCard, job: ShapesReadJob) -> ShapesCard:
    """Return the card with the turns and the limits of calls that were given by hand."""
    turns = {name: getattr(job.turns, name) for name in job.turns.model_fields_set}
    calls = {name: getattr(job.calls, name) for name in job.calls.model_fields_set if name in CallCard.model_fields}
    return card.model_copy(update={
        "turns": card.turns.model_copy(update=turns), "calls": card.calls.model_copy(update=calls)
    })  # fmt: skip


def volume_signature(known: KnownVolume) -> str:
    """Return what stands for a volume: its file's content, and its place in it.

    Raises
    ------
    ImageReadError : the file cannot be read.
    """
    at = f" volume {known.file.at}" if known.file.at is not None else ""
    return signature((known.file.path,)) + at
