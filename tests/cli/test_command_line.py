"""Does each verb do what its help says, speak to people and programs in the right place, and leave with its code?"""

import json
import re
import shlex
import shutil
import signal
import sys

import pytest

import bagscope
import tissue
import toys
from bagscope.cli import app as command_line
from bagscope.errors import Problem, TableError

VERBS = ("demo", "import", "check", "train", "score", "report", "info", "look", "reproduce")
WITH_CHANCE = {"demo", "train", "score"}


def run(place, *words):
    return toys.command(*words, cwd=place)


def summary(text):
    """The last line of stdout as JSON that has no NaN."""

    def no_number(name):
        raise ValueError(name)

    return json.loads(text.splitlines()[-1], parse_constant=no_number)


def broken(place, well="A01"):
    (place / "images" / f"T1_{well}_s1.ome.tif").write_bytes(b"<!doctype html>")


# Help ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    """Help of each verb, as wide as a terminal of 80 columns shows it."""
    folder = tmp_path_factory.mktemp("help")
    told = {verb: run(folder, verb, "--help") for verb in VERBS}
    assert all(code == 0 for code, _, _ in told.values())
    return {verb: out for verb, (_, out, _) in told.items()}


def example(text):
    (found,) = re.findall(r"^ *Example: (bagscope .*?) *$", text, flags=re.MULTILINE)
    return shlex.split(found)[1:]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_options_that_all_have_and_one_example_on_a_line(verb, helps):
    wanted = {"--quiet", "--json", "--threads", "--device"} | ({"--seed"} if verb in WITH_CHANCE else set())
    assert wanted <= set(re.findall(r"--[a-z-]+", helps[verb]))
    assert example(helps[verb])[0] == verb
    assert max(len(line) for line in helps[verb].splitlines()) <= 80


@pytest.mark.parametrize("verb", ["import", "check", "train", "score", "info", "look"])
def test_the_example_of_a_verb_works_when_it_is_pasted(verb, helps, place):
    words = example(helps[verb])
    if verb == "train":
        shutil.rmtree(place / "model")
        words += toys.words(steps=2)
    if verb == "import":
        for name in ("x", "y"):
            (place / "images" / name).mkdir()
        for at, path in enumerate(sorted((place / "images").glob("*.tif"))):
            path.rename(place / "images" / "xy"[at % 2] / path.name)
    code, out, said = run(place, *words)
    assert code == 0, said
    assert out
    assert "Traceback" not in said


@pytest.mark.parametrize("words", [("--cell", "5,5"), ("--layer", "conv2"), ("--row", 3)])
def test_a_look_at_a_field_needs_a_table(place, words):
    code, out, said = run(place, "look", "model", *words)
    assert (code, out) == (2, "")
    assert "no table is named" in said
    assert not (place / "look.png").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_the_words_of_an_example_are_all_understood(verb, helps, tmp_path):
    assert run(tmp_path, *example(helps[verb]), "--help")[0] == 0
    code, _, said = run(tmp_path, *example(helps[verb]), "--no-such-option", "--help")
    assert code == 2
    assert "--no-such-option" in said


def test_version_and_help_go_to_stdout(tmp_path):
    assert run(tmp_path, "--version") == (0, f"bagscope {bagscope.__version__}\n", "")
    code, out, said = run(tmp_path, "--help")
    assert (code, said) == (0, "")
    assert all(verb in out for verb in VERBS)


# Codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["chekc", "screen.csv"],
        ["check"],
        ["check", "screen.csv", "extra"],
        ["check", "gone.csv"],
        ["check", "images"],
        ["check", "screen.csv", "--config", "gone.toml"],
        ["check", "screen.csv", "--set", "tabel.root=x"],
        ["check", "screen.csv", "--set", "nonsense"],
        ["check", "screen.csv", "--model", "gone"],
        ["train", "screen.csv"],
        ["train", "screen.csv", "-o", "new", "--steps", "0"],
        ["train", "screen.csv", "-o", "new", "--steps", "many"],
        ["train", "screen.csv", "-o", "new", "--pooling", "nosy_and"],
        ["train", "screen.csv", "-o", "new", "--network", "krauss"],
        ["train", "screen.csv", "-o", "new", "--task", "blocks"],
        ["train", "screen.csv", "-o", "new", "--channels", "rfp"],
        ["train", "screen.csv", "-o", "new", "--cell-diameter", "huge"],
        ["train", "screen.csv", "-o", "new", "--split-by", "donor"],
        ["train", "screen.csv", "-o", "new", "--folds", "1"],
        ["train", "screen.csv", "-o", "new", "--device", "cuda:99"],
        ["train", "screen.csv", "-o", "new", "--device", "abacus"],
        ["train", "screen.csv", "-o", "new", "--set", "pooling.a=0"],
        ["train", "screen.csv", "-o", "new", "--set", "training.batch=1"],
        ["train", "screen.csv", "-o", "new", "--seed", "-1"],
        ["train", "screen.csv", "-o", "new", "--threads", "0"],
        ["train", "screen.csv", "-o", "new", "--resume", "--overwrite"],
        ["train", "gone.csv", "-o", "new"],
        ["score", "gone", "screen.csv", "-o", "new"],
        ["score", "screen.csv", "screen.csv", "-o", "new"],
        ["score", "model", "gone.csv", "-o", "new"],
        ["score", "model", "screen.csv", "-o", "new", "--device", "cuda:99"],
        ["score", "model", "screen.csv", "-o", "new", "--device", "abacus"],
        ["score", "model", "screen.csv", "-o", "new", "--set", "training.steps=3"],
        ["info", "gone"],
        ["info", "images"],
        ["import", "folderz", "images", "-o", "new"],
        ["import", "folders", "gone", "-o", "new"],
        ["import", "pattern", "images", "-o", "new.csv", "--pattern", "(["],
        ["reproduce", "nothing", "-o", "new"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_in_words_and_writes_nothing(words, place):
    before = sorted(path.name for path in place.iterdir())
    code, out, said = run(place, *words)
    assert code == 2, said
    assert (out + said).strip()
    assert "Traceback" not in said
    assert "of bagscope itself" not in said
    assert sorted(path.name for path in place.iterdir()) == before


def test_a_table_with_many_faults_is_told_them_all_at_once(place):
    table = place / "screen.csv"
    toys.rewrite(
        table,
        lambda rows: [
            rows[0] | {"well": "A99", "concentration": "high"},
            rows[1] | {"image": "/dev/zero", "concentration": "1"},
            rows[2] | {"image": "images/gone.tif", "concentration": ""},
            rows[3] | {"image": "../outside.tif", "concentration": ""},
            *(row | {"concentration": ""} for row in rows[4:]),
            rows[5] | {"label": "other", "concentration": ""},
        ],
    )
    for words in (["check", "screen.csv"], ["train", "screen.csv", "-o", "new"]):
        code, out, said = run(place, *words)
        assert code == 2
        told = out + said
        for part in ("row 2", "A99", "high", "row 3", "/dev/zero", "row 5", "outside", "row 10"):
            assert part in told, (words, part)
    assert not (place / "new").exists()
    code, out, _ = run(place, "check", "screen.csv", "--json")
    report = summary(out)
    assert report["exit_code"] == code == 2
    assert report["counts"]["refuse"] >= 5
    assert all(problem["fix"] or problem["severity"] == "warn" for problem in report["problems"])


def test_what_would_be_left_out_ends_with_3(place):
    broken(place)
    code, out, said = run(place, "check", "screen.csv")
    assert (code, said) == (3, "")
    assert "left out: screen.csv, row 2" in out
    assert "HTML" in out
    assert out.splitlines()[-1].startswith("Rows would be left out. Next: bagscope train screen.csv")
    code, _, said = run(place, "train", "screen.csv", "-o", "new", *toys.words(steps=2))
    assert code == 3
    assert said.splitlines()[-1].endswith("1 of 8 failed, see new/failures.csv")
    code, out, said = run(place, "score", "model", "screen.csv", "-o", "scores", "--json")
    assert code == 3
    assert said.splitlines()[-1].endswith("1 of 8 failed, see scores/failures.csv")
    assert summary(out)["failed"] == 1
    assert [row["row"] for row in toys.table_of(place / "scores" / "failures.csv")] == ["2"]


def test_an_output_that_is_in_the_way_ends_with_4(place):
    (place / "file").write_text("mine")
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("years of work")
    for out in ("file", "file/below", "mine", "/proc/nothing"):
        for words in (["score", "model", "screen.csv"], ["train", "screen.csv"]):
            code, _, said = run(place, *words, "-o", out)
            assert code == 4, said
            assert "-o" in said
    assert (place / "mine" / "thesis.txt").read_text() == "years of work"


def test_an_output_in_use_ends_with_4_and_is_free_when_its_user_was_killed(place):
    first = toys.Program("train", "screen.csv", "-o", "new", *toys.words(steps=100_000), cwd=place)
    assert first.wait_for(lambda: (place / "new" / ".bagscope.json").exists())
    code, _, said = run(place, "train", "screen.csv", "-o", "new", *toys.words(steps=2))
    assert code == 4
    assert f"in use by pid {first.pid} on host" in said
    assert first.wait_for(lambda: list((place / "new" / "resume").glob("state-*.json")))
    first.kill(signal.SIGKILL)
    first.ended()
    code, _, said = run(place, "train", "screen.csv", "-o", "new", *toys.words(steps=2))
    assert code == 4
    assert "unfinished work is there already" in said
    assert run(place, "train", "screen.csv", "-o", "new", "--overwrite", *toys.words(steps=2))[0] == 0
    code, _, said = run(place, "train", "screen.csv", "-o", "new", *toys.words(steps=2))
    assert code == 4
    assert "finished work is there already" in said
    assert run(place, "train", "screen.csv", "-o", "new", "--resume", *toys.words(steps=2))[0] == 0


@pytest.fixture
def in_process(place, monkeypatch):
    """Run the command line here, where a fault can be planted."""
    monkeypatch.chdir(place)
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}

    def run_here(*words):
        monkeypatch.setattr(sys, "argv", ["bagscope", *words])
        with pytest.raises(SystemExit) as caught:
            command_line.run()
        return caught.value.code

    yield run_here
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), KeyError("x"), AssertionError(), OSError(5, "oops")])
def test_a_fault_of_ours_ends_with_1_and_shows_its_traceback_only_when_asked(error, in_process, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr("bagscope.cli.stages.check_table", fail)
    assert in_process("check", "screen.csv") == 1
    said = capsys.readouterr().err
    assert f"An error of bagscope itself, not of your data: {type(error).__name__}" in said
    assert "--debug" in said
    assert "Traceback" not in said
    assert in_process("check", "screen.csv", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_users_error_shows_its_traceback_only_when_asked(place):
    assert "Traceback" not in run(place, "info", "gone")[2]
    code, _, said = run(place, "info", "gone", "--debug")
    assert code == 2
    assert "Traceback" in said


def test_of_very_many_problems_the_first_are_printed_and_the_others_counted(in_process, monkeypatch, capsys):
    def refuse(*_):
        raise TableError([Problem("refuse", "odd", f"problem {number}.") for number in range(27)])

    monkeypatch.setattr("bagscope.cli.stages.check_table", refuse)
    assert in_process("check", "screen.csv") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [number for number in range(27) if any(f"problem {number}." in line for line in lines)] == list(range(20))
    assert lines[-1] == "... and 7 more."


def test_ctrl_c_ends_with_130(in_process, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("bagscope.cli.stages.check_table", interrupted)
    assert in_process("check", "screen.csv") == 130
    assert capsys.readouterr().err.startswith("Interrupted.")


def test_a_model_without_filters_is_refused_by_look(tmp_path, in_process, capsys):
    tissue.screen_of(tmp_path / "tissue")
    tissue.trained(tmp_path / "tissue", tmp_path / "pixels", steps=1, **{"second.steps": 0})
    assert in_process("look", str(tmp_path / "pixels"), "-o", str(tmp_path / "filters.png")) == 2
    assert "Name a model of the task images" in capsys.readouterr().err
    assert not (tmp_path / "filters.png").exists()
