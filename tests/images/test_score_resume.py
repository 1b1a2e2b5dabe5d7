"""Is scoring that was killed gone on with to the same tables, with nothing stale, in memory that does not grow?"""

import multiprocessing
import os
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import bagscope as bs
import toys
from bagscope.engine import score_folder
from bagscope.files.writer import write_ome_tiff
from bagscope.nets.bagnet import BagNet

TABLES = [f"{level}.{kind}" for level in ("images", "wells", "treatments") for kind in ("csv", "parquet")]


@pytest.fixture(scope="module")
def model(trained):
    return bs.load(trained, device="cpu")


@pytest.fixture
def screen(toy, tmp_path):
    shutil.copytree(toy.parent, tmp_path / "toy")
    return tmp_path / "toy" / "screen.csv"


@pytest.fixture
def judged(monkeypatch):
    """Counts how often the network is asked."""
    calls, judge = [], BagNet.pool_and_classify
    monkeypatch.setattr(BagNet, "pool_and_classify", lambda self, *what: calls.append(1) or judge(self, *what))
    return calls


def score(model, table, out, **choices):
    return model.score(table, out, threads=1, **choices)


def tables(folder):
    return {name: (folder / name).read_bytes() for name in [*TABLES, "failures.csv"]}


def noise(folder, count, px):
    """A table of many fields, quickly written."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,well"]
    for at in range(count):
        pixels = rng.integers(90, 400, (2, px, px)).astype(np.uint16)
        write_ome_tiff(folder / f"f{at}.tif", pixels, channel_names=("dna", "gfp"), pixel_um=0.65)
        lines.append(f"f{at}.tif,{'ABCDEFGHIJKLMNOP'[at % 16]}{at // 16 + 1:02d}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_kill_9_at_random_moments_costs_fields_never_the_tables(seed, model, trained, tmp_path):
    rng = random.Random(seed)
    table = noise(tmp_path / "many", 40, 160)
    (table.parent / "f7.tif").write_bytes(b"")
    score(model, table, tmp_path / "whole")
    out = tmp_path / "scores"

    def parts():
        return len(list(out.glob("parts/*/*.json")))

    for start in range(3):
        words = ["score", trained, table, "-o", out, "--threads", "1", "--device", "cpu", "--quiet"]
        program = toys.Program(*words, *["--resume"][:start], cwd=tmp_path)
        wanted = parts() + rng.randint(1, 10)
        program.wait_for(lambda wanted=wanted: parts() >= wanted)
        program.kill(signal.SIGKILL)
        assert program.ended()[0] in (-signal.SIGKILL, 3)
    code, _, said = toys.Program(*words, "--resume", cwd=tmp_path).ended()
    assert code == 3
    assert "1 of 40 failed, see" in said
    assert tables(out) == tables(tmp_path / "whole")
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stop_ends_with_130(name, trained, tmp_path):
    table, out = noise(tmp_path / "many", 40, 400), tmp_path / "scores"
    program = toys.Program("score", trained, table, "-o", out, "--threads", "1", cwd=tmp_path)
    assert program.wait_for(lambda: list(out.glob("parts/*/*.json")))
    program.kill(getattr(signal, name))
    code, _, said = program.ended()
    assert code == 130
    assert "Interrupted" in said
    assert "Traceback" not in said
    assert not (out / "run.json").exists()


def test_what_was_scored_is_not_scored_again(model, screen, tmp_path, judged):
    score(model, screen, tmp_path / "scores")
    assert len(judged) == 8
    score(model, screen, tmp_path / "scores", resume=True)
    assert len(judged) == 8
    (tmp_path / "scores" / "run.json").unlink()
    shutil.rmtree(tmp_path / "scores" / "parts" / "00000", ignore_errors=True)
    score(model, screen, tmp_path / "scores", resume=True)
    assert len(judged) == 16


@pytest.mark.parametrize("finished", [True, False])
def test_an_image_that_was_replaced_is_scored_anew_although_name_size_and_date_are_the_same(
    finished, model, screen, tmp_path, judged
):
    out = tmp_path / "scores"
    first = score(model, screen, out).images
    if not finished:
        (out / "run.json").unlink()
    path = screen.parent / first["image"][3]
    before = path.stat()
    content = bytearray(path.read_bytes())
    pixels = len(content) // 2
    content[pixels : pixels + 2000] = bytes(2000)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    again = score(model, screen, out, resume=True).images
    assert len(judged) == 9
    changed = (again["mil_probability:ring"] != first["mil_probability:ring"]).tolist()
    assert changed == [False, False, False, True] + [False] * 4
    assert tables(out) == (score(model, screen, tmp_path / "anew"), tables(tmp_path / "anew"))[1]
    assert (out / "run.json").is_file()


def test_another_model_or_way_of_reading_scores_everything_anew(model, toy, screen, tmp_path, judged):
    score(model, screen, tmp_path / "scores")
    other = toys.quick(toy, tmp_path / "other", seed=1)
    judged.clear()
    score(other, screen, tmp_path / "scores", resume=True)
    assert len(judged) == 8
    assert tables(tmp_path / "scores") == (score(other, screen, tmp_path / "o"), tables(tmp_path / "o"))[1]
    judged.clear()
    score(other, screen, tmp_path / "scores", resume=True, **{"images.pad": "reflect"})
    assert len(judged) == 8


def test_other_calls_and_tables_are_made_of_what_was_scored(model, screen, tmp_path, judged):
    score(model, screen, tmp_path / "scores")
    wells = score(model, screen, tmp_path / "scores", resume=True, **{"calls.threshold": 1.0}).wells
    assert wells["call"].eq("none").all()
    toys.rewrite(screen, lambda rows: [row | {"treatment": "t"} for row in rows])
    assert len(score(model, screen, tmp_path / "scores", resume=True).treatments) == 1
    assert len(judged) == 8
    toys.rewrite(screen, lambda rows: rows[::-1])
    turned = score(model, screen, tmp_path / "scores", resume=True)
    assert turned.images["row"].tolist() == list(range(2, 10))
    assert turned.images["image"].tolist() == [row["image"] for row in toys.table_of(screen)]


def test_a_row_that_is_gone_from_the_table_is_gone_from_the_scores(model, screen, tmp_path):
    score(model, screen, tmp_path / "scores")
    toys.rewrite(screen, lambda rows: rows[:3])
    assert len(score(model, screen, tmp_path / "scores", resume=True).images) == 3


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"fingerprint": 3}', b'{"log_odds": [NaN]}', b"\xff" * 50])
def test_a_damaged_part_is_made_again(damage, model, screen, tmp_path, judged):
    out = tmp_path / "scores"
    score(model, screen, out)
    whole = tables(out)
    part = sorted(out.glob("parts/*/*.json"))[2]
    part.write_bytes(damage)
    score(model, screen, out, resume=True)
    assert len(judged) == 9
    assert tables(out) == whole


def peak_kb():
    """The most memory that this process ever had, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _score_and_tell(model, table, out, answer):
    bs.load(model, device="cpu").score(table, out, threads=1)
    answer.put(peak_kb())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process's memory")
