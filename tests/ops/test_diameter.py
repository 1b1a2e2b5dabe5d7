"""The size of cells, measured without segmentation."""

import numpy as np
import pytest

from bagscope.ops.diameter import blob_diameter, cell_diameter


def discs(diameter, size=400, count=12, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = np.full((size, size), 50.0)
    for cy, cx in rng.uniform(diameter, size - diameter, (count, 2)):
        image[np.hypot(y - cy, x - cx) <= diameter / 2] = 400.0
    return rng.poisson(image).astype(np.uint16)


@pytest.mark.parametrize("diameter", [8, 16, 30, 60])
def test_discs_are_measured_within_a_sixth(diameter):
    # one step of the scale axis is 12 %; overlapping discs make larger blobs
    found = blob_diameter([discs(diameter, count=max(3, 6000 // diameter**2))])
    assert found == pytest.approx(diameter, rel=0.17)


def test_twice_the_pixels_is_twice_the_diameter():
    small = discs(14)
    large = np.kron(small, np.ones((2, 2), np.uint16))
    assert blob_diameter([large]) == pytest.approx(2 * blob_diameter([small]), rel=0.13)


def test_brightness_and_offset_do_not_matter():
    image = discs(20)
    assert blob_diameter([image]) == blob_diameter([image * 3 + 1000])


def test_no_contrast_has_no_diameter():
    assert np.isnan(blob_diameter([np.full((64, 64), 7, np.uint8)]))
    assert np.isnan(cell_diameter([float("nan")]))


def test_a_cell_is_2_4_times_its_nucleus_or_as_wide_as_its_widest_channel():
    assert cell_diameter([20.0, 31.0]) == 48.0
    assert cell_diameter([20.0, 60.0]) == 60.0
    assert cell_diameter([float("nan"), 20.0]) == 30.0
