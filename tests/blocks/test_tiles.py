"""Are tiles of an image cut and measured so that they give what the whole image gives?"""

from types import SimpleNamespace

import numpy as np
import pytest

from bagscope.blocks.tiles import TILE, TiledImage, places, scaling_of

OWN = SimpleNamespace(scaling=SimpleNamespace(each=True, mean=(), sd=()))


def test_mean_and_sd_from_tiles_are_those_of_the_image():
    rng = np.random.default_rng(0)
    height, width = TILE + 40, 2 * TILE + 7
    slope = np.linspace(0, 200, width)  # tiles differ more from one another than pixels within a tile
    pixels = np.stack([rng.normal(slope, 5, (height, width)), rng.normal(50, 1, (height, width))])
    mean, sd = scaling_of(OWN, TiledImage(lambda y0, y1, x0, x1: pixels[:, y0:y1, x0:x1], height, width))
    assert mean == pytest.approx(pixels.mean((1, 2)))
    assert sd == pytest.approx(pixels.std((1, 2)))


@pytest.mark.parametrize("reach", [8, 24])
def test_a_window_reaches_beyond_its_tile_on_every_side_but_not_beyond_the_image(reach):
    height, width = 200, 136
    covered = np.zeros((height, width), int)
    for place in places(height, width, 64, reach, 8):
        covered[place.y0 : place.y1, place.x0 : place.x1] += 1
        y0, y1, x0, x1 = place.window
        assert (y0, x0) == (max(0, place.y0 - reach), max(0, place.x0 - reach))
        assert (y1, x1) == (min(height, place.y1 + reach), min(width, place.x1 + reach))
        assert y0 % 8 == x0 % 8 == 0
    assert (covered == 1).all()
