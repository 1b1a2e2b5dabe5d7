"""Are images in which nothing is made of the background that fields have?"""

import numpy as np
import pytest

from bagscope.reproduce.probes import background_level, blank_patches, flat_field, noise_field


def field(seed, lit):
    """Background of 100 with noise of 4, and one bright square."""
    pixels = np.random.default_rng(seed).normal(100, 4, (1, 96, 128))
    pixels[:, *lit] += 400
    return np.rint(pixels).astype(np.uint16)


LIT = slice(8, 24), slice(8, 24)


def test_every_patch_without_foreground_is_cut_those_at_the_far_edges_too():
    pixels = field(0, LIT)
    patches = blank_patches(pixels, 32)
    assert len(patches) == 3 * 4 - 1
    assert np.array_equal(patches[-1], pixels[:, 64:96, 96:128])
    assert max(patch.max() for patch in patches) < 200


def test_level_and_noise_are_those_of_the_background():
    level, noise = background_level([field(seed, LIT) for seed in range(3)])
    assert level == pytest.approx([100 - 2.05 * 4], abs=1)  # the 2 % quantile of the noise
    assert noise == pytest.approx([4], rel=0.5)
    flat = flat_field(level, (5, 6), np.dtype(np.uint16))
    assert (flat.shape, flat.dtype) == ((1, 5, 6), np.uint16)
    assert (flat == round(level[0])).all()
    drawn = noise_field(np.random.default_rng(0), level, noise, (100, 100), np.dtype(np.uint16))
    assert drawn.mean() == pytest.approx(level[0], abs=0.2)
    assert drawn.std() == pytest.approx(noise[0], rel=0.05)
