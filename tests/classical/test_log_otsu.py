"""Do masks of the bright pixels hold dim cells too?"""

import numpy as np
import pytest
from cells_drawn import ellipse, field, scattered

from bagscope.classical.foreground import foreground, log_otsu

SHAPE = 240, 240


@pytest.fixture
def cells():
    """Masks of cells of four brightnesses, the dimmest a tenth of the brightest, and their image."""
    masks = [ellipse(SHAPE, centre, (16, 12), turn) for turn, centre in enumerate(scattered())]
    image = sum(field(SHAPE, masks[k::4], empty=1, light=light, blur=0) for k, light in enumerate((20, 50, 100, 200)))
    return np.any(masks, 0), image + np.random.default_rng(0).normal(0, 1, SHAPE)


def test_dim_cells_are_foreground_beside_bright_ones(cells):
    truth, image = cells
    mask = log_otsu(image)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    assert (image > image.max() / 2)[truth].mean() < 0.5  # half of the height would leave most out


def test_the_unit_and_the_dark_level_do_not_count(cells):
    _, image = cells
    mask = log_otsu(image)
    for other in (image * 16, image / 255, image + 500):
        assert (log_otsu(other) != mask).mean() < 1e-3


def test_the_foreground_is_the_union_of_the_channels(cells):
    truth, _ = cells
    left, right = (
        field(SHAPE, [truth & side], noise=1, blur=0) for side in (np.arange(240) < 120, np.arange(240) >= 120)
    )
    both = foreground(np.stack([left, right]))
    assert (both == (log_otsu(left) | log_otsu(right))).all()
    assert (both & truth).sum() / (both | truth).sum() > 0.9
    assert (foreground(left[None]) & ~both).sum() == 0


def test_an_image_of_one_grey_value_has_no_foreground():
    assert not foreground(np.full((2, 32, 32), 7, np.uint8)).any()
    assert not log_otsu(np.zeros((0, 0))).any()
