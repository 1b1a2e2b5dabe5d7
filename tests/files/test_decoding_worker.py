"""Does a decoder that crashes, hangs or eats memory cost one image only, and does its process never outlive us?"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import nasty
import numpy as np
import psutil
import pytest
from limits import limited

from bagscope.errors import BagscopeError, ImageReadError
from bagscope.files import worker as worker_file
from bagscope.files.field import FieldFiles, read_field
from bagscope.files.reader import Selection
from bagscope.files.worker import DecodingWorker

GREY = nasty.ramp(20, 30)
PLENTY_S = 60
# Runs in the decoding process before it answers: files with these names do to it what damaged ones may do.
SPELLS = """
import bagscope.files.field as files
right = files.read_field
def read_field(field, window):
    import ctypes, json, os, signal, sys, time
    path = field.paths[0]
    with open(path.parent / "calls", "a") as calls:
        calls.write(f"{path.stem} {os.getpid()}\\n")
    if path.stem == "kill" or (path.stem == "once" and not path.with_suffix(".seen").exists()):
        path.with_suffix(".seen").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if path.stem == "crash":
        ctypes.string_at(0)
    if path.stem == "leave":
        os._exit(3)
    if path.stem == "hang":
        time.sleep(3600)
    if path.stem == "loud":
        print("printed"), os.write(1, b"written"), os.write(2, bytes(1_000_000))
    if path.stem == "fault":
        raise RuntimeError("odd")
    if path.stem == "tell":
        said = {"modules": sorted(sys.modules), "threads": os.environ["OMP_NUM_THREADS"], "path": sys.path}
        path.with_suffix(".json").write_text(json.dumps(said))
    return right(field, window)
