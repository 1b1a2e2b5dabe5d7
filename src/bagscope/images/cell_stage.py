"""How the cells of every field are found, judged and written down while the field is scored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.measure import label as connected

from bagscope.engine.parts import CellPart, Parts
from bagscope.errors import BagscopeError, ImageReadError, ModelError, Problem, SettingsError
from bagscope.files.names import field_name
from bagscope.files.reader import read_labels
from bagscope.files.run_names import MAPS, MASKS
from bagscope.files.signature import signature
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_atomic, write_ome_tiff
from bagscope.images.card import ModelCard
from bagscope.images.cells import Cells, Known, field_maps, find_cells
from bagscope.images.centres import read_centres
from bagscope.images.field_view import FieldView
from bagscope.images.nuclear import nuclear_channel
from bagscope.settings.sections import CellsSection
from bagscope.tables.calls import cell_calls
from bagscope.tables.frames import parquet_bytes
from bagscope.tables.probabilities import sigmoid
from bagscope.tables.table import Screen

OWN, NOWHERE = "own", "none"


class CellStage:
    """Finds and judges the cells of fields, and writes masks and maps, as the settings want it.

    Parameters
    ----------
    section : what is wanted.
    card : of the model.
    screen : whose fields are scored.
    folder : of the scores.
    worker : decodes masks.

    in_pieces : masks so far in which a number stands on several separate pieces; each number is one cell.

    Raises
    ------
    SettingsError : masks without cells, a channel that there is not. ModelError : a model that knows nothing of cells.
    TableError : centres that cannot be read.
    """

    def __init__(self, section: CellsSection, card: ModelCard, screen: Screen, folder: Path, worker: DecodingWorker):
        self.section, self.card, self.screen, self.folder = section, card, screen, folder
        self._worker = worker
        self.warnings: list[Problem] = []
        self.in_pieces = 0
        self._centres: dict[int, np.ndarray] | None = None
        if not self.wanted:
            if section.masks:
                cause = "masks are wanted, but no cells"
                raise SettingsError(cause, "Add --cells own, or --cells FILE.csv.", code="masks_without_cells")
            if not section.maps:
                return
        if card.cells is None:
            cause = "this model knows nothing of cells"
            raise ModelError(cause, "Train it again with this version of bagscope.", code="no_cells")
        nuclear_channel(section.nuclei, card.channels)
        if self.wanted and section.source != OWN:
            self._centres, self.warnings = read_centres(Path(section.source), screen)

    @property
    def wanted(self) -> bool:
        """Whether cells are judged."""
        return self.section.source != NOWHERE

    @property
    def idle(self) -> bool:
        """Whether nothing but the field's own score is wanted."""
        return not (self.wanted or self.section.maps)

    def sign(self, position: int) -> tuple[object, ...]:
        """Describe what decides a field's cells, beyond its pixels and the model."""
        if self.idle:
            return ()
        mask = self._mask_path(position)
        centres = self._of_field(position)
        told = "" if centres is None else hashlib.sha256(centres.tobytes()).hexdigest()
        return self.section.model_dump(exclude={"source"}), self.wanted, told, _state(mask)

    def write(self, view: FieldView, position: int, parts: Parts, pixel_um: float | None) -> CellPart | None:
        """Find a field's cells and write what is wanted of them; None when nothing is.

        Parameters
        ----------
        view : the field as its task sees it.
        pixel_um : micrometres per pixel, None if unknown.

        Raises
        ------
        ImageReadError : the field's cells cannot be had.
        """
        if self.idle:
            return None
        rows = self.screen.rows
        name = field_name(position, [str(rows[key].iloc[position]) for key in ("plate", "well", "site")])
        mask_file = map_file = digest = ""
        called: tuple[int, ...] = ()
        count = 0
        try:
            if self.wanted:
                cells = find_cells(view, self.section.nuclei, self.section.score, self._known(position, view))
                table = cell_table(cells, self.card)
                count, called = len(table), tuple(int((table["call"] == name).sum()) for name in self.card.classes)
                content = parquet_bytes(table)
                digest = hashlib.sha256(content).hexdigest()
                write_atomic(parts.cells_path(position), content, durable=False)
                if self.section.masks:
                    mask_file = f"{MASKS}/{name}.ome.tif"
                    _write(self.folder / mask_file, _mask(cells), ("cells", "classes"), pixel_um)
            if self.section.maps:
                map_file = f"{MAPS}/{name}.ome.tif"
                maps, names = field_maps(view)
                _write(self.folder / map_file, maps, names, pixel_um)
        except ImageReadError:
            raise
        except BagscopeError as error:
            said = error.problem
            raise ImageReadError(said.cause, said.fix, code=said.code, file=said.file) from error
        return CellPart(count, called, digest, mask_file, map_file)

    def is_whole(self, position: int, parts: Parts, part: CellPart | None) -> bool:
        """Tell whether all that a field's part speaks of is there."""
        if self.idle or part is None:
            return self.idle and part is None
        if any(name and not (self.folder / name).is_file() for name in (part.mask_file, part.map_file)):
            return False
        path = parts.cells_path(position)
        return not part.digest or (path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == part.digest)

    def _known(self, position: int, view: FieldView) -> Known:
        mask = self._mask_path(position)
        if mask is not None:
            labels = self._worker.run(read_labels, mask)
            if labels.shape != view.shape:
                (there, wide), (high, broad) = labels.shape, view.shape
                cause = f"the mask has {there}x{wide} pixels, the image {high}x{broad}"
                raise ImageReadError(cause, "Give the mask of this very image.", code="mask_size", file=mask)
            self.in_pieces += _in_pieces(labels)
            return Known(labels=labels)
        return Known(centres=self._of_field(position))

    def _of_field(self, position: int) -> np.ndarray | None:
        return None if self._centres is None else self._centres.get(position, np.zeros((0, 2)))

    def _mask_path(self, position: int) -> Path | None:
        if self.section.source != OWN:
            return None
        return self.screen.mask(position)


