"""How single cells, shares and regions of BBBC013 agree with the classical pipeline, which no model has seen.

The reference is the traditional workflow: nuclei by thresholds, the ratio of the protein inside each and round it, and
a threshold on the ratio that was chosen on controls; see `bagscope.classical`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.classical.foreground import foreground
from bagscope.classical.translocation import THRESHOLD, measure_cells
from bagscope.engine.score_folder import Scores
from bagscope.files.reader import open_image
from bagscope.images.predict import Model
from bagscope.ops.doseresponse import DoseResponse, fit_dose_response
from bagscope.ops.metrics import balanced_accuracy, z_prime
from bagscope.ops.regions import iou, labels_at
from bagscope.tables.table import Screen

POSITIVE, NEGATIVE = "positive", "negative"
SHARE = "share:positive"
MIDDLE_DOSES = (3, 5)
NAMES = {"Wortmannin": "wortmannin", "LY294002": "LY294002"}


@dataclass(frozen=True)
class Reference:
    """What the classical pipeline says of a plate: a row per nucleus, and a row per well.

    cells : `well`, `y`, `x`, `positive`, `gated`. wells : `well`, `label`, `treatment`, `concentration`, `dose_rank`
    and `share:positive`.
    """

    cells: pd.DataFrame
    wells: pd.DataFrame


def classical_reference(screen: Screen) -> Reference:
    """Run the classical pipeline on every well of the plate."""
    cells, shares = [], []
    for at, well in enumerate(screen.rows["well"]):
        pixels = pixels_of(screen, at)
        found = measure_cells(pixels["dna"], pixels["gfp"])
        positive = found.ratio > THRESHOLD
        columns = {"well": well, "y": found.y, "x": found.x, "positive": positive, "gated": found.gated}
        cells.append(pd.DataFrame(columns))
        shares.append(positive[found.gated].mean() if found.gated.any() else np.nan)
    keys = ["well", "label", "treatment", "concentration", "dose_rank"]
    return Reference(pd.concat(cells, ignore_index=True), screen.rows[keys].assign(**{SHARE: shares}))


def pixels_of(screen: Screen, at: int) -> dict[str, np.ndarray]:
    """Return a field's channels (H, W) by name."""
    return {name: open_image(file)[0] for name, file in zip(screen.channels, screen.files(at), strict=True)}


def reference_measures(reference: Reference) -> dict[str, float]:
    """Judge the classical pipeline itself by the controls' labels, and fit its doses."""
    values = {"zprime_share": share_zprime(reference.wells), "nuclei": float(len(reference.cells))}
    return values | fit_values("ec50", share_fits(reference.wells))


def share_zprime(wells: pd.DataFrame) -> float:
    """Z'-factor of the share of positive cells of the control wells."""
    return z_prime(*(wells.loc[wells["label"] == name, SHARE] for name in (POSITIVE, NEGATIVE)))


def share_fits(wells: pd.DataFrame) -> dict[str, DoseResponse]:
    """Fit the share of positive cells to the doses of each compound, positive controls left out."""
    series = wells[(wells["label"] != POSITIVE) & wells[SHARE].notna()]
    found = {short: series[series["treatment"].str.lower() == name.lower()] for name, short in NAMES.items()}
    return {short: fit_dose_response(w["concentration"], w[SHARE]) for short, w in found.items() if len(w)}


def fit_values(name: str, fits: Mapping[str, DoseResponse]) -> dict[str, float]:
    """EC50 of each compound with the ends of its interval, as measures."""
    values: dict[str, float] = {}
    for compound, fit in fits.items():
        if fit.fitted:
            ends = ((name, fit.ec50), (f"{name}_low", fit.low), (f"{name}_high", fit.high))
            values |= {f"{key}:{compound}": value for key, value in ends}
    return values


def cell_measures(model: Model, scores: Scores, screen: Screen, reference: Reference) -> dict[str, float]:
    """Hold the cells of held-out wells against the reference.

    Parameters
    ----------
    scores : of `screen`, with cells and masks.
    screen : the wells that the model has not seen.
    """
    wells = scores.wells.merge(reference.wells[["well", SHARE]], on="well", suffixes=("", ":classical"))
    values = {"zprime_share": share_zprime(scores.wells), "rms_share": rms_per_dose(wells)}
    values |= fit_values("ec50_share", share_fits(scores.wells))
    judged = joined(scores, reference)
    values |= agreement(judged, scores.wells.set_index("well")["dose_rank"].astype(float))
    return values | region_measures(model, scores, screen)


def averaged_measures(scored: Sequence[pd.DataFrame], reference: Reference) -> dict[str, float]:
    """Average the share of each well over models, and judge that.

    Parameters
    ----------
    scored : wells tables, of models that have not seen these wells.
    """
    together = pd.concat(scored, ignore_index=True)
    mean = together.groupby("well", as_index=False).agg({SHARE: "mean"})
    wells = reference.wells.rename(columns={SHARE: f"{SHARE}:classical"}).merge(mean, on="well")
    values = {"zprime_share": share_zprime(wells), "rms_share": rms_per_dose(wells)}
    values |= fit_values("ec50_share", share_fits(wells))
    return values | contained(values, reference_measures(reference))