files.read_field = read_field
"""


@pytest.fixture
def spelled(monkeypatch, tmp_path):
    """Let some names be dangerous; gives a maker of fields with such a name."""
    start, call, end = worker_file._PROGRAM.rpartition("main()\n")
    spells = SPELLS.replace("{", "{{").replace("}", "}}")  # the program is a format
    monkeypatch.setattr(worker_file, "_PROGRAM", start + spells + call + end)
    return lambda name: written(tmp_path / f"{name}.tif")


def written(path, pixels=GREY, **options):
    path.write_bytes(nasty.tiff(pixels, **options))
    return FieldFiles((path,), ())


def calls(folder):
    """Names and process numbers of all that was asked of decoding processes."""
    return [tuple(line.split()) for line in (folder / "calls").read_text().splitlines()]


def gone(pid):
    """Wait until a process is no more, or is one that only waits to be collected."""
    for _ in range(600):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


# The same as without a process ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pixels",
    [
        np.arange(2 * 640 * 640, dtype=np.uint8).reshape(2, 640, 640),
        np.random.default_rng(0).integers(0, 65536, (3, 1024, 1024), dtype=np.uint16),
        np.float32(GREY)[None] / 7,
        np.zeros((1, 1, 1), np.int32),
    ],
    ids=["bytes", "large", "floats", "one pixel"],
)
def test_pixels_and_windows_are_those_of_reading_here(tmp_path, pixels):
    paths = [tmp_path / f"{at}.tif" for at in range(len(pixels))]
    for path, plane in zip(paths, pixels, strict=True):
        written(path, plane)
    field = FieldFiles(tuple(paths), tuple(f"c{at}" for at in range(len(pixels))))
    window = (0, (pixels.shape[1] + 1) // 2, 0, 1)
    with DecodingWorker(PLENTY_S) as worker:
        for _ in range(3):
            for part in (None, window):
                found, expected = worker.read(field, part), read_field(field, part)
                assert (found.dtype, found.flags.c_contiguous, found.flags.writeable) == (expected.dtype, True, True)
                np.testing.assert_array_equal(found, expected)


def test_selections_arrive(tmp_path):
    stack = np.stack([GREY, GREY + 1, GREY + 2])
    field = written(tmp_path / "z.tif", stack, metadata={"axes": "ZYX"})
    with DecodingWorker(PLENTY_S) as worker:
        for selection in (Selection(z=1), Selection(z="max"), Selection(page=2), Selection(z="mid", max_bytes=10**6)):
            chosen = FieldFiles(field.paths, (), selection)
            np.testing.assert_array_equal(worker.read(chosen), read_field(chosen))


def test_errors_are_those_of_reading_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.tif").touch()
    written(Path("whole.tif"))
    fields = [
        FieldFiles((Path("empty.tif"),), ()),
        FieldFiles((Path("missing.tif"),), ("dna",)),
        FieldFiles((tmp_path / "whole.tif", Path("missing.tif")), ("dna", "gfp")),
        FieldFiles((Path("whole.tif"),), (), Selection(z=9)),
    ]
    with DecodingWorker(PLENTY_S) as worker:
        worker.read(FieldFiles((Path("whole.tif"),), ()))
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        fields.append(FieldFiles((Path("../empty.tif"),), ()))
        for field in [*fields[-1:], *fields]:
            problems = []
            for read in (read_field, worker.read):
                with pytest.raises(ImageReadError) as raised:
                    read(field)
                problems.append(raised.value.problem)
            assert problems[0] == problems[1]


def test_names_that_are_no_text_are_read(tmp_path):
    for name in ("sp ace\nline.tif", "µ漢.tif", os.fsdecode(b"\xff\xfe.tif")):
        with DecodingWorker(PLENTY_S) as worker:
            np.testing.assert_array_equal(worker.read(written(tmp_path / name))[0], GREY)


# 44, 59, 80d: one image and no more -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "how"),
    [("kill", "SIGKILL"), ("crash", "SIGSEGV"), ("leave", "exit code 3")],
    ids=["killed", "crashed", "left"],
)
def test_an_image_that_kills_two_processes_is_refused_and_the_next_is_read(spelled, tmp_path, name, how):
    good = spelled("good")
    with DecodingWorker(PLENTY_S) as worker:
        worker.read(good)
        with pytest.raises(ImageReadError, match=how) as raised:
            worker.read(spelled(name))
        assert raised.value.problem.code == "crashed"
        assert raised.value.problem.file.endswith(f"{name}.tif")
        np.testing.assert_array_equal(worker.read(good), read_field(good))
    asked = calls(tmp_path)
    assert [called for called, _ in asked] == ["good", name, name, "good"]
    assert len({pid for _, pid in asked}) == 3


def test_an_image_that_kills_once_is_read_by_the_next_process(spelled):
    field = spelled("once")
    with DecodingWorker(PLENTY_S) as worker:
        np.testing.assert_array_equal(worker.read(field), read_field(field))


def test_a_process_that_was_killed_while_idle_is_replaced_without_a_word(tmp_path, children):
    field = written(tmp_path / "a.tif")
    with DecodingWorker(PLENTY_S) as worker:
        for _ in range(3):
            np.testing.assert_array_equal(worker.read(field), read_field(field))
            (child,) = children()
            child.kill()
            assert gone(child.pid)


def test_a_process_that_was_killed_while_idle_counts_for_no_image(spelled, children):
    with DecodingWorker(PLENTY_S) as worker:
        worker.read(spelled("good"))
        (child,) = children()
        child.kill()
        worker._child._process.wait()
        np.testing.assert_array_equal(worker.read(spelled("once"))[0], GREY)


def test_an_image_that_takes_too_long_is_refused_once_and_the_next_is_read(spelled, tmp_path, children):
    good = spelled("good")
    with DecodingWorker(PLENTY_S) as worker:
        worker.read(good)
        (child,) = children()
        worker.time_limit_s = 0.3
        with pytest.raises(ImageReadError, match=r"longer than 0\.3 s") as raised:
            worker.read(spelled("hang"))
        assert raised.value.problem.code == "timeout"
        assert gone(child.pid)
        worker.time_limit_s = PLENTY_S
        np.testing.assert_array_equal(worker.read(good), read_field(good))
    assert [called for called, _ in calls(tmp_path)] == ["good", "hang", "good"]


def test_a_run_with_bad_images_gives_the_others_bit_for_bit(spelled, tmp_path):
    good = [written(tmp_path / f"g{at}.tif", GREY + at) for at in range(6)]
    empty = FieldFiles((tmp_path / "empty.tif",), ())
    empty.paths[0].touch()
    mixed = [spelled("kill"), good[0], empty, *good[1:5], spelled("crash"), good[5], spelled("fault")]
    read, failed = [], []
    with DecodingWorker(PLENTY_S) as worker:
        for field in mixed:
            try:
                read.append(worker.read(field))
            except ImageReadError as error:
                failed.append(error.problem.code)
    assert failed == ["crashed", "empty_file", "crashed", "broken"]
    np.testing.assert_array_equal(np.stack(read), np.stack([read_field(field) for field in good]))


def test_what_decoders_print_disturbs_nobody(spelled, capfd):
    field = spelled("loud")
    with DecodingWorker(PLENTY_S) as worker:
        for _ in range(2):
            np.testing.assert_array_equal(worker.read(field), read_field(field))
    assert capfd.readouterr() == ("", "")


def test_pixels_for_which_there_is_no_memory_here_are_refused_and_the_next_are_read(tmp_path, monkeypatch):
    field = written(tmp_path / "a.tif", np.zeros((2000, 2000), np.uint16))

    def empty(*_):
        raise MemoryError

    with DecodingWorker(PLENTY_S) as worker:
        with monkeypatch.context() as patched:
            patched.setattr(worker_file, "np", SimpleNamespace(empty=empty))
            with pytest.raises(ImageReadError) as raised:
                worker.read(field)
        assert raised.value.problem.code == "too_large"
        np.testing.assert_array_equal(worker.read(field), read_field(field))


def test_a_memory_limit_holds_in_the_process_too(tmp_path):
    path = tmp_path / "large.tif"
    path.write_bytes(nasty.raw_tiff(nasty.plain_tags(30_000, 30_000, compression=8), [nasty.zeros_zlib(900_000_000)]))
    code = """
