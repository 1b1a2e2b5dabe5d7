"""Cluttered digits: counts, places and owners are what the design says."""

from __future__ import annotations

import gzip
from collections import Counter

import numpy as np
import pytest

from bagscope.errors import ImageReadError, SettingsError
from bagscope.synth.digits import (
    CLASSES,
    GLYPH_PX,
    INK,
    Glyphs,
    draw_clutter,
    draw_set,
    read_glyphs,
    single_crop,
)


def marked_glyphs(per_digit=20):
    """Glyphs whose pixels tell which they are: digit d is of grey 100 + 10 d, with its number in a corner pixel."""
    labels = np.repeat(np.arange(10, dtype=np.uint8), per_digit)
    images = np.zeros((len(labels), GLYPH_PX, GLYPH_PX), np.uint8)
    images[:, 8:20, 8:20] = (100 + 10 * labels)[:, None, None]
    images[:, 0, 0] = np.arange(len(labels)) % INK
    return Glyphs(images, labels)


GLYPHS = marked_glyphs()


@pytest.mark.parametrize("label", [*CLASSES, "none"])
def test_a_field_of_class_d_holds_ten_d_digits_of_d_and_zeros_else(label):
    field = draw_clutter(np.random.default_rng(1), GLYPHS, label)
    share = 0 if label == "none" else 10 * int(label)
    assert Counter(field.digits.tolist()) == {k: n for k, n in ((0, 100 - share), (int(share / 10), share)) if n}
    for digit, glyph in zip(field.digits, field.glyphs, strict=True):
        assert glyph[10, 10] == 100 + 10 * digit


def test_every_pixel_is_the_brightest_of_the_digits_that_lie_on_it():
    field = draw_clutter(np.random.default_rng(2), GLYPHS, "4")
    expected = np.zeros((512, 512), np.uint8)
    for y in range(512):
        near = np.flatnonzero((field.corners[:, 0] <= y) & (field.corners[:, 0] > y - GLYPH_PX))
        for at in near:
            left = field.corners[at, 1]
            row = expected[y, left : left + GLYPH_PX]
            row[:] = np.maximum(row, field.glyphs[at][y - field.corners[at, 0]])
    np.testing.assert_array_equal(field.pixels, expected)


def test_a_mask_is_where_some_copy_of_the_digit_alone_is_brighter_than_the_limit():
    field = draw_clutter(np.random.default_rng(3), GLYPHS, "3")
    for digit in (0, 3, 7):
        squares = np.zeros((512, 512), bool)
        for y, x in field.corners[field.digits == digit]:
            squares[y + 8 : y + 20, x + 8 : x + 20] = True
        np.testing.assert_array_equal(field.mask(digit), squares)


def test_the_strongest_value_on_a_digit_is_taken_from_its_own_pixels_alone():
    field = draw_clutter(np.random.default_rng(4), GLYPHS, "5", spaced=True)
    values = np.full((512, 512), 9.0)  # beside the digits everything is high
    for at, (y, x) in enumerate(field.corners):
        values[y + 8 : y + 20, x + 8 : x + 20] = 0
        values[y + 12, x + 9] = at / 100
    np.testing.assert_array_equal(field.strongest(values), np.arange(100) / 100)


def test_spaced_digits_do_not_touch_and_others_do():
    def overlaps(field):
        gaps = np.abs(field.corners[:, None] - field.corners[None]).max(-1)
        return int((gaps[np.triu_indices(len(gaps), 1)] < GLYPH_PX).sum())

    assert overlaps(draw_clutter(np.random.default_rng(5), GLYPHS, "6", spaced=True)) == 0
    assert overlaps(draw_clutter(np.random.default_rng(5), GLYPHS, "6")) > 30


def test_places_are_spread_evenly_and_digits_lie_whole_in_the_field():
    corners = np.concatenate([f.corners for f in draw_set(GLYPHS, [6], 20)])
    assert corners.min() >= 0
    assert corners.max() <= 512 - GLYPH_PX
    # 18,000 places in 8x8 squares: 281 each, sd 17.
    counts, *_ = np.histogram2d(*corners.T, bins=8, range=[(0, 485), (0, 485)])
    assert abs(counts - 18000 / 64).max() < 5 * np.sqrt(18000 / 64)


