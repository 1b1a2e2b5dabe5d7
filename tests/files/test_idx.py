"""idx files of MNIST: read as they are, refused when their header promises what is not there."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from bagscope.errors import ImageReadError
from bagscope.files.idx import read_idx

PIXELS = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)


def idx_bytes(array, kind=8):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_pixels_come_out_as_they_were_written(tmp_path, pack):
    (tmp_path / "a").write_bytes(pack(idx_bytes(PIXELS)))
    np.testing.assert_array_equal(read_idx(tmp_path / "a", axes=3), PIXELS)


GOOD = idx_bytes(PIXELS)
BAD = {
    "truncated": GOOD[:-1],
    "longer": GOOD + b"\0",
    "half a gzip": gzip.compress(GOOD)[:-9],
    "a header alone": GOOD[:7],
    "empty": b"",
    "text": b"not an idx file",
    "of floats": idx_bytes(PIXELS, kind=13),
    "of labels": idx_bytes(PIXELS[0, 0]),
    "a terabyte": bytes([0, 0, 8, 3]) + b"\0\1\0\0" * 3,
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_file_that_is_not_what_it_says_is_refused_with_its_name(tmp_path, content):
    (tmp_path / "digits.idx").write_bytes(content)
    with pytest.raises(ImageReadError, match=r"digits\.idx: .+; \w+"):
        read_idx(tmp_path / "digits.idx", axes=3)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ImageReadError, match=r"none\.idx: no such file"):
        read_idx(tmp_path / "none.idx", axes=1)
