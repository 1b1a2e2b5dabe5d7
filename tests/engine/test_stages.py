"""Do the shared stages treat every task alike: devices, failures, checks, warnings and finished folders?"""

from __future__ import annotations

import inspect
import shutil

import numpy as np
import pytest
import tifffile

import bagscope as bs
import tissue
import toys
from bagscope.engine.events import SILENT
from bagscope.engine.failures import Failure, write_failures
from bagscope.engine.predictions import LEAST_FAILURES
from bagscope.engine.tasks import TASKS, Check, Stages, check_of, stages_of
from bagscope.errors import BagscopeError, ModelError, Problem, SettingsError, TableError
from bagscope.files.run_names import FAILURES
from solids_drawn import QUICK as FEW
from solids_drawn import screen_of

ALL = tuple(TASKS)


@pytest.fixture(scope="module")
def screens(toy, tmp_path_factory):
    """Return a table per task; read them, never write to them."""
    folder = tmp_path_factory.mktemp("screens")
    blocks, _ = tissue.screen_of(folder / "blocks")
    return {"images": toy, "blocks": blocks, "volumes": screen_of(folder / "volumes")}


def settings(task, screens):
    """Return the fewest steps that train."""
    if task == "blocks":
        return tissue.TINY | {"steps": 2, "second.steps": 0, "proportions": str(screens["blocks"].parent / "p.csv")}
    return {"task": "volumes", **FEW} if task == "volumes" else toys.QUICK


@pytest.fixture(scope="module")
def models(screens, tmp_path_factory):
    """Return a trained model per task."""
    folder = tmp_path_factory.mktemp("models")
    return {task: bs.train(screens[task], folder / task, **settings(task, screens)) for task in ALL}


