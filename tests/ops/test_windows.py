"""Windows of a rescaled image."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bagscope.ops import windows


def picture(h, w, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((2, h, w), np.float32))


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.73, 1.4, 2.0])
def test_rescaling_equals_torchs_antialiased_interpolation(scale):
    x = picture(96, 120)
    size = [windows.scaled_length(n, scale) for n in (96, 120)]
    expected = F.interpolate(x[None], size=size, mode="bilinear", antialias=True)[0]
    # torch uses the ratio of sizes, we the scale itself: equal where the product is whole
    if all(abs(n * scale - s) < 1e-9 for n, s in zip((96, 120), size, strict=True)):
        inner = slice(4, -4)  # torch renormalises at the border, we repeat the last pixel
        torch.testing.assert_close(windows.rescale(x, scale)[:, inner, inner], expected[:, inner, inner])
    assert list(windows.rescale(x, scale).shape[1:]) == size


@settings(max_examples=40, deadline=None, derandomize=True)
@given(scale=st.floats(0.2, 3), start=st.integers(0, 40), length=st.integers(1, 30), n=st.integers(70, 130))
def test_a_window_of_the_rescaled_image_is_the_rescaled_image_cut(scale, start, length, n):
    size = windows.scaled_length(n, scale)
    start = min(start, size - 1)
    stop = min(size, start + length)
    x = picture(n, n)
    rows, low, high = windows.taps(n, scale, start, stop)
    part = windows.interpolate(x[:, low:high, low:high], rows, rows)
    torch.testing.assert_close(part, windows.rescale(x, scale)[:, start:stop, start:stop], atol=1e-6, rtol=1e-6)


def test_scale_one_gives_the_pixels_back_exactly():
    x = picture(33, 47)
    assert torch.equal(windows.rescale(x, 1.0), x)
    rows, low, high = windows.taps(33, 1.0, 5, 20)
    columns, left, right = windows.taps(47, 1.0, 0, 47)
    assert torch.equal(windows.interpolate(x[:, low:high, left:right], rows, columns), x[:, 5:20])


def test_a_constant_stays_constant_at_any_scale():
    for scale in (0.3, 1.7):
        assert torch.allclose(windows.rescale(torch.full((1, 50, 40), 3.0), scale), torch.tensor(3.0))


@given(position=st.floats(-10, 5000), scale=st.floats(0.1, 10))
@settings(derandomize=True)
def test_coordinates_go_there_and_back(position, scale):
    assert windows.to_image(windows.to_scaled(position, scale), scale) == pytest.approx(position, abs=1e-6)


def test_a_spot_is_found_where_the_coordinates_say():
    x = torch.zeros(1, 64, 64)
    x[0, 20, 44] = 1.0
    big = windows.rescale(x, 2.0)[0]
    mass = big / big.sum()
    y = float((mass.sum(1) * torch.arange(128)).sum())
    assert windows.to_image(y, 2.0) == pytest.approx(20.0, abs=1e-4)


def test_the_eight_turns_and_mirrorings_are_all_different_and_keep_every_pixel():
    x = picture(5, 5)
    seen = {tuple(windows.dihedral(x, code).flatten().tolist()) for code in range(8)}
    assert len(seen) == 8
    assert all(torch.equal(windows.dihedral(x, code).flatten().sort()[0], x.flatten().sort()[0]) for code in range(8))
    assert torch.equal(windows.dihedral(x, 0), x)


def test_a_large_image_that_is_taken_in_strips_is_the_product_with_the_weights():
    x, scale = picture(300, 900, seed=3), 1.37
    sides = [windows.scaled_length(n, scale) for n in (300, 900)]
    assert 2 * sides[0] * sides[1] > 2 * windows._STRIP_VALUES
    matrices = []
    for n, side in zip((300, 900), sides, strict=True):
        axis, low, _ = windows.taps(n, scale, 0, side)
        matrix = torch.zeros(side, n, dtype=torch.float64)
        for index, weights in zip(axis.index + low, axis.weights, strict=True):
            matrix[torch.arange(side), index] += weights.double()
        matrices.append(matrix)
    expected = matrices[0] @ x.double() @ matrices[1].T
    # Two roundings of float32 per axis.
    torch.testing.assert_close(windows.rescale(x, scale).double(), expected, atol=1e-6, rtol=0)
