"""Are cells, shares and regions held against the reference as the experiment says?"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bagscope.files.writer import write_ome_tiff
from bagscope.reproduce import bbbc013_cells as cells
from bagscope.reproduce.bbbc013_cells import SHARE, Reference


def judged(**columns):
    return pd.DataFrame(columns)


def test_accuracy_is_balanced_over_gated_cells_by_the_larger_probability():
    table = judged(
        well=["A01"] * 6 + ["A02"] * 2,
        gated=[True] * 7 + [False],
        positive=[True, True, True, True, False, False, False, True],
        mil_positive=[0.9, 0.8, 0.4, 0.1, 0.2, 0.9, np.nan, 0.0],
        mil_negative=[0.1, 0.1, 0.3, 0.2, 0.7, 0.1, np.nan, 0.9],
    )
    found = cells.agreement(table, pd.Series({"A01": 4.0, "A02": 9.0}))
    assert found["cells_judged"] == 7
    assert found["cell_balanced_accuracy"] == pytest.approx(
        (3 / 4 + 2 / 3) / 2
    )  # what is in no cell counts as negative
    assert found["cell_balanced_accuracy_dose_3_5"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["cell_called_share"] == pytest.approx(4 / 7)
    assert found["cell_balanced_accuracy_called"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["cells_found_share"] == pytest.approx(6 / 7)


def wells(shares, classical):
    n = len(shares)
    return pd.DataFrame(
        {
            "well": [f"A{i + 1:02d}" for i in range(n)],
            "label": ["positive", "negative"] + [""] * (n - 2),
            "treatment": "Wortmannin",
            "concentration": [250.0, 0.0, *(np.arange(n - 2) // 2 + 1.0)],
            SHARE: shares,
            f"{SHARE}:classical": classical,
        }
    )


def test_shares_are_compared_per_dose_without_controls():
    table = wells([1.0, 0.5, 0.1, 0.3, 0.6, 0.8], [0.0, 0.0, 0.2, 0.2, 0.5, 0.5])
    assert cells.rms_per_dose(table) == pytest.approx(np.sqrt((0.0**2 + 0.2**2) / 2))


def test_cells_of_the_reference_find_the_cell_they_lie_in(tmp_path):
    labels = np.zeros((2, 20, 30), np.uint16)
    labels[0, 2:8, 2:8], labels[0, 10:18, 20:28] = 5, 9
    write_ome_tiff(tmp_path / "m.ome.tif", labels, channel_names=("cells", "classes"))
    told = pd.DataFrame(
        {
            "well": ["B02"] * 2,
            "cell": [5, 9],
            "mil_probability:positive": [0.2, 0.9],
            "mil_probability:negative": [0.7, 0.1],
        }
    )
    scores = SimpleNamespace(
        cells=told, folder=tmp_path, images=pd.DataFrame({"well": ["B02"], "mask_file": ["m.ome.tif"]})
    )
    reference = Reference(
        pd.DataFrame(
            {
                "well": ["B02", "B02", "B02", "C01"],
                "y": [12.4, 4.0, 0.0, 1.0],
                "x": [25.0, 3.6, 0.0, 1.0],
                "positive": [True, False, True, True],
                "gated": True,
            }
        ),
        pd.DataFrame(),
    )
    found = cells.joined(scores, reference)
    assert found["well"].tolist() == ["B02"] * 3
    assert found["mil_positive"].tolist()[:2] == [0.9, 0.2]
    assert np.isnan(found["mil_positive"].iloc[2])


def test_intervals_that_hold_the_classical_dose_are_counted_and_steps_are_twofold():
    ours = {"ec50_share:wortmannin": 16.0, "ec50_share_low:wortmannin": 7.0, "ec50_share_high:wortmannin": 20.0}
    ours |= {"ec50_share:LY294002": 2.0, "ec50_share_low:LY294002": 1.9, "ec50_share_high:LY294002": 2.1}
    found = cells.contained(ours, {"ec50:wortmannin": 8.0, "ec50:LY294002": 4.0})
    assert found["ec50_share_contains_classical:wortmannin"] == 1
    assert found["ec50_share_dose_steps_off:wortmannin"] == pytest.approx(1)
    assert found["ec50_share_contains_classical:LY294002"] == 0


def test_shares_averaged_over_models_are_judged_like_one_models():
    names = [f"{row}{i:02d}" for row in "AB" for i in range(1, 13)]
    doses = [0.0, 250.0, *(2.0 ** np.arange(10))] * 2
    classical = [0.01, 0.98, *(1 / (1 + (20 / 2.0 ** np.arange(10)) ** 3))] * 2
    label = ["negative", "positive", *[""] * 10] * 2
    reference = Reference(
        pd.DataFrame(),
        pd.DataFrame(
            {
                "well": names,
                "label": label,
                "treatment": "Wortmannin",
                "concentration": doses,
                "dose_rank": "1",
                SHARE: classical,
            }
        ),
    )
    off = np.random.default_rng(0).normal(0, 0.01, 24)
    models = [pd.DataFrame({"well": names, SHARE: np.array(classical) + sign * off}) for sign in (1, -1)]
    found = cells.averaged_measures(models, reference)
    assert found["rms_share"] == pytest.approx(0, abs=1e-12)
    assert found["ec50_share:wortmannin"] == pytest.approx(20, rel=0.05)
