"""How arrays become small pictures that a browser shows."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def webp(pixels: np.ndarray, *, quality: int = 70) -> bytes:
    """Return a picture, (H, W, 3) or with transparency (H, W, 4) uint8, as WebP; one with transparency is lossless."""
    stream = io.BytesIO()
    lossless = pixels.shape[2] == 4
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        stream, format="WEBP", quality=quality, method=4, lossless=lossless, exact=False
    )
    return stream.getvalue()
