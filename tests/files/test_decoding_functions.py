"""Do label images and arrays go through the decoding process as fields do, for several threads, and nothing else?"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import nasty
import numpy as np
import pytest

from bagscope.errors import ImageReadError
from bagscope.files.field import FieldFiles
from bagscope.files.npz import read_array
from bagscope.files.reader import read_header, read_labels
from bagscope.files.worker import DecodingWorker
from dangerous import LIMIT_S, let_names_be_dangerous

PLENTY_S = 60
LABELS = np.arange(600, dtype=np.uint8).reshape(20, 30) // 200


def written(path, pixels=LABELS):
    path.write_bytes(nasty.tiff(pixels))
    return FieldFiles((path,), ())


def test_label_images_and_arrays_are_those_of_reading_here(tmp_path):
    written(tmp_path / "labels.tif")
    volumes = np.arange(240, dtype=np.uint8).reshape(2, 4, 5, 6)
    np.savez(tmp_path / "v.npz", one=volumes[0], two=volumes)
    with DecodingWorker(PLENTY_S) as worker:
        for reader, *arguments in (
            (read_labels, tmp_path / "labels.tif"),
            (read_array, tmp_path / "v.npz", "one", None),
            (read_array, tmp_path / "v.npz", "two", 1),
        ):
            found, expected = worker.run(reader, *arguments), reader(*arguments)
            assert (found.dtype, found.flags.writeable) == (expected.dtype, True)
            np.testing.assert_array_equal(found, expected)


def test_errors_of_label_images_and_arrays_name_file_cause_and_fix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(Path("grey.tif"), np.float32(LABELS))
    np.savez("v.npz", a=np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    content = bytearray(Path("v.npz").read_bytes())
    content[content.index(bytes(range(24)))] ^= 1  # its checksum stays
    Path("v.npz").write_bytes(content)
    with DecodingWorker(PLENTY_S) as worker:
        for reader, *arguments in ((read_labels, Path("grey.tif")), (read_array, Path("v.npz"), "a", None)):
            with pytest.raises(ImageReadError) as raised:
                worker.run(reader, *arguments)
            assert raised.value.problem.file == str(arguments[0])
            assert raised.value.problem.cause
            assert raised.value.problem.fix


def test_no_other_function_runs_in_the_process():
    worker = DecodingWorker(PLENTY_S)
    for reader in (os.listdir, np.load, read_header):
        with pytest.raises(ValueError, match="does not run in the decoding process"):
            worker.run(reader, Path("a.tif"))
    assert worker._child is None


@pytest.mark.parametrize("name", ["crash", "hang"])
def test_a_label_image_and_an_array_that_end_the_process_cost_themselves_alone(name, tmp_path, monkeypatch):
    let_names_be_dangerous(monkeypatch)
    for stem in (name, "good"):
        written(tmp_path / f"{stem}.tif")
        np.savez(tmp_path / f"{stem}.npz", a=LABELS[None])
    with DecodingWorker(LIMIT_S) as worker:
        for reader, suffix, *more in ((read_labels, "tif"), (read_array, "npz", "a", None)):
            with pytest.raises(ImageReadError) as raised:
                worker.run(reader, tmp_path / f"{name}.{suffix}", *more)
            assert raised.value.problem.code == {"crash": "crashed", "hang": "timeout"}[name]
            assert raised.value.problem.file == str(tmp_path / f"{name}.{suffix}")
            np.testing.assert_array_equal(worker.run(reader, tmp_path / f"good.{suffix}", *more).squeeze(), LABELS)


def test_threads_that_share_a_process_get_their_own_answers(tmp_path):
    fields = [written(tmp_path / f"f{at}.tif", np.full((900, 900), at, np.uint16)) for at in range(24)]
    with closing(DecodingWorker(PLENTY_S)) as worker, ThreadPoolExecutor(8) as pool:
        for at, pixels in enumerate(pool.map(worker.read, fields)):
            assert (pixels == at).all()


def test_the_process_of_a_worker_outside_of_a_with_block_starts_with_the_first_file(tmp_path, children):
    with closing(DecodingWorker(PLENTY_S)) as worker:
        assert not children()
        worker.read(written(tmp_path / "a.tif"))
        assert len(children()) == 1
    assert not children()
