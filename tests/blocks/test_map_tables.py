"""Fractions of wells weigh images by their size."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from bagscope.blocks.map_tables import _added_up

CARD = SimpleNamespace(classes=("ground", "spot"))


def test_fractions_of_a_well_are_those_of_all_its_pixels():
    height, width = np.array([10.0, 30.0, 20.0]), np.array([10.0, 20.0, 5.0])
    spot = np.array([0.5, 0.1, 0.9])
    columns = {"n_fields": [1, 1, 1], "height_px": height, "width_px": width, "unsure": [0.2, 0.0, 0.4]}
    for kind in ("share", "probability"):
        columns |= {f"{kind}:ground": 1 - spot, f"{kind}:spot": spot}
    wells = pd.DataFrame({"well": ["A01", "A02"]})
    result = _added_up(pd.DataFrame(columns), wells, np.array([0, 0, 1]), CARD)
    # 50 of 100 pixels and 60 of 600 are of the class; the third image is alone in its well.
    np.testing.assert_allclose(result["share:spot"], [110 / 700, 0.9])
    np.testing.assert_allclose(result["probability:spot"], [110 / 700, 0.9])
    np.testing.assert_allclose(result["unsure"], [20 / 700, 0.4])
