"""The size of cells, measured without segmentation."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage.io import imread

from bagscope.ops.diameter import blob_diameter, cell_diameter

DATA = Path(os.environ.get("BAGSCOPE_DATA", "missing")) / "dsb2018"


def discs(diameter, size=400, count=12, seed=0, below=50.0, bright=400.0, darker=0.0):
    """Photon counts of discs on a background; `darker` is the share of light lost in the darkest corner."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[:size, :size]
    image = np.full((size, size), float(below))
    for cy, cx in rng.uniform(diameter, size - diameter, (count, 2)):
        near = tuple(slice(int(c - diameter / 2), int(c + diameter / 2) + 2) for c in (cy, cx))
        image[near][np.hypot(y[near[0]] - cy, x[:, near[1]] - cx) <= diameter / 2] = bright
    # Light falls off with the square of the distance from a centre beside the image's.
    light = 1 - darker * ((y / size - 0.4) ** 2 + (x / size - 0.6) ** 2) / 0.72
    return rng.poisson(image * light).astype(np.uint16)


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


@pytest.mark.parametrize("diameter", [8, 12, 24, 45, 60])
@pytest.mark.parametrize(
    "field",
    [
        {"below": 100, "bright": 130},  # three times the noise
        {"below": 1000, "bright": 2000, "darker": 0.7},
        {"below": 1000, "bright": 1300, "darker": 0.7},
        {"below": 20, "bright": 60, "darker": 0.8},
    ],
)
def test_noise_and_uneven_light_do_not_hide_the_discs(diameter, field):
    found = blob_diameter([discs(diameter, count=max(3, 6000 // diameter**2), **field)])
    assert found == pytest.approx(diameter, rel=0.2)


@pytest.mark.parametrize("size", [64, 200, 512])
@pytest.mark.parametrize("photons", [3, 100, 3000])
def test_noise_alone_has_no_diameter(size, photons):
    rng = np.random.default_rng(size + photons)
    assert np.isnan(blob_diameter([rng.poisson(photons, (size, size)) for _ in range(2)]))


@pytest.mark.parametrize("photons", [200, 2000])
def test_an_empty_field_under_uneven_light_has_no_diameter(photons):
    empty = [discs(20, size=512, count=0, seed=seed, below=photons, darker=0.5) for seed in range(2)]
    assert np.isnan(blob_diameter(empty))


def test_what_is_larger_than_looked_for_has_no_diameter():
    assert blob_diameter([discs(60, size=400, count=3)], largest=128) == pytest.approx(60, rel=0.2)
    assert np.isnan(blob_diameter([discs(200, size=400, count=1)], largest=64))


def test_the_mean_over_images_is_taken_not_the_last_or_the_largest():
    few = [discs(45, count=1, bright=90)] + [discs(12, count=40, seed=seed) for seed in range(3)]
    assert blob_diameter(few) == blob_diameter(few[::-1]) == pytest.approx(12, rel=0.17)


def test_no_contrast_has_no_diameter():
    assert np.isnan(blob_diameter([np.full((64, 64), 7, np.uint8)]))
    assert np.isnan(cell_diameter([float("nan")]))


def test_a_cell_is_2_4_times_its_nucleus_or_as_wide_as_its_widest_channel():
    assert cell_diameter([20.0, 31.0]) == 48.0
    assert cell_diameter([20.0, 60.0]) == 60.0
    assert cell_diameter([float("nan"), 20.0]) == 30.0


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="BAGSCOPE_DATA names no folder with dsb2018")
def test_real_nuclei_are_measured_as_people_outlined_them():
    index = pd.read_csv(DATA / "index.csv")
    found = []
    for name in index["image"][index["look"] == "fluorescence"][::4]:
        areas = np.sort(np.bincount(imread(DATA / "labels" / name).ravel())[1:])
        # The diameter of the nucleus in which the median pixel of all nuclei lies: energy too goes by area.
        middle = areas[np.searchsorted(np.cumsum(areas), areas.sum() / 2)]
        found.append(blob_diameter([imread(DATA / "images" / name)]) / (2 * np.sqrt(middle / np.pi)))
    assert np.median(found) == pytest.approx(1, abs=0.12)  # one step of the scale axis
    assert np.mean(np.abs(np.log2(found)) < np.log2(1.5)) >= 0.9
