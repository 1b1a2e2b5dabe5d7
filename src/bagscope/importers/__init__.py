"""How foreign layouts of files become screen tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bagscope.registry import Registry

if TYPE_CHECKING:
    from bagscope.tables.table import Screen

__all__ = ["IMPORTERS", "import_screen", "write_screen"]

# Each entry: (source, **options) -> importers.layout.Layout.
IMPORTERS = Registry(
    "format",
    {
        "folders": "bagscope.importers.folders:read_folders",
        "pattern": "bagscope.importers.pattern:read_pattern",
        "loaddata": "bagscope.importers.loaddata:read_loaddata",
        "bbbc013": "bagscope.importers.bbbc013:read_bbbc013",
    },
)


def import_screen(format: str, source: Path | str, labels: Path | str | None = None, **options: Any) -> Screen:
    """Make a screen of files that lie in a known layout.

    Parameters
    ----------
    format : `folders`, `pattern`, `loaddata` or `bbbc013`.
    source : folder or file that the format starts from.
    labels : plate map (CSV, TSV, parquet) with `well`, perhaps `plate`, and `label`, `treatment`,
        `concentration` or what else is known of a well; joined to the fields of that well.
    options : of the format, e.g. `pattern="{plate}_{well}_s{site}_w{channel}.tif"`.

    Raises
    ------
    SettingsError : unknown format or option.
    TableError : nothing was found, or what was found contradicts itself; holds all problems.
    """
    # Imported here: `import bagscope` resolves this module's names and must not load pandas.
    from bagscope.importers.layout import finish

    return finish(format, IMPORTERS.load(format), Path(source), Path(labels) if labels else None, options)


def write_screen(screen: Screen, path: Path | str) -> Path | None:
    """Write a screen as a table: CSV, TSV or parquet by the path's suffix.

    Image paths are written relative to the table's folder where the files lie below it, else in full. A table that
    was there, and says something else, may hold labels written by hand: it is kept beside, with `~` behind its name.

    Returns
    -------
    Where the earlier table is kept, None when there was none or an equal one.

    Raises
    ------
    FolderError : the table cannot be written.
    """
    from bagscope.files.writer import write_atomic
    from bagscope.importers.layout import write

    path = Path(path)
    before = path.read_bytes() if path.is_file() else None
    write(screen, path)
    if before is None or before == path.read_bytes():
        return None
    kept = path.with_name(f"{path.name}~")
    write_atomic(kept, before)
    return kept
