"""How a model judges every volume of a screen: a row per shape, and what that says of images, wells and treatments."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch

from bagscope.engine.card import ShapesCard
from bagscope.engine.compute import memory_kept, threads
from bagscope.engine.events import Events
from bagscope.engine.failures import FAILURES, of_check, of_error
from bagscope.engine.parts import PARTS, CellPart, FieldPart, Parts, fingerprint
from bagscope.engine.predictions import JudgedFields, stop_when_too_many
from bagscope.engine.score_folder import RUN, TABLES, Provenance, Scores, levels_of, write_levels
from bagscope.errors import ImageReadError, Problem, TableError
from bagscope.files.folder import claimed
from bagscope.files.names import field_name
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_atomic, write_volume_tiff
from bagscope.settings.jobs import ShapesReadJob, make_job
from bagscope.settings.shape_sections import VolumesSection
from bagscope.tables.frames import parquet_bytes
from bagscope.tables.levels import wells_of
from bagscope.tables.splits import TRAIN, VALIDATION
from bagscope.tables.table import Screen
from bagscope.volumes.check import KnownVolume, check_volumes
from bagscope.volumes.importance import importance_of
from bagscope.volumes.rows import RowShapes, reading_of_job, reading_of_model, shapes_of_row, volume_signature
from bagscope.volumes.setup import embeddings
from bagscope.volumes.shape_scores import judged_solids, judged_together
from bagscope.volumes.solid_pictures import SOLIDS, keep_pictures, pictures_path, write_solids

if TYPE_CHECKING:
    from bagscope.volumes.predict import ShapeModel

VOLUMES = ("volumes.parquet", "volumes.csv")
MAPS = "maps"
EMBEDDINGS = "embeddings.parquet"
# Where these share a label, a well is judged as one bag of all its shapes.
_OF_WELLS = ("well", "group")
OURS = (*TABLES, *VOLUMES, EMBEDDINGS, FAILURES, RUN, PARTS, MAPS, SOLIDS)


def score_volumes(
    model: ShapeModel,
    screen: Screen | Path | str,
    out: Path,
    *,
    config: Path | None,
    resume: bool,
    overwrite: bool,
    events: Events,
    choices: Mapping[str, Any],
) -> Scores:
    """Judge all volumes of a screen and write a score folder; see `ShapeModel.score`."""
    job, began = cast(ShapesReadJob, make_job(ShapesReadJob, config, choices)), time.monotonic()
    section = reading_of_model(model.card, job)
    with (
        threads(job.compute.threads),
        memory_kept(),
        claimed(out, OURS, finished=RUN, resume=resume, overwrite=overwrite),
        DecodingWorker(job.compute.io_timeout) as worker,
    ):
        report = check_volumes(screen, table=job.table, volumes=section, purpose="score")
        report.refuse()
        if report.screen is None:
            raise TableError(list(report.problems))
        for note in report.notes:
            events.say(note)
        unlike = [*report.problems, *_other_spacing(model, report.headers, str(report.screen.path or ""))]
        for problem in unlike:
            events.warn(str(problem))
        judged = JudgedFields(failures=of_check(report.screen, report.problems))
        volumes = report.headers

        def shapes(at: int) -> RowShapes:
            return shapes_of_row(volumes[at], section, worker)

        judge_volumes(model, report.screen, volumes, shapes, section, job, out, judged, events)
        warned = tuple(str(problem) for problem in unlike if problem.severity == "warn")
        how = Provenance(job, warned, time.monotonic() - began, model.folder)
        return write_volume_scores(out, report.screen, model.card, judged, how, events)


def judge_volumes(
    model: ShapeModel,
    screen: Screen,
    volumes: Mapping[int, KnownVolume],
    shapes: Callable[[int], RowShapes],
    section: VolumesSection,
    job: ShapesReadJob,
    out: Path,
    judged: JudgedFields,
    events: Events,
) -> None:
    """Judge some volumes of a screen, by position, and add to `judged` what came out.

    Parameters
    ----------
    shapes : of the volume at a position, found as `section` says; asked for what was not judged before.

    Raises
    ------
    BagscopeError : more failed than is allowed.
    """
    known_rows = {sign: part for part in (TRAIN, VALIDATION)
                  for sign in model.card.training.get("rows", {}).get(part, ())}  # fmt: skip
    for number, at in enumerate(sorted(volumes), start=1):
        try:
            sign, part = _scored(model, volumes[at], screen, at, shapes, section, job, Parts(out / PARTS), out)
            judged.parts[at] = part
            if sign in known_rows:
                judged.known[at] = known_rows[sign]
        except ImageReadError as error:
            judged.failures.append(of_error(at, "score", error))
            stop_when_too_many(judged, job, len(volumes))
        events.progress("judging shapes", number, len(volumes))
    if model.card.bags.by in _OF_WELLS:
        judged.wells |= _judged_wells(
            model, screen, [at for at in sorted(volumes) if at in judged.parts], Parts(out / PARTS)
        )


def _judged_wells(
    model: ShapeModel, screen: Screen, scored: list[int], parts: Parts
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Judge all shapes of a well as one bag; scores by position of each of its rows."""
    well_of, _ = wells_of(screen.rows.iloc[scored])
    kept = [_told_of_shapes(parts, at) for at in scored]
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for well in range(int(well_of.max(initial=-1)) + 1):
        own = np.flatnonzero(well_of == well).tolist()
        logits = torch.from_numpy(np.concatenate([kept[i]["logits"] for i in own])).to(model.device)
        measures = np.concatenate([kept[i]["measures"] for i in own])
        scores = judged_together(model.judge, model.card, logits, measures)
        found |= {scored[i]: scores for i in own}
    return found


