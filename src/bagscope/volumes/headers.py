"""What is known of a volume before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from bagscope.errors import ImageReadError
from bagscope.files.volume import Spacing, VolumeFile, VolumeHeader, read_volume_header, spacing_of
from bagscope.settings.shape_sections import VolumesSection
from bagscope.tables.table import Screen


@dataclass(frozen=True)
class KnownVolume:
    """What is known of a volume before it is decoded: its file, header and spacing."""

    file: VolumeFile
    header: VolumeHeader
    spacing: Spacing


def known_volume(screen: Screen, at: int, volumes: VolumesSection) -> KnownVolume:
    """Read the header and the spacing of the volume at a position of a screen.

    Raises
    ------
    ImageReadError : several files for a volume, a file that cannot be read, or no spacing.
    """
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
