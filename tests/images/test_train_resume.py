"""Is a training that was killed, stopped or damaged gone on with to the very same model, and never with another?"""

import random
import re
import shutil
import signal
from dataclasses import replace

import pytest

import bagscope as bs
import toys
from bagscope.engine import states, training
from bagscope.engine.plan import plan_of
from bagscope.errors import FolderError, ModelError
from bagscope.images import fit

LONG = {"steps": 24, "training.save_every": 2, "training.check_every": 4}


def outcome(folder):
    """Bytes of all that a training decides; the card's time and command are its own."""
    names = ("model.safetensors", "history.csv", "split.csv")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """A training that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    toys.quick(toy, folder, **LONG)
    return folder


@pytest.fixture
def cut(toy, tmp_path, monkeypatch):
    """A training of 4 steps that was cut off when it had written its states of steps 2 and 4."""
    keep = states.save

    def save(folder, state, step):
        keep(folder, state, step)
        if step == 4:
            message = "pulled the plug"
            raise RuntimeError(message)

    shutil.copytree(toy.parent, tmp_path / "toy")
    with monkeypatch.context() as patch:
        patch.setattr(states, "save", save)
        with pytest.raises(RuntimeError):
            toys.quick(tmp_path / "toy" / "screen.csv", tmp_path / "model")
    return tmp_path / "model"


def resumed(folder, **choices):
    listener = toys.Listener()
    toys.quick(folder.parent / "toy" / "screen.csv", folder, resume=True, events=listener, **choices)
    return listener


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_kill_9_at_random_moments_costs_steps_never_the_result(seed, toy, whole, tmp_path):
    rng = random.Random(seed)
    out = tmp_path / "model"

    def goes_on_for(states_more):
        known = {path.name for path in out.glob("resume/*")}
        return lambda: len({path.name for path in out.glob("resume/*")} - known) >= states_more

    for start in range(3):
        program = toys.Program("train", toy, "-o", out, *toys.words(**LONG), *["--resume"][:start], cwd=tmp_path)
        program.wait_for(goes_on_for(rng.randint(1, 6)))
        program.kill(signal.SIGKILL)
        assert program.ended()[0] in (-signal.SIGKILL, 0)
    code, out_text, said = toys.Program("train", toy, "-o", out, *toys.words(**LONG), "--resume", cwd=tmp_path).ended()
    assert (code, out_text.split()) == (0, [str(out)]), said
    assert outcome(out) == outcome(whole)
    assert not (out / "resume").exists()
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stop_ends_with_130_and_can_be_gone_on_with(name, toy, tmp_path):
    out, longer = tmp_path / "model", {**LONG, "steps": 50, "training.patience": 50}
    program = toys.Program("train", toy, "-o", out, *toys.words(**longer), cwd=tmp_path)
    assert program.wait_for(lambda: list(out.glob("resume/state-*.json")))
    program.kill(getattr(signal, name))
    code, _, said = program.ended()
    assert code == 130
    (step,) = re.findall(r"interrupted after step (\d+) of 50; Run the same command with --resume", said)
    assert not (out / "model.json").exists()
    listener = toys.Listener()
    toys.quick(toy, out, resume=True, events=listener, **longer)
    assert f"going on after step {step} of 50" in listener.said
    assert len(toys.table_of(out / "history.csv")) == 50


@pytest.mark.parametrize("last", ["history.csv", "split.csv", "README.md", "model.safetensors", "model.json"])
def test_a_kill_between_two_files_of_the_model_leaves_it_unfinished(last, toy, trained, tmp_path, monkeypatch):
    write = training.write_atomic

    def killed_before(path, content):
        if path.name == last:
            message = "pulled the plug"
            raise RuntimeError(message)
        write(path, content)

    with monkeypatch.context() as patch:
        for place in ("engine.training", "engine.model_folder"):
            patch.setattr(f"bagscope.{place}.write_atomic", killed_before)
        patch.setattr("bagscope.engine.model_folder.write_json", lambda path, value: killed_before(path, b""))
        with pytest.raises(RuntimeError):
            toys.quick(toy, tmp_path / "model")
    with pytest.raises(ModelError, match="unfinished training: add --resume"):
        bs.load(tmp_path / "model")
    toys.quick(toy, tmp_path / "model", resume=True)
    assert outcome(tmp_path / "model") == outcome(trained)
    assert not (tmp_path / "model" / "resume").exists()


def test_a_kill_after_the_last_file_leaves_a_finished_model(toy, trained, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("bagscope.engine.training.shutil.rmtree", lambda *_, **__: (_ for _ in ()).throw(RuntimeError))
        with pytest.raises(RuntimeError):
            toys.quick(toy, tmp_path / "model")
    assert bs.load(tmp_path / "model").classes == ("filled", "ring")
    toys.quick(toy, tmp_path / "model", resume=True)
    assert outcome(tmp_path / "model") == outcome(trained)
    assert not (tmp_path / "model" / "resume").exists()


def test_a_damaged_newest_state_costs_two_steps_more(cut, trained):
    path = cut / "resume" / "state-00000004.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    listener = resumed(cut)
    assert any("state-00000004.pt: damaged (hash)" in said for said in listener.warned)
    assert "going on after step 2 of 4" in listener.said
    assert outcome(cut) == outcome(trained)


def test_without_any_whole_state_the_training_begins_anew(cut, trained):
    for path in (cut / "resume").glob("*.pt"):
        path.write_bytes(b"")
    resumed(cut)
    assert outcome(cut) == outcome(trained)


def test_a_folder_that_was_moved_with_its_images_is_gone_on_with(cut, trained, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("toy", "model"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    assert "going on after step 4 of 4" in resumed(tmp_path / "elsewhere" / "model").said
    assert outcome(tmp_path / "elsewhere" / "model") == outcome(trained)


def change_label(folder):
    labels = {"A01": "ring", "A02": "filled"}
    table = folder / "toy" / "screen.csv"
    toys.rewrite(table, lambda rows: [row | {"label": labels.get(row["well"], row["label"])} for row in rows])


def drop_row(folder):
    toys.rewrite(folder / "toy" / "screen.csv", lambda rows: rows[:-1])


def change_pixels(folder):
    images = folder / "toy" / "images"
    content = bytearray((images / "T1_B01_s1.ome.tif").read_bytes())
    content[-100] ^= 1
    (images / "T1_B01_s1.ome.tif").write_bytes(content)


def name_plane(folder):
    toys.rewrite(folder / "toy" / "screen.csv", lambda rows: [row | {"z": "0"} for row in rows])


CHANGES = {
    "a label": (change_label, r"row 0 T1/A01/1: label 'filled'.* -> label 'ring'"),
    "a row less": (drop_row, r"row 7 T1/D02/1: .* -> absent"),
    "other pixels": (change_pixels, r"row 2 T1/B01/1: .*file [0-9a-f]+ -> .*file [0-9a-f]+"),
    "another plane": (name_plane, r"row 0 T1/A01/1: .* -> .*, z 0"),
}
SETTINGS = {
    "the seed": ({"seed": 1}, "setting seed: 0 -> 1"),
    "the steps": ({"steps": 9}, "setting training.steps: 4 -> 9"),
    "the pooling": ({"pooling": "mean"}, "setting pooling.name: noisy_and -> mean"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_unfinished_work_is_not_mixed_with_other_rows(name, cut):
    change, said = CHANGES[name]
    change(cut.parent)
    with pytest.raises(ModelError, match=said) as caught:
        resumed(cut)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", SETTINGS)
def test_unfinished_work_is_not_mixed_with_other_settings(name, cut):
    choices, said = SETTINGS[name]
    with pytest.raises(ModelError, match=said):
        resumed(cut, **choices)


def test_unfinished_work_of_another_version_is_not_gone_on_with(cut, monkeypatch):
    monkeypatch.setattr(fit, "plan_of", lambda *what: replace(plan_of(*what), version="9.9"))
    with pytest.raises(ModelError, match=r"bagscope .* -> 9\.9"):
        resumed(cut)


def test_a_plan_of_nobody_is_refused(cut):
    for text in ("[]", "{}", '{"settings": 3, "rows": {}}', "{"):
        (cut / "resume" / "plan.json").write_text(text)
        with pytest.raises(ModelError):
            resumed(cut)


def test_what_changes_no_result_may_change(cut, trained):
    resumed(cut, threads=2, **{"compute.io_timeout": 60})
    assert len(toys.table_of(cut / "history.csv")) == 4


def test_a_finished_model_is_returned_as_it_is_and_never_for_other_rows_or_settings(cut, monkeypatch):
    resumed(cut)
    before = {path.name: path.read_bytes() for path in cut.iterdir() if path.name != ".bagscope.json"}
    monkeypatch.setattr("bagscope.engine.loop.fit", pytest.fail)
    assert f"{cut} is finished already" in resumed(cut).said
    assert {path.name: path.read_bytes() for path in cut.iterdir() if path.name != ".bagscope.json"} == before
    with pytest.raises(ModelError, match="trained on other rows or files, or with other settings"):
        resumed(cut, seed=1)
    change_label(cut.parent)
    with pytest.raises(ModelError, match="trained on other rows or files, or with other settings"):
        resumed(cut)


def test_work_that_is_there_is_kept_unless_its_end_is_asked_for(cut):
    table = cut.parent / "toy" / "screen.csv"
    with pytest.raises(FolderError, match="unfinished work is there already") as caught:
        toys.quick(table, cut)
    assert caught.value.exit_code == 4
    resumed(cut)
    first = outcome(cut)
    with pytest.raises(FolderError, match="finished work is there already"):
        toys.quick(table, cut)
    assert outcome(cut) == first
    toys.quick(table, cut, overwrite=True, seed=1)
    assert outcome(cut) != first
