"""The simulated microscope obeys the physics it names: photon statistics, blur, uneven light."""

from __future__ import annotations

import numpy as np
import pytest

from bagscope.synth.optics import defocus, enlarge, expose, uneven_light


@pytest.mark.parametrize("electrons", [0.0, 5.0, 400.0])
def test_mean_and_variance_of_counts_follow_the_photon_transfer_curve(electrons):
    photons = np.full((1, 400, 400), electrons, np.float32)
    counts = expose(np.random.default_rng(1), photons, offset=100.0, gain=2.0, read_noise=3.0).astype(float)
    variance = 4.0 * electrons + 9.0 + 1 / 12
    assert counts.mean() == pytest.approx(100 + 2 * electrons, abs=4 * np.sqrt(variance / counts.size))
    assert counts.var() == pytest.approx(variance, rel=0.02)  # relative standard error sqrt(2 / 160000) = .0035


def test_the_camera_saturates_instead_of_wrapping():
    counts = expose(np.random.default_rng(0), np.full((1, 8, 8), 1e6, np.float32))
    assert counts.dtype == np.uint16
    assert np.all(counts == 65535)


def test_blur_and_haze_keep_the_light_of_a_point():
    point = np.zeros((1, 160, 160), np.float32)
    point[0, 80, 80] = 1000.0
    seen = defocus(point, psf_px=2.0, haze=0.3)
    assert seen.sum() == pytest.approx(1000.0, rel=1e-3)


def test_the_width_of_a_point_is_that_of_the_lens():
    point = np.zeros((1, 81, 81), np.float32)
    point[0, 40, 40] = 1.0
    seen = defocus(point, psf_px=3.0, haze=0.0)[0]
    offsets = np.arange(81) - 40
    assert (seen.sum(1) * offsets**2).sum() == pytest.approx(9.0, rel=0.05)  # the tail is cut at 3 sigma


def test_the_lamp_is_brightest_at_its_centre_and_never_above_one():
    light = uneven_light(65, fall=0.4, centre=(0.5, 0.5), tilt=(0.0, 0.0))
    assert light[32, 32] == light.max() == 1.0
    assert light[32, 0] == pytest.approx(0.6, abs=0.02)  # half a side away
    assert np.all(light > 0)


def test_a_tilt_darkens_one_edge_and_no_fall_is_even_light():
    tilted = uneven_light(64, fall=0.0, centre=(0.5, 0.5), tilt=(0.2, 0.0))
    assert tilted[0, 5] < tilted[-1, 5] == tilted.max() == 1.0
    assert np.ptp(tilted[10]) == 0
    assert np.all(uneven_light(16, fall=0.0, centre=(0.3, 0.5), tilt=(0.0, 0.0)) == 1)


def test_enlarging_never_leaves_the_range_of_the_grid():
    grid = np.random.default_rng(0).uniform(size=(5, 7)).astype(np.float32)
    large = enlarge(grid, 6)
    assert grid.min() - 1e-6 <= large.min()
    assert large.max() <= grid.max() + 1e-6


def test_enlarging_keeps_a_slope_straight():
    slope = np.arange(6, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    large = enlarge(slope, 4)
    assert large.shape == (24, 12)
    np.testing.assert_allclose(np.diff(large[2:-2], axis=0), 0.25, atol=1e-6)
    np.testing.assert_allclose(large[:, 0], large[:, -1])


def test_the_haze_of_a_point_is_as_wide_as_is_asked_for():
    point = np.zeros((1, 160, 160), np.float32)
    point[0, 80, 80] = 1.0
    seen = defocus(point, psf_px=1.0, haze=1.0, haze_px=8.0)[0]
    offsets = np.arange(160) - 80
    # Blocks of 4 pixels and the lines between their middles add 4 to the variance; the tail is cut at 3 sigma.
    assert (seen.sum(1) * offsets**2).sum() == pytest.approx(64 + 4, rel=0.1)
