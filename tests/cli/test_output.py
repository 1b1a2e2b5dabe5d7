"""Does each verb speak to people and programs in the right place, and write down what it did?"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

import toys


def run(place, *words):
    return toys.command(*words, cwd=place)


def summary(text):
    """The last line of stdout as JSON that has no NaN."""

    def no_number(name):
        raise ValueError(name)

    return json.loads(text.splitlines()[-1], parse_constant=no_number)


def broken(place, well="A01"):
    (place / "images" / f"T1_{well}_s1.ome.tif").write_bytes(b"<!doctype html>")


def test_people_read_stderr_and_programs_stdout(place):
    code, out, said = run(place, "train", "screen.csv", "-o", "new", *toys.words(steps=2))
    assert (code, out) == (0, "new\n")
    first = said.splitlines()[0]
    assert "screen.csv" in first
    assert "new" in first
    assert "Next: bagscope score new screen.csv -o scores" in said
    code, out, said = run(place, "score", "new", "screen.csv", "-o", "scores")
    assert code == 0
    assert out.splitlines()[0] == "T1"
    assert out.splitlines()[-1] == "scores"
    assert "Next: bagscope report scores -o report.html" in said


def test_quiet_leaves_results_and_warnings_alone(place):
    assert run(place, "check", "screen.csv", "-q") == (0, "", "")
    assert run(place, "train", "screen.csv", "-o", "new", "-q", *toys.words(steps=2)) == (0, "new\n", "")
    assert run(place, "score", "new", "screen.csv", "-o", "scores", "-q") == (0, "scores\n", "")
    assert run(place, "info", "new", "-q") == (0, "", "")
    broken(place)
    code, out, said = run(place, "score", "new", "screen.csv", "-o", "more", "-q")
    assert (code, out) == (3, "more\n")
    assert "1 of 8 failed" in said


def test_the_last_line_of_stdout_is_json_when_asked(place):
    code, out, _ = run(
        place, "import", "pattern", "images", "-o", "other.csv", "--json", "--pattern", "{plate}_{well}_s{site}.ome.tif"
    )
    assert (code, summary(out)) == (0, {"table": "other.csv", "rows": 8, "wells": 8, "labelled": 0})
    report = summary(run(place, "check", "screen.csv", "--json")[1])
    assert (report["exit_code"], report["counts"]) == (0, {"refuse": 0, "list": 0, "warn": 0})
    assert report["classes"] == {"filled": {"wells": 4, "fields": 4}, "ring": {"wells": 4, "fields": 4}}
    told = summary(run(place, "train", "screen.csv", "-o", "new", "--json", *toys.words(steps=2))[1])
    assert (told["model"], told["classes"], told["channels"]) == ("new", ["filled", "ring"], ["dna", "gfp"])
    assert (told["failed"], told["kept_step"], told["cell_diameter_px"]) == (0, 2, None)
    told = summary(run(place, "score", "new", "screen.csv", "-o", "scores", "--json", "-q")[1])
    assert (told["scores"], told["rows"], told["failed"]) == ("scores", 8, 0)
    assert sum(told["wells"].values()) == 8
    card = summary(run(place, "info", "new", "--json", "-q")[1])
    assert card == json.loads((place / "new" / "model.json").read_text("utf-8"))


def test_info_tells_what_a_model_is(place):
    code, out, said = run(place, "info", "model")
    assert (code, said) == (0, "")
    for part in ("filled, ring", "dna, gfp", "kraus", "noisy_and", "off", "0.65 um", "6 images", "2;", "seed 0"):
        assert part in out


def test_the_command_is_written_into_what_it_makes(place):
    run(place, "train", "screen.csv", "-o", "new dir", *toys.words(steps=1))
    card = json.loads((place / "new dir" / "model.json").read_text("utf-8"))
    words = shlex.split(card["created"]["command"])
    assert words[:5] == ["bagscope", "train", "screen.csv", "-o", "new dir"]
    assert run(place, *words[1:], "--overwrite")[0] == 0


def test_settings_come_from_a_file_and_single_ones_overrule_it(place):
    (place / "run.toml").write_text(
        '[training]\nsteps = 3\nbatch = 4\ncrop = 63\n[scale]\ncell_diameter = "off"\n[compute]\nthreads = 1\n'
    )
    assert run(place, "train", "screen.csv", "-o", "a", "--config", "run.toml")[0] == 0
    assert len(toys.table_of(place / "a" / "history.csv")) == 3
    words = ["--config", "run.toml", "--set", "training.steps=2"]
    assert run(place, "train", "screen.csv", "-o", "b", *words)[0] == 0
    assert len(toys.table_of(place / "b" / "history.csv")) == 2
    (place / "run.toml").write_text("[trianing]\nsteps = 3\n")
    code, _, said = run(place, "train", "screen.csv", "-o", "d", "--config", "run.toml")
    assert code == 2
    assert "trianing" in said
    assert "training" in said


# A shell of its own ----------------------------------------------------------------------------------------


def shell(place, *words, **options):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    return subprocess.Popen(
        [sys.executable, "-m", "bagscope", *words],
        cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_a_reader_that_goes_away_and_a_terminal_without_greek_do_no_harm(place):
    toys.rewrite(place / "screen.csv", lambda rows: [row | {"label": "µ" + row["label"]} for row in rows])
    with shell(place, "check", "screen.csv") as whole, shell(place, "check", "screen.csv") as closed:
        closed.stdout.close()
        out, said = whole.communicate()
        assert (whole.returncode, said) == (0, "")
        assert "\\xb5ring 4 wells" in out
        assert closed.stderr.read() == ""
    assert closed.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [True, False])
def test_a_terminal_sees_a_bar_and_has_its_cursor_back_in_the_end(stopped, place):
    pty = pytest.importorskip("pty")
    code = 130 if stopped else 0
    ours, theirs = pty.openpty()
    words = ["train", "screen.csv", "-o", "new", *toys.words(steps=10_000 if stopped else 3)]
    with subprocess.Popen(
        [sys.executable, "-m", "bagscope", *words], cwd=place, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 4096):
                said += piece
                if stopped and b"loss" in said:
                    process.send_signal(signal.SIGINT)
                    stopped = False
    os.close(ours)
    assert process.returncode == code
    assert b"training" in said
    assert said.rfind(b"\x1b[?25h") > said.rfind(b"\x1b[?25l") >= 0
