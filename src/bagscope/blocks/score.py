"""How a model maps every image of a screen: a map, outlines, and what they add up to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bagscope.blocks.check import check_scoring
from bagscope.blocks.map_evaluation import EVALUATION, evaluation_table, map_accuracy, truth_of
from bagscope.blocks.map_image import Picture, Places, Rules, limits_of, make_map, outlined, tile_edge
from bagscope.blocks.map_parts import MapAccuracy, MapPart, load_part, save_part
from bagscope.blocks.map_tables import CONSISTENCY, consistency_table, levels_of_maps, region_frames
from bagscope.blocks.panels import panelled
from bagscope.blocks.rows import COARSE, KnownBlocks, blocks_of_row, listed, says_per_cent, side_file, zoom_of
from bagscope.engine.check import CheckReport
from bagscope.engine.checked import checked_options
from bagscope.engine.compute import threads
from bagscope.engine.events import Events
from bagscope.engine.failures import FAILURES, Failure, failure_table, of_check, of_error
from bagscope.engine.inputs import Source, field_signature, make_source
from bagscope.engine.parts import PARTS, Parts, fingerprint
from bagscope.engine.predictions import JudgedFields, gone, refuse_changed, stop_when_too_many
from bagscope.engine.score_folder import RUN, TABLES, Counts, Provenance, Scores, holds, provenance, told_of_cells
from bagscope.errors import BagscopeError, ImageReadError, Problem, SettingsError, TableError, nearest
from bagscope.exports.geojson import read_features, write_features
from bagscope.files.folder import claimed
from bagscope.files.names import field_name
from bagscope.files.reader import Header
from bagscope.files.signature import signature
from bagscope.files.tile_store import TileStore
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import replacing, write_atomic, write_json
from bagscope.settings.block_sections import BlocksSection
from bagscope.settings.jobs import BlocksReadJob, make_job
from bagscope.tables.boxes import Blocks
from bagscope.tables.frames import csv_bytes, table_files, write_parquet_of
from bagscope.tables.splits import TRAIN, VALIDATION
from bagscope.tables.table import Screen

if TYPE_CHECKING:
    from bagscope.blocks.predict import BlocksModel

MAPS, OUTLINES = "maps", "regions"
REGIONS, GEOJSON = "regions.parquet", "regions.geojson"
OURS = (*TABLES, FAILURES, RUN, PARTS, MAPS, OUTLINES, REGIONS, GEOJSON, EVALUATION, CONSISTENCY)
# Pixel sizes that differ by more are another objective.
_OTHER_SIZE = 1.1


def score_blocks(
    model: BlocksModel,
    screen: Screen | Path | str,
    out: Path,
    *,
    config: Path | None,
    resume: bool,
    overwrite: bool,
    events: Events,
    choices: Mapping[str, Any],
) -> Scores:
    """Map all images of a screen and write a score folder; see `BlocksModel.score`."""
    job, began = cast(BlocksReadJob, make_job(BlocksReadJob, config, choices)), time.monotonic()
    _refuse_settings(model, job)
    with (
        threads(job.compute.threads),
        claimed(out, OURS, finished=RUN, resume=resume, overwrite=overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        report = check_scoring(screen, job)
        report.refuse()
        if report.screen is None:
            raise TableError(list(report.problems))
        _refuse_truth(report.screen, job)
        problems = [*report.problems, *_unlike(model, report, job)]
        for note in report.notes:
            events.say(note)
        for problem in problems:
            events.warn(str(problem))
        source, failures = make_source(report.screen, report.headers, job.images, model.channels, worker, 0)
        failures = [*of_check(report.screen, report.problems), *failures]
        judged = _Screen(model, report.screen, report.headers, source, job, out, events).mapped(failures)
        warned = tuple(str(problem) for problem in problems if problem.severity == "warn")
        how = Provenance(job, warned, time.monotonic() - began, model.folder)
        return _written(model, report.screen, judged, how, out, events)


def _refuse_settings(model: BlocksModel, job: BlocksReadJob) -> None:
    background, classes = job.maps.background, model.classes
    if background and background not in classes:
        cause = f"maps.background = {background!r} is no fine class{nearest(background, classes)}"
        raise SettingsError(cause, f"The model's are {', '.join(classes)}.", code="bad_setting")
    if job.maps.threshold == "table" and model.card.limits is None:
        cause = "maps.threshold = 'table', and the model has no threshold from its table"
        fix = "Train it with --set maps.threshold=table (two classes), or leave it out here."
        raise SettingsError(cause, fix, code="bad_setting")


def _refuse_truth(screen: Screen, job: BlocksReadJob) -> None:
    name = job.blocks.truth
    if name and name not in screen.rows:
        cause = f"blocks.truth = {name!r}, and there is no such column{nearest(name, screen.rows.columns)}"
        fix = "Name a column of label images (k = the k-th fine class, 0 = unknown), or leave it out."
        raise TableError([Problem("refuse", "no_column", cause, fix, str(screen.path or ""), None, name)])


def _unlike(model: BlocksModel, report: CheckReport, job: BlocksReadJob) -> list[Problem]:
    """Say what the network sees otherwise than in training."""
    file, trained = str(report.screen.path or "") if report.screen else "", model.card.pixel_um
    found = []
    sizes = {job.images.pixel_um or header.pixel_um for header in report.headers.values()}
    other = sorted(um for um in sizes if um and trained and max(um / trained, trained / um) > _OTHER_SIZE)
    if other and trained:
        told = ", ".join(f"{um:g}" for um in other[:3])
        cause = f"pixels of {told} um, the training images have {trained:g} um"
        fix = "Choose the level of the pyramid that is nearest with --set images.level=1."
        found.append(Problem("warn", "other_pixel_size", cause, fix, file))
    return found


class _Judged(JudgedFields):
    """Maps by position in the screen, failures, and what the model was trained on among them."""

    def __init__(self, failures: list[Failure]):
        super().__init__(failures=failures)
        self.maps: dict[int, MapPart] = {}


class _Screen:
    """The images of a screen on their way to maps."""

    def __init__(
        self,
        model: BlocksModel,
        screen: Screen,
        headers: Mapping[int, Header],
        source: Source,
        job: BlocksReadJob,
        out: Path,
        events: Events,
    ):
        self._model, self._screen, self._headers, self._source = model, screen, headers, source
        self._job, self._out, self._events = job, out, events
        self._parts = Parts(out / PARTS)
        self._confidence = job.calls.confidence if "confidence" in job.calls.model_fields_set else (
            model.card.calls.confidence
        )  # fmt: skip
        trained = checked_options(BlocksSection, model.card.blocks, "blocks")
        given = {name: getattr(job.blocks, name) for name in job.blocks.model_fields_set}
        self._blocks = BlocksSection(**(trained | given | {"pixels": ""}))
        self._per_cent = says_per_cent(screen, source.positions.tolist())
        self._pixels = [height * width for _, height, width in source.store.shapes]

    def mapped(self, failures: list[Failure]) -> _Judged:
        """Map all images; what was mapped before and has not changed is taken over."""
        judged, total = _Judged(failures), len(self._source.positions)
        rows = self._model.card.training.get("rows", {})
        known = {sign: part for part in (TRAIN, VALIDATION) for sign in rows.get(part, ())}
        edge = tile_edge(self._job.maps, self._model.network)
        said = f"{total} images, {sum(self._pixels) / 1e6:,.1f} megapixels, in tiles of {edge} px"
        self._events.say(f"{said}; maps into {self._out / MAPS}")
        for i, at in enumerate(self._source.positions.tolist()):
            try:
                sign = field_signature(self._source.store.fields[i])
                if sign in known:
                    judged.known[at] = known[sign]
                judged.maps[at] = self._one(i, at, sign, judged)
            except ImageReadError as error:
                judged.failures.append(of_error(at, "score", error))
            except OSError as error:
                judged.failures.append(of_error(at, "score", gone(self._source.store.fields[i], error)))
            stop_when_too_many(judged, self._job, len(self._screen))
            self._tell(i, self._pixels[i])
        return judged

    def _tell(self, i: int, done: int) -> None:
        whole = (sum(self._pixels[:i]) + done) // 1_000_000
        self._events.progress("mapping megapixels", whole, max(1, sum(self._pixels) // 1_000_000))

    def _one(self, i: int, at: int, sign: str, judged: _Judged) -> MapPart:
        header, store = self._headers[at], self._source.store
        name = field_name(at, [Path(str(self._screen.rows[self._screen.image_columns[0]].iloc[at])).stem])
        names = (f"{MAPS}/{name}.ome.tif", f"{OUTLINES}/{name}.geojson")
        places = Places(self._out / names[0], self._out / names[1], self._parts.cells_path(at), names)
        blocks = self._known(i, at, header, judged).blocks
        truth, side = self._truth(at, header, judged)
        mark = fingerprint(
            sign,
            self._model.card.weights_sha256,
            self._job.images,
            self._job.maps,
            self._confidence,
            self._job.seed,
            [values.tolist() for values in (blocks.y, blocks.x, blocks.size, blocks.coarse)],
            side,
        )
        files = [places.map, places.outlines, places.table]
        there = load_part(self._parts.path(at), mark, files)
        if there is not None:
            return there
        picture = self._picture(i, at, header, blocks)
        right: list[MapAccuracy] = []

        def look(tiles: TileStore) -> None:
            if truth is not None:
                card, maps = self._model.card, self._job.maps
                own = truth_of(truth, header, card.classes)
                names = outlined(card, maps)
                right.extend(map_accuracy(tiles, own, names, card.classes, limits_of(card, maps), card.block_px))

        rules = Rules(self._job.maps, self._confidence, self._job.seed)
        model = self._model
        part = make_map(
            model.network, model.card, picture, places, rules, model.device, look, lambda done: self._tell(i, done)
        )
        refuse_changed(store.fields[i], sign)
        part = replace(part, right=tuple(right), kept=signature(files))
        save_part(self._parts.path(at), mark, part)
        judged.megapixels += self._pixels[i] / 1e6
        return part

    def _picture(self, i: int, at: int, header: Header, blocks: Blocks) -> Picture:
        store, job = self._source.store, self._job
        field = store.fields[i]

        def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
            return store.window(i, y0, y1, x0, x1)

        zoom, um = zoom_of(field, header), float(self._source.pixel_um[i])
        tile, reach = tile_edge(job.maps, self._model.network), int(self._model.network.reach)  # type: ignore[arg-type]
        return Picture(
            panelled(read, header, tile, reach),
            header.height,
            header.width,
            zoom,
            um if np.isfinite(um) else None,
            blocks,
            field.paths[0].name,
        )

    def _known(self, i: int, at: int, header: Header, judged: _Judged) -> KnownBlocks:
        """Blocks of an image; a table of them that cannot be read costs the comparison, not the map."""
        none = np.empty(0, np.int64)
        nothing = KnownBlocks(Blocks(none, none, none, np.empty(0, dtype=object)), None)
        if COARSE not in self._screen.rows:
            return nothing
        try:
            zoom = zoom_of(self._source.store.fields[i], header)
            found, problems = blocks_of_row(
                self._screen, at, header, self._blocks, len(self._model.classes), zoom=zoom, per_cent=self._per_cent
            )
        except BagscopeError as error:
            judged.failures.append(self._aside(error, at, COARSE))
            return nothing
        for problem in problems:
            self._events.warn(str(problem))
        return found

    def _truth(self, at: int, header: Header, judged: _Judged) -> tuple[Path | None, str]:
        """Where the true classes of an image stand, and their signature; labels that do not fit cost the comparison."""
        name = self._job.blocks.truth
        if not name:
            return None, ""
        try:
            path = side_file(self._screen, at, name)
            if path is None:
                return None, ""
            truth_of(path, header, self._model.classes)
            return path, signature([path])
        except BagscopeError as error:
            judged.failures.append(self._aside(error, at, "truth"))
            return None, ""

    def _aside(self, error: BagscopeError, at: int, stage: str) -> Failure:
        problem = listed(error, str(self._screen.path or ""), int(self._screen.rows["row"].iloc[at]))
        return Failure(at, stage, problem)


def _written(model: BlocksModel, screen: Screen, judged: _Judged, how: Provenance, out: Path, events: Events) -> Scores:
    """Write what maps add up to, then run.json: a score folder without it is unfinished."""
    job, parts, card = cast(BlocksReadJob, how.job), judged.maps, model.card
    levels = levels_of_maps(screen, card, parts, judged.known, job.maps, job.seed)
    failures = failure_table(screen, judged.failures)
    files = {FAILURES: csv_bytes(failures)}
    for level in ("images", "wells", "treatments"):
        files |= table_files(getattr(levels, level), level)
    if any(part.blocks for part in parts.values()):
        files[CONSISTENCY] = csv_bytes(consistency_table(card, parts))
    if any(part.right for part in parts.values()):
        names = outlined(card, job.maps)
        told = evaluation_table(parts, screen.rows, screen.image_columns[0], names, judged.known, job.seed)
        files[EVALUATION] = csv_bytes(told)
    digest = fingerprint(sorted((at, part.kept) for at, part in parts.items()))
    if told_of_cells(out) == digest and all(holds(out / name, content) for name, content in files.items()):
        events.say(f"{out} is finished already, and nothing has changed")
    else:
        (out / RUN).unlink(missing_ok=True)
        for name in (CONSISTENCY, EVALUATION):
            (out / name).unlink(missing_ok=True)
        write_parquet_of(region_frames(parts, screen, out / PARTS), out / REGIONS)
        with replacing(out / GEOJSON, 0) as stream:
            write_features(stream, _features(parts, out))
        for name, content in files.items():
            write_atomic(out / name, content)
        counts = Counts(len(parts), len(failures), judged.megapixels)
        limits = {"limits": limits_of(card, job.maps)}
        write_json(out / RUN, provenance(screen, card, how, counts, digest) | limits)
    if len(failures):
        events.warn(f"{len(failures)} of {len(screen)} failed, see {out / FAILURES}")
    return Scores(out, levels.images, levels.wells, levels.treatments, failures)


def _features(parts: Mapping[int, MapPart], out: Path) -> Iterator[bytes]:
    for at in sorted(parts):
        yield from read_features(out / parts[at].regions_file)
