"""How a model scores the fields of a screen and, where asked, their cells."""

from __future__ import annotations

from bagscope.engine import score_folder
from bagscope.engine.check import CheckReport
from bagscope.engine.failures import of_check
from bagscope.engine.inputs import make_source
from bagscope.engine.parts import Parts
from bagscope.engine.predictions import Predictions
from bagscope.engine.run import Run
from bagscope.engine.score_folder import TABLES, Provenance, Scores
from bagscope.engine.scoring import screen_of
from bagscope.errors import Problem
from bagscope.files.run_names import FAILURES, MAPS, MASKS, PARTS, RUN
from bagscope.images import similarity
from bagscope.images.cell_stage import CellStage
from bagscope.images.inference import FieldScorer, predict_fields
from bagscope.images.predict import Model
from bagscope.settings.jobs import ReadJob
from bagscope.tables.table import Screen

SCORE_FILES = (*TABLES, FAILURES, RUN, PARTS, MASKS, MAPS)


def predict_rows(model: Model, report: CheckReport, run: Run[ReadJob]) -> Predictions:
    """Score every usable field of a checked screen; see `engine.tasks.Stages`."""
    screen, job, folder = screen_of(report), run.job, run.target.folder
    source, misfits = make_source(screen, report.headers, job.images, model.card.channels, run.worker, 0)
    cells = CellStage(job.cells, model.card, screen, folder, run.worker)
    for problem in cells.warnings:
        run.events.warn(str(problem))
    scorer = FieldScorer(model, source, Parts(folder / PARTS), job, cells)
    predictions = predict_fields(scorer, [*of_check(screen, report.problems), *misfits], run.events)
    if cells.in_pieces:
        cause = f"in {cells.in_pieces} masks a label covers several separate regions; they count as one cell"
        run.events.warn(str(Problem("warn", "pieces", cause, "Give each a label of its own if they are several.")))
    late = similarity.after_scoring(predictions.unlike, len(predictions.parts), str(screen.path or ""))
    predictions.warnings = tuple(map(str, late))
    return predictions


def write_scores(model: Model, screen: Screen, predictions: Predictions, how: Provenance, run: Run[ReadJob]) -> Scores:
    """Write the tables of images, wells, treatments and cells; see `engine.tasks.Stages`."""
    return score_folder.write_scores(screen, model.card, predictions, how, run)
