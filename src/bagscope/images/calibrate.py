"""Calibration of a newly trained model on its validation wells."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from bagscope.engine.card import CalibrationCard
from bagscope.engine.loaded import Predictor
from bagscope.errors import ImageReadError
from bagscope.feed.cache import Pad
from bagscope.images.card import ModelCard
from bagscope.images.rows import Rows
from bagscope.images.scoring import FieldPixels, score_field
from bagscope.images.setup import least_px
from bagscope.ops.calibration import fit_temperature
from bagscope.settings.jobs import ImagesJob
from bagscope.tables.labels import targets
from bagscope.tables.probabilities import log_softmax
from bagscope.tables.treatments import number_keys
from bagscope.tables.values import label_parts
from bagscope.tables.wells import well_keys

# With fewer wells, or fewer of a class, a temperature is a guess.
LEAST_WELLS, LEAST_OF_CLASS = 10, 3


def calibration_of(
    model: Predictor[ModelCard], rows: Rows, is_validation: np.ndarray, job: ImagesJob
) -> CalibrationCard:
    """Fit a temperature on the validation rows, well by well.

    Parameters
    ----------
    is_validation : (R,) bool.
    """
    card, table = model.card, rows.table[is_validation].reset_index(drop=True)
    well_of, first = number_keys(well_keys(table))
    labels = table["label"].iloc[first].tolist()
    truth = np.array([card.classes.index(name) if name in card.classes else len(card.classes) for name in labels], int)
    count = len(first)
    wells_of_class = Counter(name for label in labels for name in (label_parts(label) or ("",)))
    if count < LEAST_WELLS or min((wells_of_class[name] for name in card.classes), default=0) < LEAST_OF_CLASS:
        why = f"{count} wells watched the training; {LEAST_WELLS} are needed, {LEAST_OF_CLASS} of each class"
        return CalibrationCard(wells=count, why=why)
    logits = _well_logits(model, rows, is_validation, well_of, job)
    is_readable = np.isfinite(logits).all(1)
    if card.several_labels:
        truth = targets(labels, card.classes)
    temperature = fit_temperature(logits[is_readable], truth[is_readable], card.several_labels)
    return CalibrationCard(method="temperature", temperature=temperature, wells=int(is_readable.sum()), why="")


def _well_logits(
    model: Predictor[ModelCard], rows: Rows, is_validation: np.ndarray, well_of: np.ndarray, job: ImagesJob
) -> np.ndarray:
    """Last layer's logits of each well, the mean over its fields as wells are scored; NaN where none can be read."""
    card = model.card
    pad = None if job.images.pad == "none" else Pad(least_px(card), job.images.pad)
    store = rows.source.store.take(np.flatnonzero(is_validation), pad)
    logits = []
    for i in range(len(store)):
        try:
            field = FieldPixels.of_array(store.whole(i))
            head = score_field(model, field, job.compute.tile).head.astype(np.float64)
        except ImageReadError:
            head = np.full(len(card.classes) + (card.none_trained and not card.several_labels), np.nan)
        # log_softmax as in `tables.levels.aggregate`: to the last digit the numbers that wells are scored by.
        logits.append(head if card.several_labels else log_softmax(head[None])[0])
    return pd.DataFrame(np.stack(logits)).groupby(well_of, sort=False).mean().to_numpy()