import resource
from bagscope.files.field import FieldFiles
from bagscope.files.worker import DecodingWorker
with DecodingWorker(60) as worker:
    for allowed in (0, 10**12):
        try:
            worker.read(FieldFiles((path,), (), Selection(max_bytes=allowed)))
        except ImageReadError as error:
            said.append(error.problem.code)
"""
    said, grown = limited(code, path, limit=1_200_000_000)
    assert said == ["too_large", "too_large"]
    assert grown < 100e6


# No orphans -------------------------------------------------------------------------------------------------


def test_no_process_is_left_after_the_block_however_it_ends(tmp_path, children):
    field = written(tmp_path / "a.tif")
    with DecodingWorker(PLENTY_S) as worker:
        worker.read(field)
        assert len(children()) == 1
    assert not children()
    with pytest.raises(ZeroDivisionError), DecodingWorker(PLENTY_S) as worker:
        assert worker.read(field).size / 0
    with pytest.raises(ZeroDivisionError), DecodingWorker(PLENTY_S):  # while its process still starts
        assert 1 / 0
    assert not children()
    worker.close()


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_ctrl_c_while_waiting_ends_the_wait_and_mixes_up_no_answers(spelled, children):
    good = spelled("good")
    with DecodingWorker(PLENTY_S) as worker:
        worker.read(good)
        before = children()
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            worker.read(spelled("hang"))
        timer.join()
        assert all(gone(child.pid) for child in before)
        np.testing.assert_array_equal(worker.read(good), read_field(good))
    assert not children()


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_does_not_stop_the_process(spelled, tmp_path, number, children):
    good = spelled("good")
    with DecodingWorker(PLENTY_S) as worker:
        worker.read(good)
        (child,) = children()
        child.send_signal(number)
        worker.read(good)
    assert len({pid for _, pid in calls(tmp_path)}) == 1


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("name", ["idle", "hang"])
def test_the_process_ends_by_itself_when_its_parent_is_killed(spelled, tmp_path, name):
    spelled(name)
    script = f"""
