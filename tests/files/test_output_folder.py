"""Does one program at a time write into a folder, and does nobody lose a file that is not ours?"""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from bagscope.errors import FolderError, SettingsError
from bagscope.files.folder import LOCK, MARK, claimed

OURS = ("model.json", "model.safetensors", "README.md", "resume", "fold_*")
HIDDEN = [MARK, LOCK]


def claim(folder, **choices):
    return claimed(folder, OURS, finished="model.json", **choices)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def visible(folder):
    return [name for name in tree(folder) if name not in HIDDEN]


def code(folder, **choices):
    with pytest.raises(FolderError) as raised, claim(folder, **choices):
        raise AssertionError
    assert raised.value.exit_code == 4
    assert raised.value.problem.fix
    return raised.value.problem.code


def run_once(folder, finished=True):
    """Leave what a run of ours leaves."""
    with claim(folder):
        (folder / "resume").mkdir()
        (folder / "resume" / "state-1.pt").write_text("1")
        (folder / "README.md").write_text("ours")
        if finished:
            (folder / "model.json").write_text("{}")


# Fresh folders ----------------------------------------------------------------------------------------------


def test_a_folder_that_is_missing_is_made_with_its_parents(tmp_path):
    with claim(tmp_path / "a" / "b") as folder:
        assert folder.is_dir()
    with claim(tmp_path / "a" / "b"):
        pass  # nothing of ours is there yet


def test_an_empty_folder_may_be_claimed_in_every_way(tmp_path):
    for choices in ({}, {"resume": True}, {"overwrite": True}):
        with claim(tmp_path, **choices):
            pass


def test_resume_and_overwrite_exclude_one_another(tmp_path):
    with pytest.raises(SettingsError), claim(tmp_path / "new", resume=True, overwrite=True):
        pass
    assert tree(tmp_path) == []


# 52: no folder ----------------------------------------------------------------------------------------------


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    assert code(tmp_path / "out") == "not_a_folder"
    assert code(tmp_path / "out" / "deeper") == "cannot_write"
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a place where nobody can write")  # noqa: PTH112
def test_a_place_where_nobody_can_write_is_refused():
    assert code("/proc/bagscope") == "cannot_write"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    assert code(tmp_path) == "cannot_write"


# 53: one at a time ------------------------------------------------------------------------------------------


