"""Is a file whole or absent whatever happens while it is written, and is only JSON read back as JSON?"""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagscope.atomic import clean_leftovers
from bagscope.errors import FolderError, ModelError
from bagscope.files.reader import open_image, read_header, read_labels
from bagscope.files.writer import read_json, write_atomic, write_json, write_ome_tiff

RNG = np.random.default_rng(0)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_there_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "folders" / "a.txt"
    write_atomic(path, "µ\n")
    assert path.read_bytes() == "µ\n".encode()
    write_atomic(path, b"\0\xff")
    assert path.read_bytes() == b"\0\xff"
    write_atomic(path, np.arange(3, dtype="<u2").data)
    assert path.read_bytes() == b"\0\0\1\0\2\0"
    assert names(path.parent) == ["a.txt"]


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path):
    for name in ("x" * 255, "µ" * 127):
        write_atomic(tmp_path / name, b"1")
        assert (tmp_path / name).read_bytes() == b"1"


# 51: no room ------------------------------------------------------------------------------------------------


class FullDrive(io.FileIO):
    """A file on a drive with room for ten bytes."""

    number = errno.ENOSPC

    def write(self, content):
        if len(content) + self.tell() > 10:
            super().write(bytes(content)[: 10 - self.tell()])
            raise OSError(self.number, os.strerror(self.number))
        return super().write(content)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_drive_keeps_the_old_file_and_says_what_is_needed_and_free(tmp_path, monkeypatch, number):
    path = tmp_path / "table.csv"
    write_atomic(path, "old")
    monkeypatch.setattr(FullDrive, "number", number)
    monkeypatch.setattr("pathlib.Path.open", lambda self, mode: FullDrive(self, mode.replace("b", "")))
    with pytest.raises(FolderError, match=r"1,000 bytes are needed, [\d,]+ are free") as raised:
        write_atomic(path, bytes(1000))
    monkeypatch.undo()
    assert (raised.value.exit_code, raised.value.problem.code) == (4, "no_room")
    assert raised.value.problem.file == str(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.skipif(os.name == "nt", reason="sets a limit of POSIX")
def test_a_real_limit_of_the_system_is_told_the_same(tmp_path):
    code = f"""
import resource, signal
from pathlib import Path
from bagscope.errors import FolderError
from bagscope.files.writer import write_atomic, write_ome_tiff
import numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
folder = Path({str(tmp_path)!r})
for write in (lambda: write_atomic(folder / "a", bytes(10_000)),
              lambda: write_ome_tiff(folder / "b", np.zeros((1, 99, 99), "u2"), channel_names=["x"])):
    try:
        write()
    except FolderError as error:
        print(error.exit_code, error.problem.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "no_room", "4", "no_room"]
    assert names(tmp_path) == []


# 52: no right -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file/a.txt", "file/deeper/a.txt"])
def test_a_file_where_a_folder_should_be_is_told(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderError) as raised:
        write_atomic(tmp_path / place, b"1")
    assert raised.value.problem.code == "cannot_write"
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_the_way_of_a_file_is_told_and_nothing_is_left(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(FolderError):
        write_atomic(tmp_path / "a.txt", b"1")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_told(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(FolderError, match="cannot write"):
        write_atomic(tmp_path / "a.txt", b"1")


# 49: killed -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
@pytest.mark.parametrize("moment", ["os.fsync", "Path.replace", "Path.open"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file_whole(tmp_path, moment, call):
    path = tmp_path / "state"
    write_atomic(path, b"old" * 1000)
    code = f"""
import os, signal
from pathlib import Path
from bagscope.files.writer import write_atomic
owner, name = {{"os": os, "Path": Path}}[{moment.split(".")[0]!r}], {moment.split(".")[1]!r}
right, calls = getattr(owner, name), []
def killing(*given, **named):
    calls.append(name)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return right(*given, **named)
setattr(owner, name, killing)
for content in (b"new" * 1000, b"newer" * 1000):
    write_atomic(Path({str(path)!r}), content)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode in (-signal.SIGKILL, 0)
    assert path.read_bytes() in (b"old" * 1000, b"new" * 1000, b"newer" * 1000)
    left = [name for name in names(tmp_path) if name != "state"]
    assert [found.name for found in clean_leftovers(tmp_path)] == left
    assert names(tmp_path) == ["state"]


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be flushed there")
def test_content_is_safe_on_the_disk_before_it_has_its_name_and_then_the_name_is(tmp_path, monkeypatch):
    steps = []
    right_fsync, right_replace = os.fsync, Path.replace

    def fsync(handle):
        steps.append("flush folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "flush file")  # noqa: PTH112
        right_fsync(handle)

    def replace(self, target):
        steps.append("rename")
        return right_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_atomic(tmp_path / "a", b"1")
    assert steps == ["flush file", "rename", "flush folder"]


def test_only_our_own_leftovers_are_removed(tmp_path):
    kept = ["a.part", ".a.part", ".a.0123456.part", ".a.0123abcd.part.csv", "a.0123abcd.part", "image.tif"]
    for name in [*kept, ".a.0123abcd.part"]:
        (tmp_path / name).touch()
    (tmp_path / ".folder.0123abcd.part").mkdir()
    assert [path.name for path in clean_leftovers(tmp_path)] == [".a.0123abcd.part"]
    assert names(tmp_path) == sorted([*kept, ".folder.0123abcd.part"])
    assert clean_leftovers(tmp_path / "missing") == []


# JSON -------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@given(JSON)
def test_every_json_value_comes_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path, 10_000_000) == value
    assert path.read_bytes().endswith(b"\n")


def test_json_is_written_for_people(tmp_path):
    write_json(tmp_path / "a.json", {"µ": 1, "a": [True]})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "µ": 1,\n  "a": [\n    true\n  ]\n}\n'


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}])
def test_a_number_that_is_none_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"a": NaN}', "bad_json"),
        (b"[-Infinity]", "bad_json"),
        (b"[1e999]", "bad_json"),
        (b'{"a": ', "bad_json"),
        (b"", "bad_json"),
        (b'"\xff"', "bad_json"),
        ("[1]".encode("utf-16"), "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b"1" * 10_000, "bad_json"),
        (b" " * 200_001, "too_large"),
        (b"\x80\x04K\x01.", "bad_json"),
    ],
    ids=["nan", "infinity", "overflow", "cut", "empty", "bytes", "utf-16", "deep", "long number", "large", "pickle"],
)
def test_what_is_no_json_is_refused_with_its_place(tmp_path, content, code):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ModelError) as raised:
        read_json(path, 200_000)
    assert (raised.value.problem.code, raised.value.problem.file) == (code, str(path))


