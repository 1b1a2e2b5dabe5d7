"""What a model predicts for one image: probabilities, call, class maps, relevance maps and cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from bagscope.errors import ImageReadError, SettingsError, nearest
from bagscope.images.cell_stage import cell_table
from bagscope.images.cells import Known, find_cells
from bagscope.images.class_regions import class_region, strength
from bagscope.images.field_view import FieldView


@dataclass(frozen=True)
class Segments:
    """The cells of one image.

    labels : (H, W) number of the cell at each pixel, 0 outside.
    classes : (H, W) 0 where no class is, k + 1 where class k is.
    cells : one row per cell: `cell` is its number, then place, size, what the network says and the call.
    """

    labels: np.ndarray
    classes: np.ndarray
    cells: pd.DataFrame


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    probability, mil_probability : per class, of the last layer and of the pooled bag.
    call, confidence : see the docs on calls.
    class_maps : (K, h, w) probabilities of the map's elements, classes in the order of `classes`.
    y, x : (h,) and (w,) centres of the elements in the image's own pixels.
    """

    classes: tuple[str, ...]
    probability: Mapping[str, float]
    mil_probability: Mapping[str, float]
    call: str
    confidence: float
    class_maps: np.ndarray
    y: np.ndarray
    x: np.ndarray
    _view: FieldView = field(repr=False, compare=False)

    def jacobian(self, name: str) -> np.ndarray:
        """Map how much each pixel speaks for a class: (H, W) float32, >= 0 (Kraus et al. 2016, equation 4).

        Raises
        ------
        SettingsError : the model has no such class.
        """
        return self._view.relevance[self._number(name)]

    def region(self, name: str, *, brightness: bool = True) -> np.ndarray:
        """Say where a class is, if it is there at all: (H, W) bool.

        Pixels that speak for the class, by the network that judges cells, and that are bright.

        Parameters
        ----------
        brightness : False: the map decides alone.

        Raises
        ------
        SettingsError : the model has no such class.
        """
        return class_region(self._view, self._number(name), brightness=brightness)

    def speaks(self, name: str) -> np.ndarray:
        """Map how much each pixel and what is near it speak for a class: (H, W) float32, >= 0.

        By the network that judges cells, smoothed; `region` is where this map is high.

        Raises
        ------
        SettingsError : the model has no such class.
        """
        return strength(self._view, self._number(name))

    def _number(self, name: str) -> int:
        if name not in self.classes:
            cause = f"the model has no class '{name}'{nearest(name, self.classes)}"
            raise SettingsError(cause, f"Its classes: {', '.join(self.classes)}.", code="no_class")
        return self.classes.index(name)

    def segment(
        self,
        *,
        nuclei: str = "auto",
        labels: np.ndarray | None = None,
        centres: np.ndarray | None = None,
        score: Literal["window", "map"] = "window",
    ) -> Segments:
        """Find the cells, or take those that are known, and judge each by itself.

        Parameters
        ----------
        nuclei : channel that shows nuclei, "auto" (the one that the model learned with) or "none".
        labels : (H, W) your own segmentation; its numbers are kept.
        centres : (N, 2) rows and columns of cells that another program found; cell i gets the number i + 1.
        score : by each cell's own window, or by the dense class map at its centre.

        Raises
        ------
        BagscopeError : segments of another size, centres outside the image, no such channel, or a model that
            knows nothing of cells.
        """
        if labels is not None and np.shape(labels) != self._view.shape:
            cause = f"labels of shape {np.shape(labels)}, the image is {self._view.shape[0]}x{self._view.shape[1]}"
            raise ImageReadError(cause, "Give the mask of this very image.", code="mask_size")
        known = Known(labels, centres)
        found = find_cells(self._view, nuclei, score, known)
        return Segments(found.labels, found.classes, cell_table(found, self._view.card))
