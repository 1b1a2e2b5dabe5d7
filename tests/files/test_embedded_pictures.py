"""Is the size that a picture within a TIFF declares the size that its encoder gave it?"""

import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bagscope.files.embedded import picture_size


def by_pillow(pixels, kind):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


ENCODERS = {
    "jpeg grey": (7, lambda grey, colour: imagecodecs.jpeg8_encode(grey)),
    "jpeg colour": (7, lambda grey, colour: imagecodecs.jpeg8_encode(colour)),
    "jpeg 2000 codestream": (34712, lambda grey, colour: imagecodecs.jpeg2k_encode(grey)),
    "jpeg 2000 file": (33005, lambda grey, colour: imagecodecs.jpeg2k_encode(colour, codecformat="jp2")),
    "png": (34933, lambda grey, colour: by_pillow(grey, "PNG")),
    "webp": (50001, lambda grey, colour: imagecodecs.webp_encode(colour)),
    "webp lossless": (50001, lambda grey, colour: imagecodecs.webp_encode(colour, lossless=True)),
    "webp with alpha": (50001, lambda grey, colour: imagecodecs.webp_encode(np.dstack([colour, grey]))),
    "jpeg xl codestream": (50002, lambda grey, colour: imagecodecs.jpegxl_encode(grey)),
    "jpeg xl file": (52546, lambda grey, colour: imagecodecs.jpegxl_encode(grey, usecontainer=True)),
}
# Square, in eighths and in simple ratios: JPEG XL has a shorter way to say each of these.
SIDES = st.integers(1, 40) | st.integers(1, 700) | st.integers(1, 40).map(lambda side: 8 * side)


@pytest.mark.parametrize("name", ENCODERS)
@settings(deadline=None, max_examples=25)
@given(
    height=SIDES, width=SIDES, ratio=st.sampled_from([None, (1, 1), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1), (12, 10)])
)
def test_the_declared_size_is_the_encoded_size(name, height, width, ratio):
    if ratio:
        width = max(1, height * ratio[0] // ratio[1])
    grey = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width), dtype=np.uint8)
    compression, encode = ENCODERS[name]
    content = encode(grey, np.dstack([grey, grey[::-1], grey]))
    assert picture_size(content, compression) == (height, width)
    for length in range(0, min(len(content), 60)):
        assert picture_size(content[:length], compression) in (None, (height, width))


def test_of_other_compressions_no_size_is_claimed():
    for compression in (1, 5, 8, 32773, 50000, 34887):
        assert picture_size(by_pillow(np.zeros((5, 5), np.uint8), "PNG"), compression) is None
