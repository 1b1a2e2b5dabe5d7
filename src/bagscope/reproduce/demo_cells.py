"""How near the demo's single cells come to what the simulator drew: class of each, regions, shares, doses."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from bagscope.engine.score_folder import Scores
from bagscope.files.reader import open_image
from bagscope.ops.doseresponse import fit_dose_response
from bagscope.ops.metrics import balanced_accuracy
from bagscope.ops.regions import iou, labels_at
from bagscope.synth.truth import PlateTruth
from bagscope.tables.frames import read_csv

SHARE = "share:positive"
_NUMBERS = ("cell", "y", "x", "expression", "ratio")


def cells_beside_truth(plate: Path, scores: Scores) -> pd.DataFrame:
    """Give every cell that the simulator drew, in fields that were scored, the cell that was found there.

    Parameters
    ----------
    plate : folder of the simulated plate, with its truth.

    Returns
    -------
    `image`, `well`, `class`, `visible`, and of the found cell `call` ("" where none was found).
    """
    truth = read_csv(plate / "truth" / "cells.csv", numbers=_NUMBERS)
    called = scores.cells.set_index(["row", "cell"])["call"]
    parts = []
    for image, row, well, mask in _masks(scores):
        own = truth[truth["image"].map(lambda name: PurePath(name).name) == image]
        labels = open_image(scores.folder / mask)[0]
        inside = own[["y", "x"]].clip(lower=0).to_numpy()
        inside = np.minimum(inside, np.array(labels.shape) - 1)
        at = labels_at(labels, inside).astype(np.int64)
        found = called.reindex(pd.MultiIndex.from_arrays([np.full(len(own), row), at])).fillna("")
        parts.append(own[["image", "class", "visible"]].assign(well=well, call=found.to_numpy()))
    return pd.concat(parts, ignore_index=True)


def regions_beside_truth(plate: Path, scores: Scores) -> float:
    """Mean IoU, over fields, of all pixels in cells with those in cells that the simulator drew."""
    found = []
    for image, _, _, mask in _masks(scores):
        drawn = open_image(plate / "truth" / "masks" / image)[0]
        found.append(iou(open_image(scores.folder / mask)[0] > 0, drawn > 0))
    return float(np.mean(found))


def cells_judged(plate: Path, truth: PlateTruth, scores: Scores) -> tuple[list[str], dict[str, Any]]:
    """Sum up cells, regions and shares of the wells that were not trained on: sentences, and figures for programs."""
    odd = {well.well for well in truth.wells if well.odd}
    unseen = scores.wells[(scores.wells["label"] == "") & ~scores.wells["well"].isin(odd)]
    cells = cells_beside_truth(plate, scores)
    cells = cells[(cells["visible"] == "yes") & cells["well"].isin(unseen["well"])]
    called = cells[cells["call"].isin(["positive", "negative"])]
    right = balanced_accuracy(called["class"] == "positive", called["call"] == "positive")
    region = regions_beside_truth(plate, scores)
    true_share = {well.well: well.share_visible_positive for well in truth.wells}
    off = (unseen[SHARE] - unseen["well"].map(true_share)).dropna()
    rms = float(np.sqrt(np.mean(off**2)))
    lines = [
        f"Cells of these wells, not one of them labelled: {len(called):,} of {len(cells):,} called, "
        f"{right:.1%} right (mean of both classes)",
        f"Cell regions overlap with the drawn ones by {region:.2f} (intersection over union, all fields)",
        f"Share of responding cells per well: off by {rms:.3f} (root mean square)",
    ]
    values: dict[str, Any] = {"cell_accuracy": right, "cells": len(cells), "called_cells": len(called)}
    values |= {"region_iou": region, "rms_share": rms, "ec50_share": {}}
    for treatment in truth.treatments:
        mine = unseen[unseen["treatment"] == treatment.name]
        fit = fit_dose_response(mine["concentration"], mine[SHARE])
        said = f"{fit.ec50:.3g} ({fit.low:.3g} to {fit.high:.3g})" if fit.fitted else f"no fit: {fit.reason}"
        lines.append(
            f"{treatment.name}: half of the cells respond at {said} {treatment.unit}; true is {treatment.ec50:g}"
        )
        values["ec50_share"][treatment.name] = fit.ec50 if fit.fitted else None
    return lines, values


def _masks(scores: Scores) -> list[tuple[str, int, str, str]]:
    """File name, row, well and mask of every field with cells."""
    images = scores.images[scores.images["mask_file"] != ""]
    names = images["image"].map(lambda text: PurePath(text).name)
    return list(zip(names, images["row"], images["well"], images["mask_file"], strict=True))
