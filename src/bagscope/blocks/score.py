"""How a model maps every image of a screen: a map, outlines, and areas of images, wells and treatments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from bagscope.atomic import replacing
from bagscope.blocks.card import BlocksCard
from bagscope.blocks.map_evaluation import evaluation_table, map_accuracy, truth_of
from bagscope.blocks.map_image import Picture, Places, Rules, limits_of, make_map, outlined, tile_edge
from bagscope.blocks.map_parts import MapAccuracy, MapPart, load_part, save_part
from bagscope.blocks.map_tables import consistency_table, levels_of_maps, region_frames
from bagscope.blocks.panels import panelled
from bagscope.blocks.rows import (
    COARSE,
    KnownBlocks,
    LabelReading,
    blocks_of_row,
    listed,
    says_per_cent,
    side_file,
    zoom_of,
)
from bagscope.engine.check import CheckReport
from bagscope.engine.checked import checked_options
from bagscope.engine.failures import Failure, of_check
from bagscope.engine.inputs import Source, field_signature, make_source
from bagscope.engine.loaded import LoadedModel
from bagscope.engine.parts import Parts, fingerprint
from bagscope.engine.predictions import (
    Predictions,
    RowLimit,
    drive_error,
    refuse_changed,
    score_each,
    training_splits,
)
from bagscope.engine.run import Run
from bagscope.engine.score_folder import TABLES, Details, Provenance, Result, Scores, write_folder
from bagscope.engine.scoring import screen_of
from bagscope.errors import BagscopeError
from bagscope.exports.geojson import read_features, write_features
from bagscope.files.names import field_name
from bagscope.files.reader import Header
from bagscope.files.run_names import CONSISTENCY, EVALUATION, FAILURES, GEOJSON, MAPS, OUTLINES, PARTS, REGIONS, RUN
from bagscope.files.signature import signature
from bagscope.files.tile_store import TileStore
from bagscope.settings.block_sections import BlocksSection
from bagscope.settings.jobs import BlocksReadJob
from bagscope.tables.boxes import Blocks
from bagscope.tables.frames import csv_bytes, write_parquet_of
from bagscope.tables.table import Screen

SCORE_FILES = (*TABLES, FAILURES, RUN, PARTS, MAPS, OUTLINES, REGIONS, GEOJSON, EVALUATION, CONSISTENCY)


@dataclass
class MapPredictions(Predictions):
    """The maps of a screen's images, by position in the screen."""

    maps: dict[int, MapPart] = field(default_factory=dict)

    @property
    def scored(self) -> int:
        """Number of images that have a map."""
        return len(self.maps)


def predict_rows(model: LoadedModel[BlocksCard], report: CheckReport, run: Run[BlocksReadJob]) -> MapPredictions:
    """Map every usable image of a checked screen; see `engine.tasks.Stages`."""
    screen = screen_of(report)
    source, misfits = make_source(screen, report.headers, run.job.images, model.card.channels, run.worker, 0)
    predictions = MapPredictions(failures=[*of_check(screen, report.problems), *misfits])
    mapper = _Mapper(model, report, source, run)
    positions = source.positions.tolist()
    rows = ((at, partial(mapper.map_row, i, at, predictions)) for i, at in enumerate(positions))
    mapper.announce()
    score_each(rows, predictions, RowLimit(run.job, len(screen)), lambda done: mapper.progress(done, 0))
    return predictions


