"""Which shapes lie in the volumes of a screen: read, cut, curated, described, measured."""

from __future__ import annotations

from dataclasses import dataclass

from bagscope.errors import ImageReadError
from bagscope.files.signature import signature
from bagscope.files.volume import Spacing, read_volume
from bagscope.files.worker import DecodingWorker
from bagscope.run.check_volumes import KnownVolume
from bagscope.settings.shape_sections import VolumesSection
from bagscope.tasks.card import ShapesCard
from bagscope.tasks.volumes.solids import Cut, Solid, described, solids_of


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


def volume_signature(known: KnownVolume) -> str:
    """Return what stands for a volume: its file's content, its place in it, its spacing."""
    try:
        sign = signature((known.file.path,))
    except OSError as error:
        cause = f"it cannot be read ({error.strerror})"
        raise ImageReadError(cause, "Check the drive.", code="io", file=known.file.path) from None
    at = f" volume {known.file.at}" if known.file.at is not None else ""
    return sign + at


def solid_of(cut: Cut, spacing: Spacing, card: ShapesCard) -> Solid:
    """Describe and measure a solid that was cut out, as the card's were; see `tasks.volumes.solids.described`."""
    return described(cut, spacing, VolumesSection(**card.volumes))
