"""Is what is measured on training images what they were made of?"""

from pathlib import Path

import numpy as np
import pytest
import torch

from bagscope.errors import ImageReadError
from bagscope.feed import normalise
from bagscope.feed.cache import PixelStore
from bagscope.feed.normalise import BLANK_TILE, LARGEST_LOOK, MOST_BLANK_TILES, blank_places, measure
from bagscope.files.field import FieldFiles
from bagscope.ops import intensity


def store_of(images, held=True, asked=None):
    """A store of arrays that never were files."""
    fields = [FieldFiles((Path(str(at)),), ()) for at in range(len(images))]

    def read(field, window):
        pixels = images[int(field.paths[0].name)]
        if asked is not None:
            asked.append((int(field.paths[0].name), window))
        if isinstance(pixels, ImageReadError):
            raise pixels
        if window is None:
            return pixels
        y0, y1, x0, x1 = window
        return pixels[:, y0:y1, x0:x1]

    shape = next(image.shape for image in images if isinstance(image, np.ndarray))
    shapes = [image.shape if isinstance(image, np.ndarray) else shape for image in images]
    return PixelStore(fields, shapes, read, held)


def cells(seed=0, size=240, diameter=20, count=25, below=100, bright=900, columns=None):
    """Two channels of photon counts: discs of one diameter, of half of it in the second; where they are is told."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[:size, :size]
    planes, seen = np.full((2, size, size), float(below)), np.zeros((size, size), bool)
    for cy, cx in rng.uniform(0, size, (count, 2)):
        cx = cx % columns if columns else cx
        for plane, width in zip(planes, (diameter, diameter / 2), strict=True):
            plane[np.hypot(y - cy, x - cx) <= width / 2] = bright
        seen |= np.hypot(y - cy, x - cx) <= diameter / 2
    return rng.poisson(planes).astype(np.uint16), seen


def numbers(measured):
    """All that was measured, as one list."""
    return [*measured.intensity.dark, *measured.intensity.background, *measured.intensity.spread,
            *measured.blobs, *np.ravel(measured.appearances)]  # fmt: skip


def test_the_background_of_the_images_becomes_0_and_their_spread_1():
    images = [cells(seed)[0] for seed in range(4)]
    measured = measure(store_of(images), 0)
    pixels = intensity.apply(torch.from_numpy(np.stack(images)), measured.intensity).numpy()
    # 5 % of the pixels are background's darkest; a sample of 80,000 finds quantile and spread to about 1 %.
    assert np.quantile(pixels, 0.05, axis=(0, 2, 3)) == pytest.approx([0, 0], abs=0.03)
    assert pixels.std((0, 2, 3)) == pytest.approx([1, 1], rel=0.03)


def test_blobs_and_appearances_are_those_of_each_channel():
    measured = measure(store_of([cells(seed)[0] for seed in range(4)]), 0)
    assert measured.blobs == pytest.approx((20, 10), rel=0.17)
    assert np.shape(measured.appearances)[1:] == (2, 7)


def test_blank_patches_are_blank_and_are_pixels_of_the_images():
    images, seen = zip(*(cells(seed, columns=120) for seed in range(3)), strict=True)
    blank = measure(store_of(images), 0).blank
    assert blank.dtype == np.uint16
    assert blank.shape[1:] == (2, BLANK_TILE, BLANK_TILE)
    tiles = {}
    for image, cell in zip(images, seen, strict=True):
        for y in range(0, 240, BLANK_TILE):
            for x in range(0, 240, BLANK_TILE):
                at = slice(y, y + BLANK_TILE), slice(x, x + BLANK_TILE)
                tiles[image[:, *at].tobytes()] = cell[at].mean()
    # 2 % of a tile may be the rim of a cell: the quantile that is looked at leaves them out.
    assert all(tiles[patch.tobytes()] <= 0.02 for patch in blank)
    assert len({patch.tobytes() for patch in blank}) == len(blank)
    # A half of each image, and what lies between cells, is blank.
    assert len(blank) >= 0.9 * sum(share == 0 for share in tiles.values()) > 100


def test_a_channel_without_contrast_hides_no_blank_patch():
    images = [cells(seed, columns=120)[0] for seed in range(2)]
    flat = [np.concatenate([image, np.full_like(image[:1], 37)]) for image in images]
    measured, wanted = measure(store_of(flat), 0), measure(store_of(images), 0)
    assert len(measured.blank) == len(wanted.blank) > 0
    assert np.isnan(measured.blobs[2])
    assert intensity.apply(torch.from_numpy(flat[0]), measured.intensity)[2].abs().max() == 0


@pytest.mark.parametrize("value", [0, 300, 65535])
def test_constant_images_are_measured_to_finite_numbers_and_become_0(value):
    image = np.full((2, 96, 96), value, np.uint16)
    measured = measure(store_of([image, image]), 0)
    assert np.isfinite([*measured.intensity.dark, *measured.intensity.background, *measured.intensity.spread]).all()
    assert min(measured.intensity.spread) > 0
    assert np.isnan(measured.blobs).all()
    assert np.isfinite(measured.appearances).all()
    assert torch.equal(intensity.apply(torch.from_numpy(image), measured.intensity), torch.zeros(2, 96, 96))


def test_saturated_images_are_measured_to_finite_numbers():
    image = cells()[0]
    image[:, :160] = 65535
    measured = measure(store_of([image]), 0)
    assert np.isfinite(intensity.apply(torch.from_numpy(image), measured.intensity).numpy()).all()
    assert min(measured.intensity.spread) > 0


def test_images_smaller_than_a_patch_give_none():
    blank = measure(store_of([cells(size=BLANK_TILE - 1, count=1)[0]]), 0).blank
    assert blank.shape == (0, 2, BLANK_TILE, BLANK_TILE)


def test_one_seed_gives_one_measurement_and_another_another():
    images = [cells(seed)[0] for seed in range(3)]
    one, again, other = (measure(store_of(images), seed) for seed in (1, 1, 2))
    assert numbers(one) == numbers(again) != numbers(other)
    assert np.array_equal(one.blank, again.blank)
    assert numbers(one) == pytest.approx(numbers(other), rel=0.1, abs=5)


def test_an_image_is_measured_the_same_whether_it_is_held_or_read():
    images = [cells(seed, size=200, count=4)[0] for seed in range(2)]
    held, read = (measure(store_of(images, held), 0) for held in (True, False))
    assert numbers(held) == numbers(read)
    assert np.array_equal(held.blank, read.blank)


def test_of_a_large_image_only_the_middle_is_read():
    size = LARGEST_LOOK + 200
    image = np.zeros((1, size, LARGEST_LOOK - 24), np.uint8)
    image[:, 100:-100] = np.random.default_rng(0).integers(100, 120, image[:, 100:-100].shape)
    asked = []
    read = measure(store_of([image], False, asked), 0)
    assert asked == [(0, (100, size - 100, 0, LARGEST_LOOK - 24))]
    assert read.intensity.dark[0] >= 100
    assert numbers(read) == pytest.approx(numbers(measure(store_of([image], True), 0)), nan_ok=True)


def test_of_many_images_a_sample_is_read_and_each_of_it_once(monkeypatch):
    monkeypatch.setattr(normalise, "MOST_IMAGES", 6)
    monkeypatch.setattr(normalise, "IMAGES_FOR_SIZE", 3)
    images = [cells(seed, size=72, count=3)[0] for seed in range(20)]
    asked = []
    measure(store_of(images, False, asked), 0)
    places = [at for at, _ in asked]
    assert len(places) == len(set(places)) == 6
    assert max(places) > 6  # not the first of the table, which may all be controls
    other = []
    measure(store_of(images, False, other), 1)
    assert [at for at, _ in other] != places


def test_never_more_patches_than_are_needed(monkeypatch):
    empty = [np.random.default_rng(seed).poisson(50, (1, 480, 480)).astype(np.uint16) for seed in range(3)]
    for image in empty:  # something must be brighter, or all is one noise
        image[:, :48, :48] = 4000
    assert len(measure(store_of(empty), 0).blank) == MOST_BLANK_TILES


def test_images_that_cannot_be_read_are_left_out_and_told():
    gone = ImageReadError("cut short", "copy it again")
    images = [cells(0)[0], gone, cells(1)[0]]
    measured = measure(store_of(images), 0)
    assert dict(measured.unreadable) == {1: gone}
    assert measured.blobs == pytest.approx((20, 10), rel=0.17)


def test_no_image_that_can_be_read_is_an_error_that_says_why():
    gone = np.zeros((1, 64, 64)), ImageReadError("cut short", "copy it again")
    with pytest.raises(ImageReadError, match="cut short"):
        measure(store_of(list(gone)).take([1]), 0)


def test_a_blank_tile_is_blank_where_it_is_and_the_rest_at_the_edges_never():
    grey = np.ones((2, 2 * BLANK_TILE + 5, 3 * BLANK_TILE + 7))
    here = slice(BLANK_TILE, 2 * BLANK_TILE), slice(0, BLANK_TILE)
    grey[:, *here], grey[:, 2 * BLANK_TILE :] = 0, 0
    grey[0, :BLANK_TILE, :BLANK_TILE] = 0  # blank in one of two channels
    expected = np.zeros(grey.shape[1:], bool)
    expected[here] = True
    assert np.array_equal(blank_places(grey, (0.5, 0.5)), expected)


def test_what_is_brighter_than_half_of_the_middle_between_the_levels_is_not_blank():
    grey = np.random.default_rng(0).normal(100, 1, (1, 240, 240))
    grey[:, :, 120:168] += 120  # dim: as roots, below the middle of the two levels, above half of it
    grey[:, :, 168:] += 800
    measured = measure(store_of([grey.astype(np.uint16)]), 0)
    assert len(measured.blank) > 0
    assert measured.blank.max() < 200