def test_a_set_has_as_many_fields_of_each_class_as_asked_all_different_and_the_same_again():
    fields = draw_set(GLYPHS, [7, 1], 3, negatives=2)
    assert Counter(f.label for f in fields) == dict.fromkeys(CLASSES, 3) | {"none": 2}
    assert len({f.pixels.tobytes() for f in fields}) == 29
    again, other = draw_set(GLYPHS, [7, 1], 3, negatives=2), draw_set(GLYPHS, [7, 2], 3, negatives=2)
    assert [f.pixels.tobytes() for f in fields] == [f.pixels.tobytes() for f in again]
    assert not {f.pixels.tobytes() for f in fields} & {f.pixels.tobytes() for f in other}


def test_a_small_set_is_the_beginning_of_a_larger_one():
    small, large = draw_set(GLYPHS, [8], 2), draw_set(GLYPHS, [8], 4)
    beginnings = [f for row in range(9) for f in large[4 * row : 4 * row + 2]]
    assert [f.pixels.tobytes() for f in small] == [f.pixels.tobytes() for f in beginnings]


def test_a_single_digit_lies_whole_near_the_middle_of_its_crop():
    crop = single_crop(np.random.default_rng(9), GLYPHS.images[0])
    y, x = np.nonzero(crop > INK)
    assert (crop.shape, len(y)) == ((64, 64), 144)
    assert abs(y.mean() - 31.5) <= 4.5
    assert abs(x.mean() - 31.5) <= 4.5


def test_the_middle_of_a_single_digit_lies_up_to_four_pixels_off_in_every_direction():
    rng, whole = np.random.default_rng(0), np.full((GLYPH_PX, GLYPH_PX), 255, np.uint8)
    corners = np.array([np.argwhere(single_crop(rng, whole))[0] for _ in range(200)])
    middle = (64 - GLYPH_PX) // 2
    for axis in (0, 1):
        assert sorted(set((corners[:, axis] - middle).tolist())) == list(range(-4, 5))


@pytest.mark.parametrize("label", ["0", "10", "seven"])
def test_a_class_that_there_is_not_is_refused(label):
    with pytest.raises(SettingsError, match=f"no class '{label}'"):
        draw_clutter(np.random.default_rng(0), GLYPHS, label)


def test_too_many_digits_for_a_field_without_overlap_are_refused():
    with pytest.raises(SettingsError, match="no room for 30 digits"):
        draw_clutter(np.random.default_rng(0), GLYPHS, "1", spaced=True, px=100, count=30)


def write_part(folder, images, labels, name="t10k"):
    for kind, array, code in (("images-idx3", images, 3), ("labels-idx1", labels, 1)):
        head = bytes([0, 0, 8, code]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes(), 1))


def test_a_part_of_another_number_of_digits_is_refused(tmp_path):
    write_part(tmp_path, np.zeros((9_999, 28, 28), np.uint8), np.zeros(9_999, np.uint8))
    with pytest.raises(ImageReadError, match=r"images of shape \(9999, 28, 28\)"):
        read_glyphs(tmp_path, "test")


def test_a_label_that_is_no_digit_is_refused(tmp_path):
    labels = np.zeros(10_000, np.uint8)
    labels[77] = 10
    write_part(tmp_path, np.zeros((10_000, 28, 28), np.uint8), labels)
    with pytest.raises(ImageReadError, match="a label 10"):
        read_glyphs(tmp_path, "test")


def test_digits_are_those_of_the_part_that_was_asked_for(tmp_path):
    labels = np.arange(10_000, dtype=np.uint8) % 10
    images = np.broadcast_to(labels[:, None, None], (10_000, 28, 28))
    write_part(tmp_path, np.ascontiguousarray(images), labels)
    found = read_glyphs(tmp_path, "test")
    np.testing.assert_array_equal(found.images[:, 3, 3], found.labels)
    with pytest.raises(ImageReadError, match=r"train-images-idx3-ubyte\.gz: no such file"):
        read_glyphs(tmp_path, "train")
