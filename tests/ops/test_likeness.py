"""Do images of one kind pass, and are others told apart by what is different about them?"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from bagscope.ops.likeness import LEAST_IMAGES, WORDS, appearance, differences, usual_range

KNOWN = SimpleNamespace(dark=(100.0, 100.0), background=(2.0, 2.0), spread=(5.0, 5.0))


def field(seed, *, blur=1.0, light=1.0, empty=False, px=200):
    """Discs on a lit background, with photon noise."""
    rng = np.random.default_rng(seed)
    scene = np.full((2, px, px), 20.0)
    for y, x in rng.uniform(10, px - 10, (0 if empty else 40, 2)).astype(int):
        scene[:, y - 5 : y + 5, x - 5 : x + 5] += 400
    scene = np.stack([ndimage.gaussian_filter(one, blur) for one in scene]) * light
    return (100 + rng.poisson(scene)).astype(np.uint16)


@pytest.fixture(scope="module")
def usual():
    return usual_range([appearance(field(seed), KNOWN) for seed in range(12)])


def told(pixels, usual):
    return differences(appearance(pixels, KNOWN), *usual, ("dna", "gfp"))


def test_images_of_the_same_kind_pass(usual):
    assert [told(field(seed), usual) for seed in range(100, 130)] == [[]] * 30


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"blur": 5.0}, "less detail of 2 px"),
        ({"light": 3.0}, "a brighter background"),
        ({"empty": True}, "less detail of 4 px"),
    ],
)
def test_others_are_told_by_what_is_different(changed, word, usual):
    said = told(field(7, **changed), usual)
    assert f"dna: {word}" in said
    assert f"gfp: {word}" in said


def test_a_difference_in_one_channel_names_it_and_the_largest_comes_first(usual):
    pixels = field(3)
    pixels[1] = field(3, light=4.0)[1]
    said = told(pixels, usual)
    assert {text.split(":")[0] for text in said} == {"gfp"}
    found, (low, high) = appearance(pixels, KNOWN), usual
    off = np.maximum(low - found, found - high) / (high - low)
    c, k = np.unravel_index(off.argmax(), off.shape)
    assert said[0].startswith(f"{('dna', 'gfp')[c]}: ")
    assert said[0].split(": ")[1] in list(WORDS.values())[k]


def test_too_few_images_say_nothing():
    assert usual_range([appearance(field(seed), KNOWN) for seed in range(LEAST_IMAGES - 1)]) is None
    assert usual_range([appearance(field(seed), KNOWN) for seed in range(LEAST_IMAGES)]) is not None


def test_only_the_middle_of_a_large_image_is_looked_at():
    rng = np.random.default_rng(0)
    large = rng.integers(100, 500, (2, 700, 612)).astype(np.uint16)
    assert np.array_equal(appearance(large, KNOWN), appearance(large[:, 94:606, 50:562], KNOWN))


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 9), (2, 3, 2), (2, 63, 70)])
def test_small_and_flat_images_have_finite_numbers(shape):
    assert np.isfinite(appearance(np.zeros(shape, np.uint8), KNOWN)).all()
    assert np.isfinite(appearance(np.full(shape, 65535, np.uint16), KNOWN)).all()


def test_detail_is_counted_at_its_own_size():
    stripes = np.zeros((2, 64, 64), np.uint16)
    stripes[:, :, 1::2] = 400  # of one pixel: gone after one halving
    fine = appearance(stripes + 100, KNOWN)[0, 3:]
    assert fine[0] > fine[1] + 3
    stripes = np.zeros((2, 64, 64), np.uint16)
    stripes[:] = 400 * (np.arange(64) // 8 % 2)
    coarse = appearance(stripes + 100, KNOWN)[0, 3:]
    assert coarse[3] > coarse[0]


def test_the_range_is_the_wider_the_fewer_images_it_comes_from():
    two = [appearance(field(0), KNOWN), appearance(field(1, light=2.0), KNOWN)]
    (low, high), (less, more) = (usual_range(two * times) for times in (2, 20))
    assert (low <= less).all()
    assert (more <= high).all()
    wide = np.ptp(two, axis=0) > 1  # less is widened by a least amount, whatever the number of images
    assert wide.any()
    assert (low[wide] < less[wide]).all()