class _Mapper:
    """Maps the images of a screen; stored maps that are still valid are taken over."""

    def __init__(self, model: LoadedModel[BlocksCard], report: CheckReport, source: Source, run: Run[BlocksReadJob]):
        self._model, self._source, self._job = model, source, run.job
        self._screen, self._headers = screen_of(report), report.headers
        self._out, self._events = run.target.folder, run.events
        self._parts = Parts(self._out / PARTS)
        self._splits = training_splits(model.card)
        calls = run.job.calls
        is_given = "confidence" in calls.model_fields_set
        self._confidence = calls.confidence if is_given else model.card.calls.confidence
        trained = checked_options(BlocksSection, model.card.blocks, "blocks")
        given = {name: getattr(run.job.blocks, name) for name in run.job.blocks.model_fields_set}
        section = BlocksSection(**(trained | given | {"pixels": ""}))
        per_cent = says_per_cent(self._screen, source.positions.tolist())
        self._reading = LabelReading(section, len(model.classes), run.worker, per_cent)
        self._pixels = [height * width for _, height, width in source.store.shapes]

    def announce(self) -> None:
        """Report how much will be mapped, and where the maps go."""
        edge = tile_edge(self._job.maps, self._model.network)
        size = f"{len(self._pixels)} images, {sum(self._pixels) / 1e6:,.1f} megapixels, in tiles of {edge} px"
        self._events.say(f"{size}; maps into {self._out / MAPS}")

    def progress(self, images: int, pixels: int) -> None:
        """Report progress in megapixels: of finished images, and pixels of the next one."""
        done = (sum(self._pixels[:images]) + pixels) // 1_000_000
        self._events.progress("mapping megapixels", done, max(1, sum(self._pixels) // 1_000_000))

    def map_row(self, i: int, at: int, predictions: MapPredictions) -> None:
        """Map image number i of the source, which is at this position of the screen."""
        try:
            sign = field_signature(self._source.store.fields[i])
            if sign in self._splits:
                predictions.training_split[at] = self._splits[sign]
            predictions.maps[at] = self._part(i, at, sign, predictions)
        except OSError as error:
            raise drive_error(self._source.store.fields[i], error) from None

    def _part(self, i: int, at: int, sign: str, predictions: MapPredictions) -> MapPart:
        header, model = self._headers[at], self._model
        name = field_name(at, [Path(str(self._screen.rows[self._screen.image_columns[0]].iloc[at])).stem])
        names = (f"{MAPS}/{name}.ome.tif", f"{OUTLINES}/{name}.geojson")
        places = Places(self._out / names[0], self._out / names[1], self._parts.cells_path(at), names)
        blocks = self._known(i, at, header, predictions).blocks
        truth, truth_signature = self._truth(at, header, predictions)
        mark = fingerprint(
            sign,
            model.card.weights_sha256,
            self._job.images,
            self._job.maps,
            self._confidence,
            self._job.seed,
            [values.tolist() for values in (blocks.y, blocks.x, blocks.size, blocks.coarse)],
            truth_signature,
        )
        files = [places.map, places.outlines, places.table]
        stored = load_part(self._parts.path(at), mark, files)
        if stored is not None:
            return stored
        accuracies: list[MapAccuracy] = []
        picture, rules = self._picture(i, at, header, blocks), Rules(self._job.maps, self._confidence, self._job.seed)
        evaluate = partial(self._evaluate, truth, header, accuracies)
        part = make_map(model, picture, places, rules, evaluate, lambda pixels: self.progress(i, pixels))
        refuse_changed(self._source.store.fields[i], sign)
        part = replace(part, right=tuple(accuracies), kept=signature(files))
        save_part(self._parts.path(at), mark, part)
        predictions.megapixels += self._pixels[i] / 1e6
        return part

    def _evaluate(self, truth: Path | None, header: Header, accuracies: list[MapAccuracy], tiles: TileStore) -> None:
        """Compare a map with the true classes, where there are any."""
        if truth is None:
            return
        card, maps = self._model.card, self._job.maps
        labels = truth_of(truth, header, card.classes, self._reading.worker)
        names, limits = outlined(card, maps), limits_of(card, maps)
        accuracies.extend(map_accuracy(tiles, labels, names, card.classes, limits, card.block_px))

    def _picture(self, i: int, at: int, header: Header, blocks: Blocks) -> Picture:
        store, job = self._source.store, self._job
        field = store.fields[i]

        def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
            return store.window(i, y0, y1, x0, x1)

        zoom, um = zoom_of(field, header), float(self._source.pixel_um[i])
        tile, reach = tile_edge(job.maps, self._model.network), int(self._model.network.reach)
        return Picture(
            panelled(read, header, tile, reach),
            header.height,
            header.width,
            zoom,
            um if np.isfinite(um) else None,
            blocks,
            field.paths[0].name,
        )

    def _known(self, i: int, at: int, header: Header, predictions: MapPredictions) -> KnownBlocks:
        """Blocks of an image; a table of them that cannot be read costs the comparison, not the map."""
        none = np.empty(0, np.int64)
        nothing = KnownBlocks(Blocks(none, none, none, np.empty(0, dtype=object)), None)
        if COARSE not in self._screen.rows:
            return nothing
        try:
            zoom = zoom_of(self._source.store.fields[i], header)
            found, problems = blocks_of_row(self._screen, at, header, self._reading, zoom)
        except BagscopeError as error:
            predictions.failures.append(self._aside(error, at, COARSE))
            return nothing
        for problem in problems:
            self._events.warn(str(problem))
        return found

    def _truth(self, at: int, header: Header, predictions: MapPredictions) -> tuple[Path | None, str]:
        """Where the true classes of an image stand, and their signature; labels that do not fit cost the comparison."""
        name = self._job.blocks.truth
        if not name:
            return None, ""
        try:
            path = side_file(self._screen, at, name)
            if path is None:
                return None, ""
            truth_of(path, header, self._model.classes, self._reading.worker)
            return path, signature([path])
        except BagscopeError as error:
            predictions.failures.append(self._aside(error, at, "truth"))
            return None, ""

    def _aside(self, error: BagscopeError, at: int, stage: str) -> Failure:
        problem = listed(error, str(self._screen.path or ""), int(self._screen.rows["row"].iloc[at]))
        return Failure(at, stage, problem)


def write_scores(
    model: LoadedModel[BlocksCard],
    screen: Screen,
    predictions: MapPredictions,
    how: Provenance,
    run: Run[BlocksReadJob],
) -> Scores:
    """Write areas, outlines and the comparison with blocks and true classes; see `engine.tasks.Stages`."""
    job, parts, card, out = run.job, predictions.maps, model.card, run.target.folder
    levels = levels_of_maps(screen, card, parts, predictions.training_split, job.maps, job.seed)
    files = {}
    if any(part.blocks for part in parts.values()):
        files[CONSISTENCY] = csv_bytes(consistency_table(card, parts))
    if any(part.right for part in parts.values()):
        names, splits = outlined(card, job.maps), predictions.training_split
        table = evaluation_table(parts, screen.rows, screen.image_columns[0], names, splits, job.seed)
        files[EVALUATION] = csv_bytes(table)

    def write_regions() -> None:
        write_parquet_of(region_frames(parts, screen, out / PARTS), out / REGIONS)
        with replacing(out / GEOJSON, 0) as stream:
            write_features(stream, _features(parts, out))

    details = Details(
        fingerprint(sorted((at, part.kept) for at, part in parts.items())),
        write_regions,
        files,
        optional=(CONSISTENCY, EVALUATION),
        facts={"limits": limits_of(card, job.maps)},
    )
    return write_folder(Result(screen, card, levels, predictions, how), details, run)


def _features(parts: Mapping[int, MapPart], out: Path) -> Iterator[bytes]:
    for at in sorted(parts):
        yield from read_features(out / parts[at].regions_file)
