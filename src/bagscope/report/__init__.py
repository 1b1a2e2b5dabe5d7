"""What a reader sees: figures, the plate in a terminal, the page; `bs.report(scores, "report.html")` writes one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from bagscope.report.network import Network
    from bagscope.report.page import ExtraTable


class _Callable(ModuleType):
    """The room is a package and, as `bs.report`, a function too."""

    def __call__(
        self,
        scores: Any,
        out: Path | str = "report.html",
        *,
        beside: ExtraTable | None = None,
        model: Network | None = None,
    ) -> Path:
        """Write the page of a score folder.

        Parameters
        ----------
        scores : what `Model.score` returned, or the folder.
        out : the page, one file that opens offline.
        beside : see `report.page.write_report`.
        model : that made the scores (`bagscope.load`); the page then shows its filters and layers.

        Raises
        ------
        ModelError : no finished scores there. FolderError : the page cannot be written.
        """
        from bagscope.report.page import write_report

        folder = cast(Path, getattr(scores, "folder", scores))
        return write_report(Path(folder), Path(out), beside=beside, model=model)


sys.modules[__name__].__class__ = _Callable