def _state(mask: Path | None) -> str:
    """Stand for a mask's content; a mask that is not there is told when it is read."""
    if mask is None:
        return ""
    return signature([mask]) if mask.is_file() else "absent"


def _in_pieces(labels: np.ndarray) -> bool:
    """Whether some number stands on several separate pieces."""
    return int(connected(labels, background=0, connectivity=2).max()) > len(np.unique(labels[labels > 0]))


def cell_table(cells: Cells, card: ModelCard) -> pd.DataFrame:
    """Return a row per cell: its label in the mask, place, size, probabilities and call."""
    where = cells.table
    mil = sigmoid(cells.logits)
    calls, confidence = cell_calls(mil, card.classes, card.calls.threshold)
    columns: dict[str, np.ndarray] = {"cell": np.asarray(where.label, np.int64)}
    columns |= {name: np.asarray(getattr(where, name), np.float64) for name in ("y", "x")}
    columns |= {name: np.asarray(getattr(where, name), np.int64) for name in ("area", "top", "left", "bottom", "right")}
    columns |= {f"mil_probability:{name}": mil[:, k] for k, name in enumerate(card.classes)}
    columns |= {"call": calls, "confidence": confidence}
    return pd.DataFrame(columns)


def _mask(cells: Cells) -> np.ndarray:
    """Cells and classes as two channels of one type, (2, H, W)."""
    largest = int(cells.labels.max(initial=0))
    if largest >= 2**32:
        cause = f"a cell has the number {largest:,}; label images hold numbers up to {2**32 - 1:,}"
        raise ImageReadError(cause, "Number the cells anew.", code="label_range")
    kind = np.uint16 if largest < 2**16 else np.uint32
    return np.stack([cells.labels.astype(kind), cells.classes.astype(kind)])


def _write(path: Path, pixels: np.ndarray, names: Sequence[str], pixel_um: float | None) -> None:
    write_ome_tiff(path, pixels, channel_names=list(names), pixel_um=pixel_um, compression="zlib")
