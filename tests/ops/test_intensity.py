"""Normalisation of intensities."""

import numpy as np
import pytest
import torch

from bagscope.ops import intensity


def test_background_becomes_zero_and_spread_one():
    rng = np.random.default_rng(0)
    counts = np.concatenate([rng.poisson(100, 90_000), rng.poisson(3000, 10_000)]).astype(np.float64)
    y = intensity.apply(torch.from_numpy(counts)[None, None], intensity.learn([counts])).numpy()
    assert np.quantile(y, 0.05) == pytest.approx(0, abs=1e-5)
    assert y.std() == pytest.approx(1, abs=1e-4)


def test_photon_noise_has_one_size_at_every_brightness():
    rng = np.random.default_rng(1)
    counts = np.concatenate([np.full(10, 400.0), rng.poisson(2000, 50_000) + 400.0, rng.poisson(20000, 50_000) + 400.0])
    # 400 is the camera's offset; quantiles need some pixels there
    learned = intensity.Intensity((400.0,), (0.0,), (1.0,))
    y = intensity.apply(torch.from_numpy(counts)[None, None], learned).flatten().numpy()[10:]
    assert y[:50_000].std() == pytest.approx(y[50_000:].std(), rel=0.05)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_the_same_counts_in_any_type_give_the_same_result(dtype):
    counts = np.arange(0, 200, dtype=np.float64).reshape(1, 10, 20)
    learned = intensity.learn([counts.ravel()])
    a = intensity.apply(torch.from_numpy(counts), learned)
    assert torch.equal(a, intensity.apply(torch.from_numpy(counts.astype(dtype)), learned))


def test_an_offset_added_to_every_pixel_changes_nothing():
    counts = np.random.default_rng(2).poisson(50, 20_000).astype(np.float64)
    a = intensity.apply(torch.from_numpy(counts)[None, None], intensity.learn([counts]))
    b = intensity.apply(torch.from_numpy(counts + 32768)[None, None], intensity.learn([counts + 32768]))
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)  # float32 of 32768 + counts


def test_a_channel_without_contrast_becomes_zero_everywhere():
    flat = np.full(1000, 300.0)
    assert torch.equal(intensity.apply(torch.full((1, 4, 4), 300), intensity.learn([flat])), torch.zeros(1, 4, 4))


def test_pixels_below_the_darkest_count_as_the_darkest():
    learned = intensity.Intensity((100.0,), (1.0,), (2.0,))
    y = intensity.apply(torch.tensor([[[-500.0, 0.0, 99.0, 100.0, 101.0]]]), learned).flatten()
    assert y.tolist() == [-0.5, -0.5, -0.5, -0.5, 0.0]
    assert learned.floor().tolist() == [-0.5]
