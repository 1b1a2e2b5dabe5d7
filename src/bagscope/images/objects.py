"""Which things of a field a second training looks at: nuclei, or bright parts of the image that stand alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label as connected
from skimage.segmentation import expand_labels
from torch import Tensor

from bagscope.images.cell_windows import EDGE, cut_windows
from bagscope.images.class_regions import bright
from bagscope.images.field_view import FieldView
from bagscope.images.nuclear import find_nuclei
from bagscope.images.self_training import LARGE
from bagscope.ops.regions import region_table

# A cell reaches so far from its nucleus, as a share of a cell's diameter: what lies further is another one's.
REACH = 0.3
# Things of one kind are about equally long: what is longer than this share of the median is a clump, what is shorter
# than the other a speck.
CLUMP, SPECK = 1.35, 0.5
# Parts of fewer pixels are noise, and would draw the median down.
LEAST_PART = 20


@dataclass(frozen=True)
class TrainingObjects:
    """The things of one field.

    labels : (H, W) all of them, 0 outside. numbers : (N,) labels of those that can be learned from.
    centres : (N, 2) rows and columns. alone : whether each is judged with all others blanked out.
    """

    labels: np.ndarray
    numbers: np.ndarray
    centres: np.ndarray
    alone: bool

    def windows(self, view: FieldView) -> Tensor:
        """Cut a window with room round it of each, (N, C, 96, 96)."""
        return cut_windows(view.prepared, self.centres, view.scale, LARGE)

    def others(self, view: FieldView) -> Tensor:
        """Where in each large window another thing than its own lies, (N, 96, 96)."""
        reach = REACH * (view.cell_px or EDGE)
        whose = torch.from_numpy(expand_labels(self.labels, reach).astype(np.float32))[None]
        rows, columns = (
            torch.from_numpy(np.clip(np.floor((np.arange(m) + 0.5) / view.scale), 0, n - 1).astype(np.int64))
            for n, m in zip(view.shape, view.prepared.shape[1:], strict=True)
        )
        near = cut_windows(whose[:, rows][:, :, columns], self.centres, view.scale, LARGE)[:, 0]
        own = torch.from_numpy(self.numbers.astype(np.float32))[:, None, None]
        return ((near > 0) & (near != own)).to(view.device)


def nuclei(view: FieldView, channel: str) -> TrainingObjects:
    """Return all nuclei of a field."""
    labels = find_nuclei(view.pixels[view.card.channels.index(channel)], view.cell_px)
    numbers = np.arange(1, labels.max() + 1)
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, numbers), float).reshape(-1, 2)
    return TrainingObjects(labels, numbers, centres, alone=False)


def parts(view: FieldView) -> TrainingObjects:
    """Return the bright parts of a field that are neither specks nor clumps, nor cut off by the image's edge.

    Bright is what `class_regions.bright` says. A thing's middle is that of its bounding box.
    """
    labels = connected(bright(view.pixels), connectivity=2).astype(np.int32)
    table = region_table(labels)
    long = np.maximum(table.bottom - table.top, table.right - table.left)
    real = table.area >= LEAST_PART
    usual = np.median(long[real]) if real.any() else 0
    inside = (table.top > 0) & (table.left > 0) & (table.bottom < view.shape[0]) & (table.right < view.shape[1])
    kept = real & inside & (long > SPECK * usual) & (long < min(CLUMP * usual, EDGE / view.scale))
    middle = np.stack([table.top + table.bottom - 1, table.left + table.right - 1], 1) / 2
    return TrainingObjects(labels, table.label[kept], middle[kept], alone=True)
