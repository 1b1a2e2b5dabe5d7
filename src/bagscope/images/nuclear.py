"""Which channel shows the nuclei, and where they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch

from bagscope.classical.nuclei import nuclei
from bagscope.errors import SettingsError, nearest
from bagscope.ops import windows

AUTO, NONE = "auto", "none"
# Names that say it: whole words, also beside digits and underscores.
_STAINS = re.compile(
    r"(?<![a-z])(dna|dapi|hoechst|nuc|nucleus|nuclei|nuclear|draq5|h2b|syto|propidium)(?![a-z])", re.IGNORECASE
)
# `classical.nuclei` is made for nuclei of 10 to 30 pixels, which cells of 27 to 80 have; others are rescaled.
_CELL_PX, _ROOM = 40.0, 2.0


def nuclear_channel(wanted: str, channels: Sequence[str]) -> str:
    """Name the channel that shows the nuclei; "" when there is none.

    Parameters
    ----------
    wanted : a channel, `none`, or `auto`: the one channel whose name says so (dna, DAPI, Hoechst, nuclei, ...).

    Raises
    ------
    SettingsError : a channel that there is not.
    """
    if wanted == AUTO:
        named = [name for name in channels if _STAINS.search(name)]
        return named[0] if len(named) == 1 else ""
    if wanted == NONE:
        return ""
    if wanted not in channels:
        cause = f"cells.nuclei = '{wanted}', but there is no such channel{nearest(wanted, channels)}"
        raise SettingsError(cause, f"Channels: {', '.join(channels)}; or none.", code="no_channel")
    return wanted


def find_nuclei(grey: np.ndarray, cell_px: float | None) -> np.ndarray:
    """Find the nuclei of a field, whatever the magnification.

    Parameters
    ----------
    grey : (H, W) of the nuclear channel.
    cell_px : diameter of a cell in these pixels; None when nobody knows.

    Returns
    -------
    (H, W) int32: 0 outside, nuclei 1 to N.
    """
    scale = 1.0 if cell_px is None else _CELL_PX / cell_px
    if 1 / _ROOM <= scale <= _ROOM:
        return nuclei(grey)
    resized = windows.rescale(torch.from_numpy(grey.astype(np.float32))[None], scale)[0].numpy()
    found = nuclei(resized)
    rows, columns = (
        np.clip(np.round([windows.to_scaled(i, scale) for i in range(n)]).astype(int), 0, m - 1)
        for n, m in zip(grey.shape, found.shape, strict=True)
    )
    return found[np.ix_(rows, columns)]