@contextmanager
def other_process(folder):
    """A process that has claimed the folder."""
    program = (
        "import sys\n"
        "from bagscope.files.folder import claimed\n"
        f"with claimed({str(folder)!r}, {OURS!r}, finished='model.json'):\n"
        "    print('claimed', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "claimed\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_folder_in_use_is_refused_with_who_uses_it(tmp_path):
    with other_process(tmp_path / "out") as process:
        (tmp_path / "out" / "model.json").write_text("{}")
        for choices in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(FolderError) as raised, claim(tmp_path / "out", **choices):
                raise AssertionError
            who = rf"in use by pid {process.pid} on host \S+ since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
            assert re.search(who, str(raised.value))
        assert (tmp_path / "out" / "model.json").read_text() == "{}"


def test_a_folder_whose_user_was_killed_is_free(tmp_path):
    with other_process(tmp_path / "out") as process:
        process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        process.wait()
        assert (tmp_path / "out" / MARK).exists()
        with claim(tmp_path / "out"):
            assert json.loads((tmp_path / "out" / MARK).read_text())["pid"] == os.getpid()


def test_a_folder_is_free_after_the_block_however_it_ends(tmp_path):
    with pytest.raises(ZeroDivisionError), claim(tmp_path):
        assert 1 / 0
    with claim(tmp_path):
        assert code(tmp_path) == "in_use"  # also for this process itself
    with claim(tmp_path):
        pass


def test_who_uses_it_is_told_as_another_process_when_the_mark_is_broken(tmp_path):
    with claim(tmp_path):
        for content in ("", "[]", '{"pid": "x"}', "\0"):
            (tmp_path / MARK).write_text(content)
            with pytest.raises(FolderError, match="in use by another process"), claim(tmp_path):
                raise AssertionError


# Work that is there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("finished", "expected"), [(True, "finished"), (False, "unfinished")])
def test_work_that_is_there_is_refused_unless_it_is_said_what_becomes_of_it(tmp_path, finished, expected):
    run_once(tmp_path, finished)
    before = visible(tmp_path)
    assert code(tmp_path) == expected
    assert visible(tmp_path) == before
    with claim(tmp_path, resume=True):
        assert visible(tmp_path) == before
    with claim(tmp_path, overwrite=True):
        assert visible(tmp_path) == []


def test_overwrite_removes_only_what_is_ours(tmp_path):
    run_once(tmp_path)
    (tmp_path / "fold_3" / "resume").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "model.json").write_text("mine")
    with claim(tmp_path, overwrite=True):
        assert visible(tmp_path) == ["images", "images/model.json", "notes.txt"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_overwrite_never_follows_a_link_out_of_the_folder(tmp_path):
    run_once(tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("mine")
    (tmp_path / "out" / "fold_1").symlink_to(tmp_path / "elsewhere")
    with claim(tmp_path / "out", overwrite=True):
        assert visible(tmp_path / "out") == []
    assert (tmp_path / "elsewhere" / "precious").read_text() == "mine"


def test_the_file_that_says_done_goes_first(tmp_path, monkeypatch):
    run_once(tmp_path)

    def rmtree(path):
        assert not (tmp_path / "model.json").exists()
        raise OSError(13, "no")

    monkeypatch.setattr("shutil.rmtree", rmtree)
    assert code(tmp_path, overwrite=True) == "cannot_write"
    monkeypatch.undo()
    assert code(tmp_path) == "unfinished"


# Files that are not ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("choices", [{}, {"resume": True}])
def test_a_folder_of_other_files_is_refused_and_stays_as_it_was(tmp_path, choices):
    (tmp_path / "a.tif").write_text("mine")
    (tmp_path / "README.md").write_text("mine")
    assert code(tmp_path, **choices) == "foreign"
    assert tree(tmp_path) == ["README.md", "a.tif"]


def test_overwrite_may_write_beside_other_files_but_not_over_them(tmp_path):
    (tmp_path / "a.tif").write_text("mine")
    with claim(tmp_path, overwrite=True):
        assert visible(tmp_path) == ["a.tif"]


@pytest.mark.parametrize("name", ["README.md", "resume", "fold_notes"])
def test_a_name_like_ours_in_a_folder_that_we_never_used_is_not_ours(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious").write_text("mine")
    (tmp_path / "a.tif").write_text("mine")
    for choices in ({}, {"resume": True}, {"overwrite": True}):
        assert code(tmp_path, **choices) == "foreign"
    assert (tmp_path / name / "precious").read_text() == "mine"


def test_a_finished_folder_that_was_copied_without_hidden_files_is_still_ours(tmp_path):
    run_once(tmp_path)
    for name in HIDDEN:
        (tmp_path / name).unlink()
    assert code(tmp_path) == "finished"
    with claim(tmp_path, resume=True):
        assert (tmp_path / "model.json").exists()


@pytest.mark.parametrize("choices", [{}, {"resume": True}, {"overwrite": True}])
def test_no_work_is_written_into_the_folder_of_another(tmp_path, choices):
    run_once(tmp_path)
    before = tree(tmp_path)
    with (
        pytest.raises(FolderError, match=r"other work of bagscope \('model.json'\)") as raised,
        claimed(tmp_path, ("README.md", "run.json"), finished="run.json", **choices),
    ):
        raise AssertionError
    assert raised.value.problem.code == "other_work"
    assert tree(tmp_path) == before


# 49: leftovers ----------------------------------------------------------------------------------------------


def test_half_written_files_of_a_killed_run_are_removed_here_and_in_our_folders_only(tmp_path):
    run_once(tmp_path, finished=False)
    (tmp_path / "mine").mkdir()
    half = ".state.0123abcd.part"
    for place in (tmp_path, tmp_path / "resume", tmp_path / "mine"):
        (place / half).touch()
    with claim(tmp_path, resume=True):
        assert visible(tmp_path) == ["README.md", "mine", f"mine/{half}", "resume", "resume/state-1.pt"]


def test_a_half_written_file_alone_is_no_work(tmp_path):
    (tmp_path / ".state.0123abcd.part").touch()
    with claim(tmp_path):
        assert visible(tmp_path) == []
