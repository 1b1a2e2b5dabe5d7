"""Colours of histology as amounts of stain: how they may differ between slides."""

from __future__ import annotations

import numpy as np
from skimage.color import hed_from_rgb, rgb_from_hed


def jitter_stains(rgb: np.ndarray, gains: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return an RGB image (3, H, W) in [0, 1] as it would be with other amounts of haematoxylin, eosin and residue.

    Parameters
    ----------
    gains, offsets : (3,) factor and summand of each stain's optical density.

    Source: Ruifrok and Johnston, Anal. Quant. Cytol. Histol. 23 (2001) 291; Tellez et al., IEEE TMI 37 (2018) 2126.
    """
    density = -np.log(np.clip(rgb, 1e-3, 1))
    stains = np.tensordot(hed_from_rgb.T, density, 1)
    changed = stains * gains[:, None, None] + offsets[:, None, None]
    return np.clip(np.exp(-np.tensordot(rgb_from_hed.T, changed, 1)), 0, 1).astype(np.float32)
