"""What an expert sees of the blocks of a form: their pixels, their surroundings, and how they are to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BlockViews:
    """Views of N blocks, each with the block in the middle.

    Parameters
    ----------
    pixels : (C, E, E) of each, E the same multiple of the block's edge, as stored or shrunk; None when it could not be
        read.
    inside : (N,) what part of each view lies in the image: rows y0 to y1 and columns x0 to x1, as (y0, y1, x0, x1).
    channels : C names. colour : they are red, green and blue of a picture.
    context : surroundings on each side, in edges of the block. shows_classes : say each block's coarse class.
    """

    pixels: tuple[np.ndarray | None, ...]
    inside: tuple[tuple[int, int, int, int], ...]
    channels: tuple[str, ...]
    colour: bool
    context: int
    shows_classes: bool
