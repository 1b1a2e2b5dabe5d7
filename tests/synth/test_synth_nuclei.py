"""Are simulated nuclei of one size, of the shapes that their class asks for, and the same when drawn again?"""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from bagscope.classical.mesh import surface
from bagscope.errors import SettingsError
from bagscope.synth.nuclei import CLASSES, RADIUS, blurred, draw_nucleus


@pytest.fixture(scope="module")
def drawn():
    return {name: [draw_nucleus(np.random.default_rng([7, at]), name) for at in range(40)] for name in CLASSES}


def test_equal_chance_gives_equal_nuclei():
    one, other = (draw_nucleus(np.random.default_rng(3), "narrow") for _ in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, draw_nucleus(np.random.default_rng(4), "narrow"))


def test_both_classes_are_of_one_size_and_away_from_the_edge(drawn):
    ball = 4 / 3 * np.pi * RADIUS**3
    for nuclei in drawn.values():
        volumes = np.array([mask.sum() for mask in nuclei])
        assert np.median(volumes) == pytest.approx(ball, rel=0.03)
        assert volumes.max() < 1.03 * ball
        for mask in nuclei:
            inner = mask[1:-1, 1:-1, 1:-1].sum()
            assert inner == mask.sum()


def test_holes_and_parts_come_more_often_in_the_class_that_has_more(drawn):
    parts = {name: np.mean([label(mask).max() > 1 for mask in nuclei]) for name, nuclei in drawn.items()}
    holes = {name: np.mean([surface(mask).genus > 0 for mask in nuclei]) for name, nuclei in drawn.items()}
    assert parts["narrow"] > parts["broad"]
    assert holes["narrow"] > holes["broad"]


def test_a_blurred_nucleus_is_nearly_the_same(drawn):
    for mask in drawn["broad"][:5]:
        seen = blurred(np.random.default_rng(0), mask)
        assert (seen & mask).sum() / (seen | mask).sum() > 0.7
        assert not np.array_equal(seen, mask)


def test_unknown_classes_are_refused():
    with pytest.raises(SettingsError, match="no class 'round'"):
        draw_nucleus(np.random.default_rng(0), "round")
