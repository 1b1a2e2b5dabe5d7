"""How sure a freshly trained model may be, from the wells that watched its training."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import torch

from bagscope.engine.card import CalibrationCard
from bagscope.errors import ImageReadError
from bagscope.feed.cache import Pad
from bagscope.images.card import ModelCard
from bagscope.images.rows import Rows
from bagscope.images.scoring import score_field
from bagscope.images.setup import least_px
from bagscope.nets.bagnet import BagNet
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
    network: BagNet, card: ModelCard, rows: Rows, watched: np.ndarray, job: ImagesJob, device: torch.device
) -> CalibrationCard:
    """Fit a temperature on the rows that watched the training, well by well.

    Parameters
    ----------
    watched : (R,) which rows these are.
    """
    table = rows.table[watched].reset_index(drop=True)
    well_of, first = number_keys(well_keys(table))
    labels = table["label"].iloc[first].tolist()
    truth = np.array([card.classes.index(name) if name in card.classes else len(card.classes) for name in labels], int)
    count = len(first)
    kinds = Counter(part for label in labels for part in (label_parts(label) or ("",)))
    if count < LEAST_WELLS or min((kinds[name] for name in card.classes), default=0) < LEAST_OF_CLASS:
        why = f"{count} wells watched the training; {LEAST_WELLS} are needed, {LEAST_OF_CLASS} of each class"
        return CalibrationCard(wells=count, why=why)
    logits = _well_logits(network, card, rows, watched, well_of, job, device)
    known = np.isfinite(logits).all(1)
    if card.several_labels:
        truth = targets(labels, card.classes)
    temperature = fit_temperature(logits[known], truth[known], card.several_labels)
    return CalibrationCard(method="temperature", temperature=temperature, wells=int(known.sum()), why="")


def _well_logits(
    network: BagNet,
    card: ModelCard,
    rows: Rows,
    watched: np.ndarray,
    well_of: np.ndarray,
    job: ImagesJob,
    device: torch.device,
) -> np.ndarray:
    """Last layer's logits of each well, the mean over its fields as wells are scored; NaN where none can be read."""
    pad = None if job.images.pad == "none" else Pad(least_px(card), job.images.pad)
    store = rows.source.store.take(np.flatnonzero(watched), pad)
    found = []
    for i in range(len(store)):
        try:
            pixels = store.whole(i)
            read = partial(_window, pixels)
            size, tile = (pixels.shape[1], pixels.shape[2]), job.compute.tile
            head = score_field(network, card, read, size, tile, device).head.astype(np.float64)
        except ImageReadError:
            head = np.full(len(card.classes) + (card.none_trained and not card.several_labels), np.nan)
        # log_softmax as in `tables.levels.aggregate`: to the last digit the numbers that wells are scored by.
        found.append(head if card.several_labels else log_softmax(head[None])[0])
    return pd.DataFrame(np.stack(found)).groupby(well_of, sort=False).mean().to_numpy()


def _window(pixels: np.ndarray, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    return pixels[:, y0:y1, x0:x1]
