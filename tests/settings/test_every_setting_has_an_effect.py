"""Does each setting that a task takes change what training and scoring do, and is the rest refused?"""

import changes_of_blocks
import changes_of_images
import changes_of_volumes
import pytest
from effects import CHECK, PIXELS, SCORE, TRAIN, Laboratory

from bagscope.errors import SettingsError
from bagscope.files.worker import DecodingWorker
from bagscope.settings.jobs import JOBS, READ_JOBS, BlockSampleJob, make_job
from bagscope.settings.sections import Section

TABLES = {"images": changes_of_images, "blocks": changes_of_blocks, "volumes": changes_of_volumes}
# Where the effect of a setting of scoring shows.
OF_A_MODEL = {CHECK: "model_check", PIXELS: "model_pixels", TRAIN: SCORE}


def names_of(kind):
    """All settings of a job."""
    sections = {name: field.default for name, field in kind.model_fields.items() if name != "task"}
    return {
        name if not isinstance(default, Section) else f"{name}.{key}"
        for name, default in sections.items()
        for key in (type(default).model_fields if isinstance(default, Section) else [""])
    }


def changes(purpose):
    return [
        pytest.param(task, name, change, id=f"{task}-{name}")
        for task, table in TABLES.items()
        for name, change in getattr(table, purpose).items()
    ]


@pytest.fixture(scope="module")
def worker():
    with DecodingWorker(60) as worker:
        yield worker


@pytest.fixture(scope="module")
def laboratories(tmp_path_factory, worker):
    with pytest.MonkeyPatch.context() as patch:
        yield {
            task: Laboratory(task, table.BASE, table.MODEL, tmp_path_factory.mktemp(task), worker, patch)
            for task, table in TABLES.items()
        }


@pytest.mark.parametrize("task", JOBS)
def test_every_setting_has_its_change(task):
    table = TABLES[task]
    seen_elsewhere = table.ELSEWHERE | getattr(table, "OF_FOLDS", set())
    assert names_of(JOBS[task]) == set(table.TRAINING) | seen_elsewhere
    assert names_of(READ_JOBS[task]) == set(table.SCORING) | table.ELSEWHERE


@pytest.mark.parametrize(("task", "name", "change"), changes("TRAINING"))
def test_another_value_changes_a_training_or_is_refused(laboratories, task, name, change):
    before = laboratories[task].outcome(change, {}, change.stage)
    assert laboratories[task].outcome(change, {name: change.value}, change.stage) != before


@pytest.mark.parametrize(("task", "name", "change"), changes("SCORING"))
def test_another_value_changes_a_scoring_or_is_refused(laboratories, task, name, change):
    stage = OF_A_MODEL.get(change.stage, change.stage)
    before = laboratories[task].outcome(change, {}, stage)
    assert laboratories[task].outcome(change, {name: change.value}, stage) != before


@pytest.mark.parametrize("task", JOBS)
def test_equal_settings_give_equal_outcomes_so_that_a_difference_is_an_effect(laboratories, task):
    laboratory, change = laboratories[task], TABLES[task].TRAINING["seed"]
    screen = laboratory.screen(change.screen)
    for run in (laboratory._train, laboratory._score, laboratory._check):
        assert run(screen, {}) == run(screen, {})
    if task == "images":
        sure = changes_of_images.SURE
        assert laboratory._self_train(screen, sure) == laboratory._self_train(screen, sure)


class Reached(Exception):
    """Stops a stage where a setting arrives, so that nobody waits for the rest."""


def stopping(take):
    """Return a function that stops with what `take` makes of its arguments."""

    def stop(*arguments):
        raise Reached(take(*arguments))

    return stop


def reached(work, place, take, monkeypatch):
    """Return what arrives at a place while some work is done."""
    monkeypatch.setattr(place, stopping(take))
    with pytest.raises(Reached) as stopped:
        work()
    return stopped.value.args[0]


