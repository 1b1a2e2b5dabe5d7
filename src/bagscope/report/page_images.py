"""The images that a page shows, read through a decoding worker; those that cannot be read are listed on the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bagscope.errors import ImageReadError
from bagscope.files.field import FieldFiles
from bagscope.files.header import Window
from bagscope.files.worker import DecodingWorker

_SHOWN = 3


class PageImages:
    """Reads images for a page; one that cannot be read is tried once, and its picture is left out.

    Parameters
    ----------
    worker : decodes them.
    """

    def __init__(self, worker: DecodingWorker):
        self._worker = worker
        self._problems: dict[FieldFiles, str] = {}

    def read(self, field: FieldFiles, window: Window | None = None) -> np.ndarray | None:
        """Return the pixels of a field, or of a window of it, (C, H, W); None when they cannot be read."""
        if field in self._problems:
            return None
        try:
            return self._worker.read(field, window)
        except ImageReadError as error:
            self.leave_out(field, error)
            return None

    def read_mask(self, path: Path | None) -> np.ndarray | None:
        """Return a mask that scoring wrote, (2, H, W); None when there is none, or it cannot be read."""
        return None if path is None else self.read(FieldFiles((path,), ()))

    def leave_out(self, field: FieldFiles, error: ImageReadError) -> None:
        """Note why a field has no picture."""
        self._problems[field] = str(error)

    @property
    def warnings(self) -> list[str]:
        """A sentence on the images that could not be read, if there are any."""
        count = len(self._problems)
        if not count:
            return []
        first = sorted(self._problems.values())[:_SHOWN]
        more = f" (and {count - _SHOWN:,} more)" if count > _SHOWN else ""
        return [f"Pictures of {count:,} {'file' if count == 1 else 'files'} are missing: {' '.join(first)}{more}"]