@pytest.mark.parametrize("task", ALL)
def test_a_device_that_does_not_exist_is_refused_by_every_task(task, models, screens, tmp_path):
    with pytest.raises(SettingsError, match="cuda:99"):
        models[task].score(screens[task], tmp_path / "scores", device="cuda:99")
    with pytest.raises(SettingsError, match="cuda:99"):
        bs.train(screens[task], tmp_path / "model", **{**settings(task, screens), "device": "cuda:99"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ALL)
def test_a_finished_model_of_other_settings_is_refused_by_every_task(task, models, screens, tmp_path):
    shutil.copytree(models[task].folder, tmp_path / "model")
    listener = toys.Listener()
    given = settings(task, screens) | {"resume": True, "events": listener}
    again = bs.train(screens[task], tmp_path / "model", **given)
    assert again.card.weights_sha256 == models[task].card.weights_sha256
    assert any("finished already" in line for line in listener.said)
    with pytest.raises(ModelError, match="other rows or files, or with other settings"):
        bs.train(screens[task], tmp_path / "model", **given, seed=5)


@pytest.mark.parametrize("task", ALL)
def test_scoring_stops_before_the_first_row_when_too_many_rows_are_listed(task, models, screens, tmp_path):
    rows = toys.table_of(screens[task])
    suffix = ".ome.tif" if task != "blocks" else ".tif"
    good = screens[task].parent / rows[0]["image"]
    lines = [f"broken{at}{suffix}" for at in range(LEAST_FAILURES + 1)]
    for name in lines:
        (tmp_path / name).write_bytes(b"not an image")
    shutil.copy(good, tmp_path / f"good{suffix}")
    (tmp_path / "table.csv").write_text("\n".join(["image", f"good{suffix}", *lines]) + "\n")
    listener = toys.Listener()
    with pytest.raises(BagscopeError, match="11 of 12 fields have failed already"):
        models[task].score(tmp_path / "table.csv", tmp_path / "scores", threads=1, events=listener)
    assert not listener.steps
    allowed = {"compute.max_failures": 1.0, "threads": 1}
    scores = models[task].score(tmp_path / "table.csv", tmp_path / "scores", overwrite=True, **allowed)
    assert len(scores.failures) == LEAST_FAILURES + 1


@pytest.mark.parametrize("task", ALL)
def test_the_public_check_lists_the_problems_that_training_refuses(task, screens, tmp_path):
    given = {name: value for name, value in settings(task, screens).items() if name != "task"}
    assert bs.check(screens[task], task=task, **given).exit_code == 0
    (tmp_path / "table.csv").write_text("image\ngone.tif\n")
    report = bs.check(tmp_path / "table.csv", task=task, **given)
    assert report.exit_code == 2
    with pytest.raises(TableError) as refused:
        bs.train(tmp_path / "table.csv", tmp_path / "model", **settings(task, screens))
    assert {problem.code for problem in report.refused} <= {problem.code for problem in refused.value.problems}


def test_the_check_of_an_unknown_setting_or_task_is_refused(screens):
    with pytest.raises(SettingsError, match="unknown task 'image'"):
        bs.check(screens["images"], task="image")
    with pytest.raises(SettingsError, match="split_buy"):
        bs.check(screens["images"], split_buy="plate")


@pytest.mark.parametrize("task", ALL)
def test_a_check_with_pixels_finds_broken_data_for_every_task(task, screens, tmp_path):
    folder = tmp_path / "screen"
    shutil.copytree(screens[task].parent, folder)
    table = folder / screens[task].name
    broken = folder / toys.table_of(table)[1]["image"]
    content = bytearray(broken.read_bytes())
    if task == "volumes":
        tifffile.imwrite(broken, np.zeros((20, 20, 20), np.uint8), ome=True, metadata={"axes": "ZYX"})
    else:
        with tifffile.TiffFile(broken) as file:
            start = file.pages[0].dataoffsets[0]
        del content[start + 40 :]
        broken.write_bytes(content)
    given = settings(task, screens) | {"proportions": str(folder / "p.csv")} if task == "blocks" else {}
    given = {name: value for name, value in given.items() if name != "task"}
    if task == "volumes":
        given["spacing"] = "1,1,1"
    report = bs.check(table, task=task, pixels=True, **given)
    assert [problem.row for problem in report.problems if problem.severity == "list"] == [3]


def test_pictures_on_both_sides_of_a_split_are_refused_for_blocks(screens, tmp_path):
    shutil.copytree(screens["blocks"].parent, tmp_path / "s")
    shutil.copy(tmp_path / "s" / "i0.tif", tmp_path / "s" / "i3.tif")  # row 2 trains, row 5 is for testing
    report = bs.check(tmp_path / "s" / "s.csv", task="blocks", proportions=str(tmp_path / "s" / "p.csv"))
    assert [problem.code for problem in report.refused] == ["same_pixels"]


def test_a_property_of_the_files_that_predicts_the_coarse_class_is_warned_of(tmp_path):
    table, proportions = tissue.screen_of(tmp_path / "s", rows=6, sizes=[(96, 128), (80, 112)] * 3)
    toys.rewrite(table, lambda rows: [{**row, "split": ""} for row in rows])
    for at in range(6):
        toys.rewrite(
            tmp_path / "s" / f"b{at}.csv",
            lambda boxes, at=at: [{**box, "class": ("much", "little")[at % 2]} for box in boxes],
        )
    report = bs.check(table, task="blocks", proportions=str(proportions))
    assert "confounded" in {problem.code for problem in report.problems}


def test_a_list_of_failures_of_an_earlier_run_is_removed(screens, tmp_path):
    screen = bs.read_screen(screens["images"])
    failure = Failure(0, "read", Problem("list", "broken", "a cause", "a fix"))
    listener = toys.Listener()
    write_failures(tmp_path, screen, [failure], listener)
    assert (tmp_path / FAILURES).is_file()
    assert listener.warned == [f"1 of {len(screen)} failed, see {tmp_path / FAILURES}"]
    write_failures(tmp_path, screen, [], SILENT)
    assert not (tmp_path / FAILURES).exists()


@pytest.mark.parametrize("task", ALL)
def test_the_network_is_back_on_its_device_after_scoring(task, models, screens, tmp_path):
    before = models[task].device
    models[task].score(screens[task], tmp_path / "scores", device="cpu", threads=1)
    assert models[task].device == before
    assert {parameter.device for parameter in models[task].network.parameters()} == {before}


def test_every_task_provides_all_stages():
    for task in ALL:
        check, stages = check_of(task), stages_of(task)
        for protocol, module in ((Check, check), (Stages, stages)):
            for name, wanted in inspect.getmembers(protocol, inspect.isfunction):
                if not name.startswith("_"):
                    given = inspect.signature(getattr(module, name)).parameters
                    assert list(given) == list(inspect.signature(wanted).parameters)[1:], (task, name)
        assert check.CARD.model_fields
        assert {"model.json", "resume"} < set(stages.MODEL_FILES)
        assert {"run.json", "failures.csv", "parts"} < set(stages.SCORE_FILES)
