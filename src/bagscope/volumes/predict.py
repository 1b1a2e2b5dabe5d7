"""A trained model of shapes in the hand: what it says of a volume, of a screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bagscope.engine.model_folder import load_network
from bagscope.engine.scoring import ScreenModel
from bagscope.errors import ImageReadError
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.importance import importance_of
from bagscope.volumes.shape_scores import judged_solids
from bagscope.volumes.solids import Solid, solids_of
from bagscope.volumes.task import build_network

_SHOWN = 5


@dataclass(frozen=True)
class ShapePrediction:
    """What a model says of one volume.

    shapes : one row per shape: `cell` is its number, then place, size, measures, what the model says and the call.
    probability : per class, of the volume as a bag of its shapes.
    """

    shapes: pd.DataFrame
    probability: Mapping[str, float]
    _solids: tuple[Solid, ...]
    _model: ShapeModel

    def importance(self, number: int, name: str) -> np.ndarray:
        """How much each voxel of a shape speaks for a class: (z, y, x) of its bounding box, >= 0.

        Parameters
        ----------
        number : of the shape, see `shapes`. name : of the class.

        Raises
        ------
        ImageReadError : no such shape or class.
        """
        model = self._model
        solids = {one.cut.number: one for one in self._solids}
        if number not in solids or name not in model.classes:
            cause = f"no shape {number} of class {name!r}: there are {_listed(solids)} and {_listed(model.classes)}"
            raise ImageReadError(cause, "Name a shape by its `cell`, and a class of the model.", code="no_shape")
        solid = solids[number]
        return importance_of(model.network, model.card, solid, model.classes.index(name), model.device)


def _listed(names: Iterable[object]) -> str:
    told = [str(name) for name in names]
    return ", ".join(told[:_SHOWN]) + (f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else "")


class ShapeModel(ScreenModel[ShapesCard]):
    """A trained model of shapes: its folder, its card, and its predictions."""

    def predict(self, volume: np.ndarray, spacing: tuple[float, float, float]) -> ShapePrediction:
        """Judge the shapes of one volume.

        Parameters
        ----------
        volume : (Z, Y, X) mask, labels or grey values, as the model was trained on.
        spacing : micrometres between voxels, z, y, x.

        Raises
        ------
        ImageReadError : no volume, nothing in it, or no spacing.
        """
        volume = np.asarray(volume)
        if volume.ndim != 3 or volume.dtype.kind not in "buif":
            cause = f"an array of shape {volume.shape} and type {volume.dtype}"
            raise ImageReadError(cause, "Give (Z, Y, X) numbers.", code="flat")
        if spacing is None or len(spacing) != 3 or not all(np.isfinite(one) and one > 0 for one in spacing):
            cause = f"spacing {spacing}: three numbers above 0 are expected"
            raise ImageReadError(cause, "Give micrometres between voxels, z, y, x.", code="bad_spacing")
        solids, _ = solids_of(volume, spacing, self.card.volumes)
        table, bag = judged_solids(self.network, self.card, solids, self.device)
        probability = dict(zip(self.card.outputs, bag.probability.tolist(), strict=True))
        return ShapePrediction(table, probability, tuple(solids), self)


def open_model(folder: Path, device: torch.device) -> ShapeModel:
    """Load a model folder of the task `volumes`; see `bagscope.load`."""
    network, card = load_network(folder, device, ShapesCard, build_network)
    return ShapeModel(folder, network, card, device)
