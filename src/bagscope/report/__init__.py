"""What a reader sees: figures, the plate in a terminal, the page; `bs.report(scores, "report.html")` writes one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from bagscope.report.page import Beside, Picture


class _Callable(ModuleType):
    """The room is a package and, as `bs.report`, a function too."""

    def __call__(
        self,
        scores: Any,
        out: Path | str = "report.html",
        *,
        beside: Beside | None = None,
        pictures: Sequence[Picture] = (),
    ) -> Path:
        """Write the page of a score folder.

        Parameters
        ----------
        scores : what `Model.score` returned, or the folder.
        out : the page, one file that opens offline.
        beside, pictures : see `report.page.write_report`.

        Raises
        ------
        ModelError : no finished scores there. FolderError : the page cannot be written.
        """
        from bagscope.report.page import write_report

        folder = cast(Path, getattr(scores, "folder", scores))
        return write_report(Path(folder), Path(out), beside=beside, pictures=pictures)


sys.modules[__name__].__class__ = _Callable
