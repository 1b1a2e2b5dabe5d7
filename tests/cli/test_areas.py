"""Do areas stand in a terminal in a unit that fits them, and failed images without any?"""

import numpy as np
import pandas as pd
import pytest

from bagscope.cli.areas import area_table


def cell(**values):
    row = {"image": "a.tif", "unsure": 0.1, "share:spot": 0.25, "share_low:spot": 0.2, "share_high:spot": 0.3}
    return area_table(pd.DataFrame([row | values]), ["spot"]).splitlines()[1].split("  ")[1].strip()


@pytest.mark.parametrize(
    ("um2", "text"), [(1e5, "0.100 mm2"), (2_345_678, "2.346 mm2"), (99_000, "99,000 um2"), (12.4, "12 um2")]
)
def test_large_areas_are_given_in_square_millimetres_and_small_ones_in_micrometres(um2, text):
    assert cell(**{"area_um2:spot": um2}) == f"{text}, 25.0 % (20.0-30.0)"


def test_without_a_pixel_size_areas_are_pixels_and_one_square_has_no_interval():
    assert cell(**{"area_px:spot": 1234}) == "1,234 px, 25.0 % (20.0-30.0)"
    assert cell(**{"area_px:spot": 1234, "share_low:spot": np.nan, "share_high:spot": np.nan}) == "1,234 px, 25.0 %"


def test_a_failed_image_has_no_area_and_many_images_are_counted():
    assert cell(**{"area_px:spot": np.nan, "share:spot": np.nan}) == "-"
    rows = [{"image": f"{k}.tif", "unsure": 0.1, "share:spot": np.nan} for k in range(45)]
    assert area_table(pd.DataFrame(rows), ["spot"]).splitlines()[-1] == "… and 5 more"