def rms_per_dose(wells: pd.DataFrame) -> float:
    """Root mean square, over the doses of both compounds, of the difference of two shares of positive cells.

    Parameters
    ----------
    wells : with `share:positive` and `share:positive:classical`; replicate wells of a dose are averaged, controls do
        not count.
    """
    doses = wells[wells["label"] == ""].groupby(["treatment", "concentration"])[[SHARE, f"{SHARE}:classical"]].mean()
    return float(np.sqrt(np.mean((doses[SHARE] - doses[f"{SHARE}:classical"]) ** 2)))


def joined(scores: Scores, reference: Reference) -> pd.DataFrame:
    """Give every nucleus of the reference, in wells that were scored, the cell that it lies in.

    Returns
    -------
    Rows of the reference with `mil_positive`, `mil_negative` (NaN where no cell is).
    """
    said = scores.cells.set_index(["well", "cell"])[[f"mil_probability:{name}" for name in (POSITIVE, NEGATIVE)]]
    said.columns = ["mil_positive", "mil_negative"]
    parts = []
    for well, file in zip(scores.images["well"], scores.images["mask_file"], strict=True):
        own = reference.cells[reference.cells["well"] == well]
        labels = mask_labels(scores.folder / file)
        at = labels_at(labels, own[["y", "x"]].to_numpy()).astype(np.int64)
        found = said.reindex(pd.MultiIndex.from_arrays([np.full(len(own), well), at]))
        parts.append(pd.concat([own.reset_index(drop=True), found.reset_index(drop=True)], axis=1))
    return pd.concat(parts, ignore_index=True)


def agreement(judged: pd.DataFrame, dose_rank: pd.Series) -> dict[str, float]:
    """Balanced accuracy of cells against the reference, where its gate passes.

    By the larger probability; `called` counts only cells of which some class has a probability of one half. A nucleus
    in no cell of ours counts as called negative, and as not called.

    Parameters
    ----------
    judged : from `joined`.
    dose_rank : by well.
    """
    gated = judged[judged["gated"]]
    truth = gated["positive"].to_numpy(bool)
    positive = (gated["mil_positive"] > gated["mil_negative"]).to_numpy(bool)
    called = (gated[["mil_positive", "mil_negative"]].max(axis=1) >= 0.5).to_numpy(bool)
    middle = dose_rank.reindex(gated["well"]).between(*MIDDLE_DOSES).to_numpy(bool)
    return {
        "cell_balanced_accuracy": balanced_accuracy(truth, positive),
        "cell_balanced_accuracy_dose_3_5": balanced_accuracy(truth[middle], positive[middle]),
        "cell_balanced_accuracy_called": balanced_accuracy(truth[called], positive[called]),
        "cell_called_share": float(called.mean()),
        "cells_judged": float(len(gated)),
        "cells_found_share": float(gated["mil_positive"].notna().mean()),
    }


def region_measures(model: Model, scores: Scores, screen: Screen) -> dict[str, float]:
    """Mean IoU of cell regions with the union of both channels' log-Otsu masks, over all held-out wells.

    `region_iou_map_only`: of the Jacobian maps above the limit learned on blank pixels, without grey values.
    """
    limit = model.card.cells.foreground if model.card.cells else 0.0
    segmented, mapped = [], []
    for at, file in enumerate(scores.images["mask_file"]):
        pixels = pixels_of(screen, at)
        stacked = np.stack([pixels[name] for name in model.channels])
        target = foreground(stacked)
        segmented.append(iou(mask_labels(scores.folder / file) > 0, target))
        predicted = model.predict(stacked)
        relevance = sum(predicted.jacobian(name) for name in model.classes)
        mapped.append(iou(np.asarray(relevance > limit), target))
    return {"region_iou": float(np.mean(segmented)), "region_iou_map_only": float(np.mean(mapped))}


def mask_labels(path: Path) -> np.ndarray:
    """Read the cells of a mask that bagscope wrote."""
    return open_image(path)[0]


def contained(values: Mapping[str, float], classical: Mapping[str, float]) -> dict[str, float]:
    """Say whether the classical EC50s lie in our intervals (1 or 0), and how many twofold steps off ours are."""
    found = {}
    for name in NAMES.values():
        key = f"ec50_share:{name}"
        if key in values and f"ec50:{name}" in classical:
            target = classical[f"ec50:{name}"]
            low, high = values[f"ec50_share_low:{name}"], values[f"ec50_share_high:{name}"]
            found[f"ec50_share_contains_classical:{name}"] = float(low <= target <= high)
            found[f"ec50_share_dose_steps_off:{name}"] = float(abs(np.log2(values[key] / target)))
    return found
