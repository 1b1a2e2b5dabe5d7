"""Are all nuclei found, each once, and nothing else?"""

import numpy as np
import pytest
from cells_drawn import CELL, alone, ellipse, field, scattered
from scipy import ndimage

from bagscope.classical.nuclei import nuclei

SHAPE = 240, 240


def spread(radii=(9, 6.5), size=240):
    """Masks of nuclei of all directions, and of the cells round them."""
    centres = scattered(size)
    inner = [ellipse((size, size), c, radii, turn) for turn, c in enumerate(centres)]
    return inner, [ellipse((size, size), c, (CELL, CELL)) for c in centres]


@pytest.mark.parametrize("haze", [0, 15, 30])
def test_each_nucleus_is_found_once_and_as_large_as_drawn_whatever_the_stain_of_its_cytoplasm(haze):
    inner, cells = spread()
    labels = nuclei(field(SHAPE, inner, cytoplasm=cells, haze=haze, noise=1.5))
    assert alone(labels, inner)
    for mask in inner:
        own = labels == labels[mask][0] if labels[mask][0] else labels == np.bincount(labels[mask]).argmax()
        assert (own & mask).sum() / (own | mask).sum() > 0.8  # a pixel more all round would be .77


def test_dim_nuclei_are_found_beside_ones_three_times_as_bright_at_their_own_half_height():
    inner, _ = spread()
    image = field(SHAPE, inner[::2], light=160) + field(SHAPE, inner[1::2], light=54, empty=0, noise=1)
    labels = nuclei(image)
    assert alone(labels, inner)
    areas = np.bincount(labels.ravel())[1:]
    assert areas == pytest.approx(inner[0].sum(), rel=0.12)


def test_a_field_without_background_has_its_nuclei():
    inner, _ = spread()
    assert alone(nuclei(field(SHAPE, inner, empty=60, noise=2)), inner)


@pytest.mark.parametrize("angle", [0, 0.5, 1.2, 2.4])
def test_touching_discs_are_cut_apart_and_the_cut_lies_between_them(angle):
    step = 7 * np.array([np.cos(angle), np.sin(angle)])
    discs = [ellipse((80, 80), (40 + sign * step[0], 40 + sign * step[1]), (8, 8)) for sign in (-1, 1)]
    labels = nuclei(field((80, 80), discs, noise=1))
    assert labels.max() == 2
    only = [discs[0] & ~discs[1], discs[1] & ~discs[0]]
    for mask in only:
        assert np.bincount(labels[mask]).max() > 0.9 * mask.sum()


@pytest.mark.parametrize("radii", [(16, 6), (11, 9), (9, 4.5)])
def test_a_long_nucleus_stays_whole(radii):
    masks = [ellipse(SHAPE, c, radii, 0.4 * turn) for turn, c in enumerate(scattered())]
    assert alone(nuclei(field(SHAPE, masks, noise=2)), masks)


def test_a_nucleus_with_a_dent_stays_whole_but_not_with_a_dark_seam():
    peanut = ellipse((80, 80), (40, 35), (9, 8)) | ellipse((80, 80), (40, 46), (9, 8))
    image = field((80, 80), [peanut], blur=0)
    assert nuclei(ndimage.gaussian_filter(image, 0.7)).max() == 1
    image[:, 40:42] = np.minimum(image[:, 40:42], 80)
    assert nuclei(ndimage.gaussian_filter(image, 0.7)).max() == 2


def test_cytoplasm_and_blurs_of_less_than_a_quarter_of_the_nuclei_are_none():
    inner, cells = spread()
    labels = nuclei(field(SHAPE, inner[1:], cytoplasm=cells, haze=20, noise=1))
    assert alone(labels, inner[1:])
    blurred = ndimage.gaussian_filter(field(SHAPE, inner[:1], light=400, empty=0), 8)  # far out of focus
    assert alone(nuclei(field(SHAPE, inner[1:]) + blurred), inner[1:])


def test_nuclei_at_every_edge_and_corner_are_found():
    centres = [(0, 40), (79, 40), (40, 0), (40, 79), (0, 0), (79, 79), (0, 79), (79, 0)]
    masks = [ellipse((80, 80), c, (11, 11)) for c in centres]
    labels = nuclei(field((80, 80), masks, noise=1))
    assert alone(labels, masks)
    assert (labels > 0).sum() == pytest.approx(np.any(masks, 0).sum(), rel=0.1)
    assert (labels[0] > 0).sum() > 35  # up to the edge itself: 23 + 2 x 12 pixels are drawn there


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [0, 20, 100])
def test_noise_holds_no_nuclei(level, seed):
    rng = np.random.default_rng(seed)
    assert nuclei(rng.normal(level, 10, SHAPE).clip(0)).max() == 0
    assert nuclei(rng.poisson(level / 10, SHAPE).astype(np.uint8)).max() == 0


def test_an_image_of_one_grey_value_holds_no_nuclei_and_specks_are_none():
    for empty in (np.zeros((64, 64), np.uint8), np.full((64, 64), 9.0), np.zeros((1, 1))):
        assert nuclei(empty).shape == empty.shape
        assert nuclei(empty).max() == 0
    speck = np.zeros((64, 64), np.uint8)
    speck[30:33, 30:33] = 200
    assert nuclei(speck).max() == 0


def test_grey_values_in_another_unit_or_over_another_dark_level_give_the_same_nuclei():
    inner, cells = spread()
    image = field(SHAPE, inner, cytoplasm=cells, haze=20, noise=1.5)
    labels = nuclei(image)
    for other in (image / 255, image * 16, image * 8 + 300, image - 20):
        assert (nuclei(other) != labels).mean() < 1e-3  # single precision may turn a pixel on the edge


def test_labels_run_from_top_to_bottom_without_a_gap():
    inner, _ = spread()
    labels = nuclei(field(SHAPE, inner, noise=1))
    numbers, first = np.unique(labels, return_index=True)
    assert numbers.tolist() == list(range(len(inner) + 1))
    assert (np.diff(first[1:]) > 0).all()
    assert labels.dtype == np.int32


def test_images_of_several_channels_are_refused():
    with pytest.raises(ValueError, match=r"\(H, W\), not \(2, 64, 64\)"):
        nuclei(np.zeros((2, 64, 64)))