def test_a_large_file_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as stream:
        stream.truncate(10**12)  # takes no room on the disk
    with pytest.raises(ModelError, match="1,000,000,000,000 bytes, 100 are allowed"):
        read_json(path, 100)


def test_json_that_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing.json", tmp_path / ("x" * 300)):
        with pytest.raises(ModelError) as raised:
            read_json(path, 100)
        assert raised.value.problem.code == "no_file"


# 50: cut ----------------------------------------------------------------------------------------------------


def test_json_cut_anywhere_is_one_error(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"step": 7, "sha256": "0" * 64})
    whole = path.read_bytes()
    for length in range(len(whole) - 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            read_json(path, 1000)


# OME-TIFF ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_an_ome_tiff_comes_back_with_names_and_pixel_size(tmp_path, dtype, compression):
    for channels in (1, 2, 3, 4, 5):
        pixels = (RNG.random((channels, 20, 30)) * 200).astype(dtype)
        listed = [f"<µ & {at}>" for at in range(channels)]
        path = tmp_path / "new" / "a.ome.tif"
        write_ome_tiff(path, pixels, channel_names=listed, pixel_um=0.325, compression=compression)
        np.testing.assert_array_equal(open_image(path), pixels)
        header = read_header(path)
        assert (header.channel_names, header.warnings, header.lossy) == (tuple(listed), (), False)
        assert header.pixel_um == pytest.approx(0.325)
    assert names(path.parent) == ["a.ome.tif"]


def test_an_ome_tiff_without_a_pixel_size_has_none(tmp_path):
    write_ome_tiff(tmp_path / "a.ome.tif", np.zeros((1, 4, 4), np.uint8), channel_names=["a"])
    assert read_header(tmp_path / "a.ome.tif").pixel_um is None
    assert b"PhysicalSize" not in (tmp_path / "a.ome.tif").read_bytes()


def test_label_numbers_written_are_label_numbers_read(tmp_path):
    labels = RNG.integers(0, 2**32, (30, 10), dtype=np.uint32).repeat(2, axis=1)  # no number on one pixel alone
    write_ome_tiff(tmp_path / "m.ome.tif", labels[None], channel_names=["cells"], compression="zlib")
    np.testing.assert_array_equal(read_labels(tmp_path / "m.ome.tif"), labels)


def test_equal_pixels_make_equal_files_and_tell_nothing_of_the_machine(tmp_path):
    pixels = RNG.integers(0, 100, (2, 9, 9), dtype=np.uint8)
    for name in ("a", "b"):
        write_ome_tiff(tmp_path / name, pixels, channel_names=["x", "y"], pixel_um=1.5)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_channels_and_their_names_must_fit(tmp_path):
    for pixels in (np.zeros((2, 4, 4)), np.zeros((4, 4)), np.zeros((1, 0, 4))):
        with pytest.raises(ValueError, match="C names are expected"):
            write_ome_tiff(tmp_path / "a", pixels, channel_names=["one"])
    assert names(tmp_path) == []


def test_json_bytes_are_those_of_the_standard_library(tmp_path):
    value = {"b": 1.5, "a": [None, "x"]}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == value