import sys
from pathlib import Path
import bagscope.files.worker as w
from bagscope.files.field import FieldFiles
w._PROGRAM = {worker_file._PROGRAM!r}
with w.DecodingWorker(3600) as worker:
    worker.read(FieldFiles((Path({str(written(tmp_path / "good.tif").paths[0])!r}),), ()))
    print(w.__name__, worker._child._process.pid, flush=True)
    worker.read(FieldFiles((Path({str(tmp_path / "hang.tif")!r}),), ())) if {name!r} == "hang" else sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline().split()[1])
    while name == "hang" and ("hang", str(pid)) not in calls(tmp_path):
        time.sleep(0.05)
    assert psutil.pid_exists(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert gone(pid)


# A small process that is started anywhere -------------------------------------------------------------------


def test_the_process_loads_nothing_heavy_and_computes_with_one_thread(spelled, tmp_path, monkeypatch):
    field = spelled("tell")
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as in a notebook
    png = FieldFiles((tmp_path / "wide.png",), ())
    png.paths[0].write_bytes(nasty.png(np.zeros((4, 4, 3), int), 16, 2))
    with DecodingWorker(PLENTY_S) as worker:
        worker.read(png)
        worker.read(field)
    said = json.loads((tmp_path / "tell.json").read_text())
    loaded = {name.split(".")[0] for name in said["modules"]}
    assert {"numpy", "tifffile", "bagscope"} <= loaded
    assert not loaded & {"torch", "pandas", "lightning", "scipy", "skimage", "pyarrow", "pydantic", "matplotlib"}
    assert said["threads"] == "1"
    assert "" not in said["path"]


def test_a_script_without_a_main_guard_is_run_once_and_the_folder_it_stands_in_is_not_searched(tmp_path):
    written(tmp_path / "a.tif")
    for name in ("numpy.py", "json.py", "signal.py", "tifffile.py"):
        (tmp_path / name).write_text("raise SystemExit('taken from the folder at hand')")
    (tmp_path / "elsewhere").mkdir()
    script = tmp_path / "elsewhere" / "script.py"
    script.write_text(
        "print('once')\n"
        "from pathlib import Path\n"
        "from bagscope.files.field import FieldFiles\n"
        "from bagscope.files.worker import DecodingWorker\n"
        "with DecodingWorker(60) as worker:\n"
        "    print(worker.read(FieldFiles((Path('a.tif'),), ())).shape)\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["once", "(1, 20, 30)", ""]
    assert done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_a_process_that_is_killed_while_it_starts_is_started_once_more(tmp_path, monkeypatch):
    field = written(tmp_path / "a.tif")
    killed_once = f"""
import os, signal
flag = {str(tmp_path / "flag")!r}
if not os.path.exists(flag):
    open(flag, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    monkeypatch.setattr(worker_file, "_PROGRAM", killed_once + worker_file._PROGRAM)
    with DecodingWorker(PLENTY_S) as worker:
        np.testing.assert_array_equal(worker.read(field), read_field(field))


def test_a_process_that_cannot_start_is_no_images_fault(tmp_path, monkeypatch):
    field = written(tmp_path / "a.tif")
    monkeypatch.setattr(worker_file, "_PROGRAM", "raise ImportError('numpy is gone')  # {path}")
    with pytest.raises(BagscopeError, match="numpy is gone") as raised, DecodingWorker(PLENTY_S) as worker:
        worker.read(field)
    assert not isinstance(raised.value, ImageReadError)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(BagscopeError, match="does not start"), DecodingWorker(PLENTY_S):
        pass
