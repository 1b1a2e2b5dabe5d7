"""Does a signature stand for what files hold, and does an error of the drive name its file?"""

import hashlib

import pytest

from bagscope.errors import ImageReadError
from bagscope.files.signature import signature
from dangerous import let_drive_fail

MIB = 1 << 20


def written(folder, **contents):
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths


def test_small_files_count_whole_and_large_ones_with_size_and_ends(tmp_path):
    small, large = b"abc" * 1000, bytes(range(256)) * (5 * MIB // 256)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(len(small).to_bytes(8, "little") + small)
    digest.update(len(large).to_bytes(8, "little") + large[:MIB] + large[-MIB:])
    assert signature(written(tmp_path, small=small, large=large)) == digest.hexdigest()


def test_an_error_of_the_drive_that_passes_changes_no_signature(tmp_path, monkeypatch):
    paths = written(tmp_path, one=b"1" * 5000, two=bytes(5 * MIB))
    expected = signature(paths)
    let_drive_fail(monkeypatch, "two", times=2)
    assert signature(paths) == expected


def test_an_error_of_the_drive_that_stays_names_the_file(tmp_path, monkeypatch):
    paths = written(tmp_path, one=b"1", two=b"2")
    let_drive_fail(monkeypatch, "two")
    with pytest.raises(ImageReadError, match="I/O error after 3 tries") as raised:
        signature(paths)
    assert raised.value.problem.file == str(tmp_path / "two")
    (tmp_path / "one").unlink()
    with pytest.raises(ImageReadError, match="not there any more") as raised:
        signature(paths)
    assert raised.value.problem.file == str(tmp_path / "one")