@pytest.mark.parametrize("task", JOBS)
@pytest.mark.parametrize("purpose", ["training", "scoring"])
@pytest.mark.parametrize("name", ["threads", "io_timeout"])
def test_threads_and_the_time_limit_of_reading_arrive_where_they_act(laboratories, task, purpose, name, monkeypatch):
    laboratory, chosen = laboratories[task], {f"compute.{name}": 3}
    model, screen = laboratory.model(), laboratory.screen(TABLES[task].TRAINING["seed"].screen)
    stage = "stages" if purpose == "training" else "scoring"
    place = {"threads": "bagscope.engine.compute.torch.set_num_threads"}.get(
        name, f"bagscope.engine.{stage}.DecodingWorker"
    )

    def work():
        if purpose == "training":
            return laboratory._train(screen, chosen)
        return model.score(screen, laboratory.folder / "never", **chosen)

    assert reached(work, place, lambda value: value, monkeypatch) == 3


def test_the_size_of_a_tile_arrives_where_images_are_scored(laboratories, monkeypatch):
    laboratory = laboratories["images"]
    model, screen = laboratory.model(), laboratory.screen("toy")

    def work():
        model.score(screen, laboratory.folder / "never_tiled", **{"compute.tile": 32})

    assert reached(work, "bagscope.images.inference.score_field", lambda *given: given[2], monkeypatch) == 32


@pytest.mark.parametrize(
    ("task", "place", "number", "cells"),
    [
        (
            "images",
            "bagscope.images.folds.FieldScorer",
            3,
            {"source": "own", "score": "map", "masks": True, "maps": True},
        ),
        ("volumes", "bagscope.volumes.folds.VolumeScorer", 4, {"maps": True}),
    ],
)
def test_folds_are_scored_by_the_settings_of_scoring(laboratories, task, place, number, cells, monkeypatch):
    laboratory, compute = laboratories[task], {"max_failures": 0.3} | ({"tile": 32} if task == "images" else {})
    chosen = {f"cells.{key}": value for key, value in cells.items()}
    chosen |= {f"compute.{key}": value for key, value in compute.items()}

    def work():
        laboratory._train(laboratory.screen(TABLES[task].TRAINING["seed"].screen), chosen | {"split.folds": 2})

    given = reached(work, place, lambda *arguments: arguments[number], monkeypatch)
    job = getattr(given, "job", given)
    assert {key: getattr(job.cells, key) for key in cells} == cells
    assert {key: getattr(job.compute, key) for key in compute} == compute


def test_maps_of_blocks_are_written_whether_asked_for_or_not(laboratories):
    laboratory = laboratories["blocks"]
    screen = laboratory.screen("tissue_of_spots")
    plain = laboratory._score(screen, {})
    assert any(name.startswith("maps/") for name in plain)
    assert laboratory._score(screen, {"cells.maps": True}) == plain


@pytest.mark.parametrize(
    ("kind", "name", "value", "purpose"),
    [
        (JOBS["blocks"], "split.by", "no such column", "blocks in training"),
        (JOBS["blocks"], "split.validation", 0.9, "blocks in training"),
        (JOBS["blocks"], "training.threshold_rate", 7, "blocks in training"),
        (JOBS["blocks"], "training.patience", 1, "blocks in training"),
        (JOBS["blocks"], "training.check_every", 1, "blocks in training"),
        (READ_JOBS["blocks"], "blocks.method", "llp", "blocks in scoring"),
        (BlockSampleJob, "maps.tile", 64, "blocks in sampling"),
        (JOBS["images"], "images.rescale", True, "images in training"),
        (READ_JOBS["images"], "table.max_missing", 0.5, "images in scoring"),
        (JOBS["volumes"], "table.force", True, "volumes in training"),
        (READ_JOBS["volumes"], "turns.shear", 0.1, "volumes in scoring"),
    ],
)
def test_what_a_task_ignores_is_refused_by_name(kind, name, value, purpose):
    with pytest.raises(SettingsError, match=f"^{name}: of no effect for {purpose}") as refused:
        make_job(kind, None, {name: value})
    assert refused.value.problem.code == "unknown_setting"
    default = getattr(getattr(kind(), name.partition(".")[0]), name.partition(".")[2])
    assert make_job(kind, None, {name: default}) == kind()


def test_all_that_is_ignored_is_named_at_once():
    with pytest.raises(SettingsError, match=r"^split\.by, training\.patience: of no effect for blocks in training"):
        make_job(JOBS["blocks"], None, {"training.patience": 3, "split.by": "plate"})
