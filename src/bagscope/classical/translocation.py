"""Which share of a field's cells has the protein in the nucleus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bagscope.classical.nuclei import nuclei
from bagscope.classical.rings import GATE, RingTable, measure_rings
from bagscope.errors import BagscopeError

# Ratio above which a cell of BBBC013 is positive. On the controls of rows A, C, E and G it calls .9921 of the cells
# right (balanced); the best of all, 1.94, calls .9924, and from 1.7 to 3.2 it is .988 or more. EC50s depend more on
# it: 6.9 nM at 1.6, 8.3 at 2.14, 9.8 at 3.
THRESHOLD = 2.14


def measure_cells(dna: np.ndarray, protein: np.ndarray, gate: float = GATE) -> RingTable:
    """Find the nuclei of a field and measure the protein in each and round it.

    Parameters
    ----------
    dna, protein : (H, W) grey values of the two channels.
    gate : as in `rings.measure_rings`.
    """
    return measure_rings(nuclei(dna), protein, gate)


def share_positive(cells: RingTable, threshold: float = THRESHOLD) -> float:
    """Share of cells whose ratio lies above the threshold, of those bright enough to be called; NaN without any."""
    ratio = cells.ratio[cells.gated]
    return float(np.mean(ratio > threshold)) if len(ratio) else float("nan")


def choose_threshold(positive: Sequence[RingTable], negative: Sequence[RingTable]) -> float:
    """Ratio that tells the cells of two controls apart with the best balanced accuracy.

    Parameters
    ----------
    positive, negative : tables of the controls' fields; cells too dim to be called do not count.

    Returns
    -------
    The middle between two neighbouring ratios; of several that do equally well, the one in the middle.

    Raises
    ------
    BagscopeError : a control without a cell bright enough to be called, or all ratios equal.
    """
    up, down = (np.sort(np.concatenate([t.ratio[t.gated] for t in tables] or [[]])) for tables in (positive, negative))
    for name, ratios in (("positive", up), ("negative", down)):
        if not len(ratios):
            cause = f"no cell of the {name} control is bright enough to be called"
            raise BagscopeError(cause, "Lower the gate, and see that the channels are not exchanged.", code="no_cells")
    ratios = np.unique(np.concatenate([up, down]))
    if len(ratios) < 2:
        cause = f"all {len(up) + len(down)} cells of the controls have the ratio {ratios[0]:g}"
        raise BagscopeError(cause, "Give the image of the protein, not an empty one.", code="no_contrast")
    between = (ratios[1:] + ratios[:-1]) / 2
    missed = np.searchsorted(up, between) / len(up)
    right = np.searchsorted(down, between) / len(down)
    accuracy = (1 - missed + right) / 2
    # Sums of the same shares in another order may differ in the last digit.
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    return float(between[best[len(best) // 2]])
