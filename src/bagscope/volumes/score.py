"""How a model scores the volumes of a screen: a row per shape, aggregated to images, wells and treatments."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bagscope.engine import score_folder
from bagscope.engine.check import CheckReport
from bagscope.engine.failures import Failure, of_check
from bagscope.engine.loaded import LoadedModel, TrainedNetwork
from bagscope.engine.parts import CellPart, FieldPart, Parts, fingerprint
from bagscope.engine.predictions import Predictions, RowLimit, score_each, training_splits
from bagscope.engine.run import Run
from bagscope.engine.score_folder import TABLES, Provenance, Scores
from bagscope.engine.scoring import screen_of
from bagscope.files.names import field_name
from bagscope.files.run_names import EMBEDDINGS, FAILURES, MAPS, PARTS, RUN, SOLIDS, VOLUMES
from bagscope.files.writer import write_atomic, write_volume_tiff
from bagscope.settings.jobs import ShapesReadJob
from bagscope.tables.frames import parquet_bytes
from bagscope.tables.levels import wells_of
from bagscope.tables.table import Screen
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.headers import KnownVolume
from bagscope.volumes.importance import importance_of
from bagscope.volumes.rows import RowShapes, reading_of_job, reading_of_model, shapes_of_row, volume_signature
from bagscope.volumes.setup import embeddings
from bagscope.volumes.shape_scores import judged_solids, judged_together
from bagscope.volumes.solid_pictures import pictures_path, write_pictures, write_solids

# Where these share a label, a well is scored as one bag of all its shapes.
_OF_WELLS = ("well", "group")
SCORE_FILES = (*TABLES, *VOLUMES, EMBEDDINGS, FAILURES, RUN, PARTS, MAPS, SOLIDS)


def predict_rows(model: LoadedModel[ShapesCard], report: CheckReport, run: Run[ShapesReadJob]) -> Predictions:
    """Score every usable volume of a checked screen; see `engine.tasks.Stages`."""
    screen, section = screen_of(report), reading_of_model(model.card, run.job)

    def shapes(at: int) -> RowShapes:
        return shapes_of_row(report.headers[at], section, run.worker)

    scorer = VolumeScorer(model, screen, report.headers, shapes, run)
    return predict_volumes(scorer, of_check(screen, report.problems))


class VolumeScorer:
    """Scores volumes of a screen; stored scores that are still valid are taken over.

    Parameters
    ----------
    volumes : by position in the screen.
    shapes : returns the shapes of the volume at a position; called for volumes without stored scores.
    """

    def __init__(
        self,
        model: LoadedModel[ShapesCard],
        screen: Screen,
        volumes: Mapping[int, KnownVolume],
        shapes: Callable[[int], RowShapes],
        run: Run[ShapesReadJob],
    ):
        self.model, self.screen, self.volumes, self.shapes, self.run = model, screen, volumes, shapes, run
        self.parts = Parts(run.target.folder / PARTS)
        self.card = reading_of_job(model.card, run.job)
        self._section = reading_of_model(model.card, run.job)
        self._splits = training_splits(model.card)

    def score(self, at: int, predictions: Predictions) -> None:
        """Score the volume at a position of the screen, and store the result.

        Raises
        ------
        ImageReadError : the volume cannot be read, or holds no shape.
        """
        signature = volume_signature(self.volumes[at])
        predictions.parts[at] = self._part(at, signature)
        if signature in self._splits:
            predictions.training_split[at] = self._splits[signature]

    def _part(self, at: int, signature: str) -> FieldPart:
        mark = self._fingerprint(at, signature)
        stored = self.parts.load(at, mark)
        if stored is not None and self._is_whole(at, stored):
            return stored
        card, model, shapes = self.card, self.model, self.shapes(at)
        table, bag = judged_solids(model.network, card, shapes.solids, model.device)
        write_atomic(self.parts.cells_path(at), parquet_bytes(table), durable=False)
        stream = io.BytesIO()
        described = embeddings(model.network, card, [solid.shape for solid in shapes.solids], model.device)
        np.savez(stream, embeddings=described, logits=bag.logits, measures=bag.measures)
        write_atomic(_shapes_path(self.parts, at), stream.getvalue(), durable=False)
        as_read = TrainedNetwork(model.network, card, model.device)
        write_pictures(pictures_path(self.parts, at), as_read, shapes.solids, table)
        name = self._write_map(at, shapes, table) if self.run.job.cells.maps else ""
        called = tuple(int((table["call"] == label).sum()) for label in model.classes)
        cells = CellPart(len(table), called, _digest(self.parts, at), "", name)
        part = FieldPart(bag.log_odds, bag.head, "", cells)
        self.parts.save(at, mark, part)
        return part

    def _fingerprint(self, at: int, signature: str) -> str:
        card, job = self.card, self.run.job
        return fingerprint(
            signature,
            list(self.volumes[at].spacing),
            card.weights_sha256,
            card.described,
            self._section.model_dump(),
            card.turns.model_dump(),
            card.calls.model_dump(),
            job.cells.maps,
            job.seed,
        )

    def _write_map(self, at: int, shapes: RowShapes, table: pd.DataFrame) -> str:
        """Write the relevance of every voxel for the most probable class of its shape; return the file's name."""
        row, volume, model = self.screen.rows.iloc[at], self.volumes[at], self.model
        name = f"{MAPS}/{field_name(at, [str(row['plate']), str(row['well']), str(row['site'])])}.ome.tif"
        relevance = np.zeros(volume.header.shape, np.float32)
        best = table[[f"probability:{label}" for label in model.classes]].to_numpy(float).argmax(1)
        for solid, k in zip(shapes.solids, best.tolist(), strict=True):
            values = importance_of(model.network, model.card, solid, k, model.device)
            relevance[solid.cut.box][solid.cut.mask] = values[solid.cut.mask]
        write_volume_tiff(self.run.target.folder / name, relevance, spacing=volume.spacing)
        return name

    def _is_whole(self, at: int, part: FieldPart) -> bool:
        """Whether the files that a volume's part names exist and are as they were written."""
        folder = self.run.target.folder
        if part.cells is None or (part.cells.map_file and not (folder / part.cells.map_file).is_file()):
            return False
        try:
            return part.cells.digest == _digest(self.parts, at)
        except OSError:
            return False

    def score_wells(self, positions: Sequence[int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Score all shapes of a well as one bag; return the scores by position of each of its rows."""
        well_of, _ = wells_of(self.screen.rows.iloc[list(positions)])
        stored = [_shape_arrays(self.parts, at) for at in positions]
        scores: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for well in range(int(well_of.max(initial=-1)) + 1):
            members = np.flatnonzero(well_of == well).tolist()
            logits = torch.from_numpy(np.concatenate([stored[i]["logits"] for i in members])).to(self.model.device)
            measures = np.concatenate([stored[i]["measures"] for i in members])
            bag = judged_together(self.model.network, self.model.card, logits, measures)
            scores |= {positions[i]: bag for i in members}
        return scores


def predict_volumes(scorer: VolumeScorer, failures: Sequence[Failure]) -> Predictions:
    """Score all volumes of a scorer.

    Parameters
    ----------
    failures : rows that failed before; they count among the failures.

    Raises
    ------
    BagscopeError : more rows fail than the settings allow; what was scored stays.
    """
    predictions, positions, run = Predictions(failures=list(failures)), sorted(scorer.volumes), scorer.run
    rows = ((at, partial(scorer.score, at, predictions)) for at in positions)
    limit = RowLimit(run.job, len(positions) + len(failures))
    total = len(positions)
    score_each(rows, predictions, limit, lambda done: run.events.progress("scoring shapes", done, total))
    if scorer.model.card.bags.by in _OF_WELLS:
        predictions.wells = scorer.score_wells([at for at in positions if at in predictions.parts])
    return predictions


def write_scores(
    model: LoadedModel[ShapesCard],
    screen: Screen,
    predictions: Predictions,
    how: Provenance,
    run: Run[ShapesReadJob],
) -> Scores:
    """Write the tables of a score folder of volumes, and what its report shows; see `engine.tasks.Stages`."""
    folder, card = run.target.folder, model.card
    parts = Parts(folder / PARTS)
    write_solids(folder, card.classes, sorted(predictions.parts), parts, screen)
    scores = score_folder.write_scores(screen, card, predictions, how, run, cells=VOLUMES)
    _write_embeddings(folder, predictions, parts, screen)
    return scores


def _write_embeddings(folder: Path, predictions: Predictions, parts: Parts, screen: Screen) -> None:
    """Write the network's embedding of each shape, a row each, in the order of volumes.parquet."""
    values, lines = [], []
    for at in sorted(predictions.parts):
        values.append(_shape_arrays(parts, at)["embeddings"])
        lines.append(np.full(len(values[-1]), int(screen.rows["row"].iloc[at])))
    if values:
        names = [f"e{number:03d}" for number in range(values[0].shape[1])]
        frame = pd.DataFrame(np.concatenate(values), columns=names)
        frame.insert(0, "row", np.concatenate(lines))
        write_atomic(folder / EMBEDDINGS, parquet_bytes(frame))


def _shapes_path(parts: Parts, at: int) -> Path:
    return parts.path(at).with_suffix(".npz")


def _digest(parts: Parts, at: int) -> str:
    """Return what stands for the stored files of a volume's shapes: table, arrays, surfaces."""
    stored = [path(parts, at).read_bytes() for path in (Parts.cells_path, _shapes_path, pictures_path)]
    return hashlib.sha256(b"".join(stored)).hexdigest()


def _shape_arrays(parts: Parts, at: int) -> Mapping[str, np.ndarray]:
    """Return the stored embeddings, logits and measures of a volume's shapes."""
    with _shapes_path(parts, at).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        return dict(stored)
