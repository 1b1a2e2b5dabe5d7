"""Is a nucleus compared with its own cytoplasm, and with nothing else?"""

import numpy as np
import pytest
from cells_drawn import CELL, ellipse
from scipy import ndimage

from bagscope.classical.rings import measure_rings, nucleus_and_ring

SHAPE = 96, 96


def cell(centre, inside, outside, image, labels, radii=(9, 6.5)):
    """Draw a cell with a nucleus; its label is the next."""
    nucleus = ellipse(SHAPE, centre, radii)
    image[ellipse(SHAPE, centre, (CELL, CELL)) & (labels == 0)] = outside
    image[nucleus] = inside
    labels[nucleus] = labels.max() + 1
    return nucleus


@pytest.fixture
def drawn():
    """Two cells on a dark level of 10, with ratios of 4 and 1/5."""
    image, labels = np.full(SHAPE, 10.0), np.zeros(SHAPE, int)
    cell((30, 30), 10 + 79, 10 + 19, image, labels)
    cell((66, 66), 10 + 11, 10 + 59, image, labels)
    return labels, image


def test_the_ratio_is_that_of_the_drawn_brightness(drawn):
    table = measure_rings(*drawn)
    assert table.label.tolist() == [1, 2]
    assert table.ratio == pytest.approx([80 / 20, 12 / 60])
    assert table.nucleus.tolist() == [79, 11]
    assert table.ring.tolist() == [19, 59]
    assert table.gated.tolist() == [True, True]
    assert table.area.tolist() == [(drawn[0] == k).sum() for k in (1, 2)]
    assert np.stack([table.y, table.x], 1) == pytest.approx(np.array([[30, 30], [66, 66]]))


def test_rings_and_cores_are_the_pixels_at_their_distance_found_one_by_one():
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 255, SHAPE).astype(np.uint8), np.zeros(SHAPE, int)
    for label, centre in ((3, (40, 40)), (5, (48, 55)), (9, (4, 90))):  # gaps, a neighbour in the ring, a corner
        labels[ellipse(SHAPE, centre, (9, 6)) & (labels == 0)] = label
    at, area, nucleus, ring = nucleus_and_ring(labels, image)
    assert at.tolist() == [3, 5, 9]
    for row, label in enumerate(at):
        own = np.argwhere(labels == label)
        distance = np.array([[np.hypot(*(own - (y, x)).T).min() for x in range(SHAPE[1])] for y in range(SHAPE[0])])
        around = (distance >= 2) & (distance <= 5.5) & (labels == 0)
        core = []
        for y, x in own:
            cross = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [labels[p] == label for p in cross if 0 <= p[0] < SHAPE[0] and 0 <= p[1] < SHAPE[1]]
            core += [image[y, x]] if all(inside) else []
        assert ring[row] == np.median(image[around])
        assert nucleus[row] == np.median(core)
        assert area[row] == len(own)


def test_a_neighbours_nucleus_is_no_cytoplasm():
    image, labels = np.full(SHAPE, 10.0), np.zeros(SHAPE, int)
    nucleus = cell((40, 40), 50, 30, image, labels)
    near = ndimage.distance_transform_edt(~nucleus) < 3
    labels[~near & (np.indices(SHAPE)[0] < 90)] = 2  # nearly all of the ring, and below it the dark level
    image[labels == 2] = 250
    assert measure_rings(labels, image).ratio[0] == 41 / 21


def test_the_ratio_does_not_change_with_the_dark_level(drawn):
    labels, image = drawn
    assert measure_rings(labels, image + 100).ratio == pytest.approx(measure_rings(labels, image).ratio)


@pytest.mark.parametrize(("inside", "outside", "gated"), [(8, 8, False), (8.5, 3, True), (3, 8.5, True), (0, 0, False)])
def test_the_gate_asks_for_light_in_nucleus_or_ring(inside, outside, gated):
    image, labels = np.full(SHAPE, 10.0), np.zeros(SHAPE, int)
    cell((48, 48), 10 + inside, 10 + outside, image, labels)
    assert measure_rings(labels, image).gated.tolist() == [gated]
    assert measure_rings(labels, image, gate=2.9).gated.tolist() == [max(inside, outside) > 2.9]


def test_a_nucleus_at_the_edge_is_measured_by_what_is_inside():
    image, labels = np.full(SHAPE, 10.0), np.zeros(SHAPE, int)
    cell((0, 48), 90, 30, image, labels)
    table = measure_rings(labels, image)
    assert table.ratio == pytest.approx([81 / 21])
    labels[1:] = 0  # one row is left: were the image's edge an edge of the nucleus, no core would be
    assert measure_rings(labels, image).nucleus.tolist() == [80]


def test_a_nucleus_without_any_ring_has_no_ratio_and_is_not_called():
    image = np.full((20, 20), 50.0)
    image[0] = 10
    table = measure_rings(np.ones((20, 20), int), image)
    assert table.nucleus.tolist() == [40]
    assert np.isnan(table.ratio).all()
    assert table.gated.tolist() == [False]


def test_no_nuclei_give_an_empty_table():
    table = measure_rings(np.zeros(SHAPE, int), np.zeros(SHAPE))
    assert len(table) == len(table.ratio) == len(table.y) == 0


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(96, 96\) and image \(64, 64\)"):
        measure_rings(np.zeros(SHAPE, int), np.zeros((64, 64)))