def test_memory_does_not_grow_with_the_number_of_fields(trained, tmp_path):
    toys.Program("info", trained, cwd=tmp_path).ended()  # starts the server that has everything imported
    context = multiprocessing.get_context("forkserver")
    peaks = []
    for count in (10, 110):
        table, answer = noise(tmp_path / str(count), count, 256), context.SimpleQueue()
        process = context.Process(target=_score_and_tell, args=(trained, table, tmp_path / f"s{count}", answer))
        process.start()
        peaks.append(answer.get())
        process.join()
    # A hundred fields more have 26 MB of pixels: kept, they would show twice over.
    assert peaks[1] - peaks[0] < 13_000


def test_finished_scores_that_are_made_anew_are_unfinished_meanwhile(model, screen, tmp_path, monkeypatch):
    out = tmp_path / "scores"
    score(model, screen, out)
    write = score_folder.write_atomic

    def killed_before_wells(path, content):
        if path.name.startswith("wells"):
            message = "pulled the plug"
            raise RuntimeError(message)
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(score_folder, "write_atomic", killed_before_wells)
        with pytest.raises(RuntimeError):
            score(model, screen, out, resume=True, **{"calls.threshold": 1.0})
    assert not (out / "run.json").exists()
    score(model, screen, out, resume=True, **{"calls.threshold": 1.0})
    assert (out / "run.json").exists()
    assert {row["call"] for row in toys.table_of(out / "wells.csv")} == {"none"}
