"""How a picture becomes smaller without losing what lies between its pixels."""

from __future__ import annotations

import numpy as np


def shrunk(pixels: np.ndarray, step: int) -> np.ndarray:
    """Take the mean of squares of `step` pixels: (C, H, W) to (C, H // step, W // step) float32; as it is for 1."""
    if step == 1:
        return pixels
    c, h, w = pixels.shape[0], pixels.shape[1] // step * step, pixels.shape[2] // step * step
    whole = pixels[:, :h, :w].astype(np.float32)
    return whole.reshape(c, h // step, step, w // step, step).mean((2, 4))
