"""Does the superres experiment deal, label, run, compare and go on as it says?"""

import csv
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bagscope.engine.events import Silent
from bagscope.reproduce import run_experiment
from bagscope.reproduce import superres_data as data
from bagscope.reproduce import superres_labels as labels
from bagscope.reproduce import superres_measures as measures
from bagscope.reproduce import superres_runs as runs_file
from bagscope.reproduce.ledger import Ledger
from bagscope.reproduce.superres_data import BLOCK, Picture
from bagscope.reproduce.superres_runs import keep
from bagscope.reproduce.superres_text import compared, key_table

DATA = Path(os.environ.get("BAGSCOPE_DATA") or "nowhere") / "dsb2018"


class Told(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def toy(number, group, stratum="s", size=(96, 128)):
    rng = np.random.default_rng(number)
    truth = np.zeros(size, bool)
    truth[: int(size[0] * rng.uniform(0.1, 0.9)), : int(size[1] * rng.uniform(0.3, 1))] = True
    pixels = np.clip(60 + 120 * truth + rng.normal(0, 8, size), 0, 255).astype(np.uint8)
    return Picture(f"{number}", pixels[None], truth, group, stratum)


def test_parts_share_no_group_and_hold_what_they_should():
    found = [toy(k, f"g{k // 3}", f"s{k // 30}") for k in range(60)]
    dealt = data.parts(found, data.SHARES)
    assert sorted(at for part in dealt.values() for at in part) == list(range(60))
    groups = [{found[at].group for at in part} for part in dealt.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    for name, share in data.SHARES.items():
        assert abs(len(dealt[name]) - 60 * share) <= 3
        assert {found[at].stratum for at in dealt[name]} == {"s0", "s1"}


def test_blocks_of_a_picture_hold_its_true_shares():
    one = toy(1, "g")
    rows, columns, share = data.cut(one)
    for y, x, s in zip(rows, columns, share, strict=True):
        assert s == one.truth[y : y + BLOCK, x : x + BLOCK].mean()
    assert len(rows) == 3 * 4


def test_exact_labels_make_a_table_of_the_very_shares():
    found = [toy(k, f"g{k}") for k in range(30)]
    known = labels.coarse_labels(found, list(range(30)), "none", 0)
    assert known.explained > 0.9
    for name, (_, mean) in zip(known.table.coarse, known.table.mean, strict=True):
        low, high = (float(end) / 100 for end in name.split("-"))
        assert low <= mean <= high
    assert known.table.n.max() <= labels.PER_CLASS


def test_noise_on_features_weakens_the_table_as_much_as_is_asked(monkeypatch):
    monkeypatch.setattr(labels, "_LEVELS", (0.0, 0.5, 1.0, 2.0, 3.0))
    found = [toy(k, f"g{k % 10}") for k in range(60)]
    real, strong = (labels.coarse_labels(found, list(range(30)), regime, 0) for regime in ("real", "strong"))
    assert strong.level > real.level == 0
    assert abs(strong.explained - 0.4) < abs(real.explained - 0.4)


def test_maps_of_blocks_and_of_everything():
    judged = [toy(3, "g")]
    told = measures.of_blocks(judged, lambda at: data.cut(judged[at])[2])[0]
    rows, columns, share = data.cut(judged[0])
    for y, x, s in zip(rows, columns, share, strict=True):
        assert (told[y : y + BLOCK, x : x + BLOCK] == (s >= 0.5)).all()
    assert measures.everything(judged)[0].all()
    best = measures.otsu(judged)["light"][0]
    assert (best == judged[0].truth).mean() > 0.99
    assert measures.map_measures([judged[0].truth], judged)["masked_iou"] == 1


def test_a_difference_has_the_sign_and_the_interval_of_the_pictures(tmp_path):
    judged = [toy(k, f"g{k}") for k in range(12)]
    ledger = Ledger(tmp_path, "superres", {})
    right, all_of_it = [one.truth for one in judged], measures.everything(judged)
    runs = {}
    for name, maps in (("default/glands", right), ("everything/glands", all_of_it), ("supervised/glands", right)):
        keep(ledger.place(name, 0), maps, judged)
        runs[name, 0] = measures.map_measures(maps, judged)
    told = compared(runs, ledger)
    other = told["everything/glands", 0]
    assert other["default_above"] == pytest.approx(1 - other["masked_iou"])
    assert 0 < other["default_above_low"] < other["default_above"] < other["default_above_high"] < 1
    assert told["default/glands", 0]["share_of_supervised"] == 1
    assert "| glands | 1.000 / 1.000 | 1.000 / 1.000 |" in key_table(told)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no dsb2018 in $BAGSCOPE_DATA")
def test_a_smoke_run_measures_every_method_and_is_not_done_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(runs_file, "train", partial(runs_file.train, **{"second.steps": 6}))
    told = Told()
    asked = {"data": DATA.parent, "seeds": None, "only": None, "quick": True, "test_data": None}
    out = run_experiment("superres", out=tmp_path / "out", device="cpu", threads=1, events=told, **asked)
    with (out / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["setting"].split("/")[0] for row in rows} == {"quick", "supervised", "lowres", "otsu"}
    wanted = {"masked_iou", "masked_dice", "masked_iou_narrow", "masked_iou_calibrated", "boundary_distance", "pepper"}
    assert wanted <= {row["measure"] for row in rows if row["setting"] == "quick/histology"}
    assert (out / "maps.png").stat().st_size > 10_000
    again = Told()
    run_experiment("superres", out=tmp_path / "out", device="cpu", threads=1, events=again, **asked)
    assert "0 still to do" in again.said[0]
