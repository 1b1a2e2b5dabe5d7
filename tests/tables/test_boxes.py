"""Are boxes taken as they are, or left out with their reason, and never clipped?"""

import numpy as np
import pytest

from bagscope.errors import TableError
from bagscope.tables.boxes import binned, blocks_of_labels, read_boxes


def boxes(tmp_path, text, height=100, width=200):
    (tmp_path / "boxes.csv").write_text(text)
    return read_boxes(tmp_path / "boxes.csv", height, width)


def test_boxes_outside_are_left_out_and_not_clipped(tmp_path):
    found, problems = boxes(tmp_path, "x,y,size,class\n0,0,32,a\n190,0,32,a\n0,90,32,b\n5,5,0,b\n150,60,32,b\n")
    assert found.x.tolist() == [0, 150]
    assert found.coarse.tolist() == ["a", "b"]
    assert {problem.code for problem in problems} == {"outside", "bad_box"}


def test_columns_that_changed_places_are_told(tmp_path):
    with pytest.raises(TableError, match="swapped"):
        boxes(tmp_path, "x,y,size,class\n" + "".join(f"0,{at},32,a\n" for at in range(96, 168, 8)))


def test_probabilities_are_binned_as_published(tmp_path):
    assert binned(np.array([0, 0.199, 0.2, 0.75, 0.949, 0.95, 1])).tolist() == [
        "0-20", "0-20", "20-30", "70-80", "90-95", "95-100", "95-100",
    ]  # fmt: skip
    found, problems = boxes(tmp_path, "x,y,size,probability\n0,0,8,75\n8,0,8,20\n16,0,8,-3\n")
    assert found.coarse.tolist() == ["70-80", "20-30"]
    assert {problem.code for problem in problems} == {"per_cent", "bad_probability"}


def test_overlapping_boxes_count_and_are_told(tmp_path):
    found, problems = boxes(tmp_path, "x,y,size,class\n0,0,32,a\n16,16,32,a\n64,0,32,a\n")
    assert len(found) == 3
    assert [problem.cause for problem in problems] == ["1 pairs of boxes overlap; a crop counts one of them"]


def test_a_coarse_image_is_a_grid_of_blocks():
    codes = np.array([[0, 1], [255, 2]])
    found, _ = blocks_of_labels(codes, 64, 64, 0, 255)
    assert list(zip(found.y, found.x, found.coarse, strict=True)) == [(0, 0, "0"), (0, 32, "1"), (32, 32, "2")]
    assert found.size.tolist() == [32] * 3
    whole, _ = blocks_of_labels(np.kron(codes, np.ones((32, 32), int)), 64, 64, 32, 255)
    assert whole.coarse.tolist() == found.coarse.tolist()
    for shape, cause in (((99, 100), "99x100"), ((64, 64), "how large a block is")):
        with pytest.raises(TableError, match=cause):
            blocks_of_labels(
                np.zeros(shape, int), 64 if shape[0] == 64 else 1000, 64 if shape[0] == 64 else 1000, 0, -1
            )


def test_squares_of_a_coarse_image_that_hold_several_classes_are_counted():
    codes = np.kron(np.array([[1, 2], [3, 4]]), np.ones((32, 32), int))
    assert blocks_of_labels(codes, 64, 64, 32, 255)[1] == []
    codes[40, 3] = 9
    blocks, problems = blocks_of_labels(codes, 64, 64, 32, 255, "coarse.png")
    assert blocks.coarse.tolist() == ["1", "2", "4"]
    assert [(one.severity, one.code, one.file) for one in problems] == [("warn", "mixed_squares", "coarse.png")]
    assert problems[0].cause.startswith("1 of 4 squares of 32 px")
