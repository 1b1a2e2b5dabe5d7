"""Is what headers say side by side judged by the image, and not by its unit?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bagscope.engine.header_findings import from_headers
from bagscope.files.header import Header

HEADER = Header(Path("a.tif"), "tiff", 64, 80, 1, np.dtype("uint8"), "YX", 1, 1, (), None, "none", False)
ROWS = pd.DataFrame({"row": [2, 3, 4], "plate": "P", "label": "a"})


def codes(*headers, **how):
    return [problem.code for problem in from_headers(ROWS, dict(enumerate(headers)), "s.csv", **how)]


@pytest.mark.parametrize("um", [0.05, 0.65, 10.0])
def test_pixel_sizes_differ_from_two_per_cent_on_whatever_the_magnification(um):
    one, near, far = (replace(HEADER, pixel_um=size) for size in (um, 1.015 * um, 1.03 * um))
    assert codes(one, near, HEADER) == []
    assert codes(near, far, HEADER) == []
    assert codes(one, far, near) == ["pixel_size"]


def test_an_image_is_too_small_by_its_shorter_side():
    assert codes(HEADER, replace(HEADER, height=80, width=64), minimum_px=65) == ["too_small"] * 2
    assert codes(HEADER, minimum_px=64) == []
