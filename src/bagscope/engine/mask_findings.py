"""What is wrong with the label images that a table names as segmentations of its own."""

from __future__ import annotations

from collections.abc import Mapping

from bagscope.errors import ImageReadError, Problem
from bagscope.files.reader import Header, read_labels
from bagscope.files.worker import DecodingWorker
from bagscope.tables.table import Screen

FIX = "Give the mask of this very image, as PNG or TIFF; it is never resized."


def mask_problems(screen: Screen, headers: Mapping[int, Header], worker: DecodingWorker) -> list[Problem]:
    """Read the masks of the rows that can be used and tell those that cannot be: their fields will have no cells.

    Parameters
    ----------
    headers : position of the row -> header of its field. worker : decodes the masks.
    """
    file, found = str(screen.path or ""), []
    for at, header in headers.items():
        path = screen.mask(at)
        if path is None or not path.is_file():
            continue  # a missing one is told by the table
        line = int(screen.rows["row"].iloc[at])
        try:
            labels = worker.run(read_labels, path)
        except ImageReadError as error:
            said = error.problem
            cause = f"{path.name}: {said.cause}; the field will have no cells"
            found.append(Problem("warn", said.code, cause, said.fix, file, line, "mask"))
            continue
        if labels.shape != (header.height, header.width):
            (there, wide), (high, broad) = labels.shape, (header.height, header.width)
            cause = f"{path.name} has {there}x{wide} pixels, the image {high}x{broad}; the field will have no cells"
            found.append(Problem("warn", "mask_size", cause, FIX, file, line, "mask"))
    return found
