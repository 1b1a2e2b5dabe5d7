"""Is what is seen in a field's pixels right, and seen without a second copy of them?"""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd

from bagscope.engine.pixel_findings import Seen, look, pixel_problems


def test_pixels_are_summed_up_without_a_copy_of_them():
    pixels = np.zeros((1, 2000, 2000), np.uint16)
    tracemalloc.start()
    look(pixels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < pixels.nbytes / 10


def test_equal_pixels_alone_have_equal_digests():
    pixels = np.random.default_rng(0).integers(0, 60000, (2, 5, 7), dtype=np.uint16)
    other = pixels.copy()
    other[1, 4, 6] ^= 1
    mirrored = np.ascontiguousarray(pixels[..., ::-1])
    assert look(pixels).digest == look(mirrored[..., ::-1]).digest  # the same pixels, stored backwards
    digests = {look(x).digest for x in (pixels, other, pixels[::-1], pixels.reshape(2, 7, 5), pixels.view(np.int16))}
    assert len(digests) == 5


def test_the_share_of_saturated_pixels_counts_those_at_the_largest_value_of_the_type():
    pixels = np.zeros((2, 4, 5), np.uint8)
    pixels[0, :3], pixels[1, 0] = 255, 254
    seen = look(pixels)
    assert seen.saturated == 15 / 40
    assert (seen.low, seen.high, seen.constant) == ((0, 0), (255, 254), False)
    assert look(pixels.astype(np.float32)).saturated == 0


ROWS = pd.DataFrame({"row": [2, 3, 4], "plate": "P", "label": ["a", "b", "a"]})


def codes(*seen):
    return [problem.code for problem in pixel_problems(ROWS, dict(enumerate(seen)), "s.csv", training=False)]


def test_grey_saved_as_colour_is_said_only_where_it_is_so_in_every_field():
    grey = Seen("", (0, 0, 0), (200, 200, 200), 0.0, equal_channels=True)
    colour = replace(grey, equal_channels=False)
    assert codes(grey, grey) == ["equal_channels"]
    assert codes(grey, colour) == []


def test_brightness_jumps_by_the_brightest_channel_of_a_field():
    dim, bright = Seen("", (0, 0), (90, 400), 0.0, False), Seen("", (0, 0), (500, 1500), 0.0, False)
    assert codes(dim, bright) == []  # 1500 is less than four times 400
    assert codes(dim, replace(bright, high=(500, 1700))) == ["brightness_jump"]