def write_volume_scores(
    out: Path, screen: Screen, card: ShapesCard, judged: JudgedFields, how: Provenance, events: Events
) -> Scores:
    """Write the tables of a score folder of volumes, and what its report shows."""
    parts = Parts(out / PARTS)
    write_solids(out, card.classes, sorted(judged.parts), parts, screen)
    levels = levels_of(screen, card, judged, how.job)
    scores = write_levels(out, screen, card, levels, judged, how, events, cells=VOLUMES)
    _write_embeddings(out, judged, parts, screen)
    return scores


def _other_spacing(model: ShapeModel, known: Mapping[int, KnownVolume], file: str) -> list[Problem]:
    seen = {tuple(one) for one in model.card.spacings}
    other = sorted({one.spacing for one in known.values()} - seen) if seen else []
    if not other:
        return []
    told = ", ".join("x".join(f"{edge:g}" for edge in one) for one in other[:3])
    cause = f"volumes with a spacing of {told} um; no training volume had it"
    return [Problem("warn", "other_spacing", cause, "Sizes are kept; blur along z may differ.", file)]


def _scored(
    model: ShapeModel,
    known: KnownVolume,
    screen: Screen,
    at: int,
    shapes: Callable[[int], RowShapes],
    section: VolumesSection,
    job: ShapesReadJob,
    parts: Parts,
    out: Path,
) -> tuple[str, FieldPart]:
    """Return the volume's signature and part, as kept from before or judged now."""
    sign, card = volume_signature(known), reading_of_job(model.card, job)
    asked = (
        card.described,
        section.model_dump(),
        card.turns.model_dump(),
        card.calls.model_dump(),
        job.cells.maps,
        job.seed,
    )
    mark = fingerprint(sign, list(known.spacing), card.weights_sha256, *asked)
    there = parts.load(at, mark)
    if there is not None and _is_whole(out, parts, at, there):
        return sign, there
    found = shapes(at)
    table, bag = judged_solids(model.judge, card, found.solids, model.device)
    write_atomic(parts.cells_path(at), parquet_bytes(table), durable=False)
    stream = io.BytesIO()
    described = embeddings(model.judge, card, [solid.shape for solid in found.solids], model.device)
    np.savez(stream, embeddings=described, logits=bag.logits, measures=bag.measures)
    write_atomic(_shapes_path(parts, at), stream.getvalue(), durable=False)
    keep_pictures(parts, at, model.judge, card, found.solids, table, model.device)
    name = _maps(model, found, table, screen, at, known, out) if job.cells.maps else ""
    called = tuple(int((table["call"] == one).sum()) for one in model.classes)
    cells = CellPart(len(table), called, _digest(parts, at), "", name)
    part = FieldPart(bag.log_odds, bag.head, "", cells)
    parts.save(at, mark, part)
    return sign, part


def _maps(
    model: ShapeModel, found: RowShapes, table: pd.DataFrame, screen: Screen, at: int, known: KnownVolume, out: Path
) -> str:
    """Write how much every voxel speaks for the class that its shape is most probably of."""
    row = screen.rows.iloc[at]
    name = f"{MAPS}/{field_name(at, [str(row['plate']), str(row['well']), str(row['site'])])}.ome.tif"
    whole = np.zeros(known.header.shape, np.float32)
    best = table[[f"probability:{one}" for one in model.classes]].to_numpy(float).argmax(1)
    for solid, k in zip(found.solids, best.tolist(), strict=True):
        own = importance_of(model.judge, model.card, solid, k, model.device)
        place = whole[solid.cut.box]
        place[solid.cut.mask] = own[solid.cut.mask]
    write_volume_tiff(out / name, whole, spacing=known.spacing)
    return name


def _write_embeddings(out: Path, judged: JudgedFields, parts: Parts, screen: Screen) -> None:
    """Write what the network describes each shape by, a row each, in the order of volumes.parquet."""
    told, lines = [], []
    for at in sorted(judged.parts):
        own = _told_of_shapes(parts, at)["embeddings"]
        told.append(own)
        lines.append(np.full(len(own), int(screen.rows["row"].iloc[at])))
    if told:
        names = [f"e{number:03d}" for number in range(told[0].shape[1])]
        frame = pd.DataFrame(np.concatenate(told), columns=names)
        frame.insert(0, "row", np.concatenate(lines))
        write_atomic(out / EMBEDDINGS, parquet_bytes(frame))


def _shapes_path(parts: Parts, at: int) -> Path:
    return parts.path(at).with_suffix(".npz")


def _is_whole(out: Path, parts: Parts, at: int, part: FieldPart) -> bool:
    """Tell whether the files that a volume's part speaks of are there, and those beside it as they were written."""
    if part.cells is None or (part.cells.map_file and not (out / part.cells.map_file).is_file()):
        return False
    try:
        return part.cells.digest == _digest(parts, at)
    except OSError:
        return False


def _digest(parts: Parts, at: int) -> str:
    """Stand for what is kept of a volume's shapes: table, arrays, surfaces."""
    kept = [path(parts, at).read_bytes() for path in (Parts.cells_path, _shapes_path, pictures_path)]
    return hashlib.sha256(b"".join(kept)).hexdigest()


def _told_of_shapes(parts: Parts, at: int) -> Mapping[str, np.ndarray]:
    """What is kept of a volume's shapes: their embeddings, logits and measures."""
    with _shapes_path(parts, at).open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
        return dict(kept)
