"""From camera counts to what a network likes: background at zero, noise of one size everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BACKGROUND_QUANTILE = 0.05
DARKEST_QUANTILE = 0.001


@dataclass(frozen=True)
class Intensity:
    """Per channel: y = (sqrt(max(x - dark, 0)) - background) / spread.

    The root turns photon noise, which grows with brightness, into noise of constant size; `dark`
    takes the camera's offset away first, and what is darker counts as dark: no camera gives it, but a
    black image of another program does. Background at zero makes the network's zero padding mean
    "nothing here". All three are learned from training images, never from the data type.
    """

    dark: tuple[float, ...]
    background: tuple[float, ...]
    spread: tuple[float, ...]

    def floor(self) -> np.ndarray:
        """Return (C,) what the darkest pixels become; nothing is lower."""
        return -np.asarray(self.background) / np.asarray(self.spread)


def learn(samples: list[np.ndarray]) -> Intensity:
    """Measure dark level, background and spread of each channel.

    Parameters
    ----------
    samples : per channel, (n,) pixel values drawn from the training images, finite.

    Returns
    -------
    Intensity : a channel without any contrast gets spread 1, so it becomes 0 everywhere.
    """
    dark, background, spread = [], [], []
    for values in samples:
        values = np.asarray(values, np.float64)
        low = float(np.quantile(values, DARKEST_QUANTILE))
        roots = np.sqrt(np.maximum(values - low, 0))
        dark.append(low)
        background.append(float(np.quantile(roots, BACKGROUND_QUANTILE)))
        deviation = float(roots.std())
        spread.append(deviation if deviation > 0 else 1.0)
    return Intensity(tuple(dark), tuple(background), tuple(spread))


def apply(pixels: Tensor, intensity: Intensity) -> Tensor:
    """Normalise pixels of any number type.

    Parameters
    ----------
    pixels : (..., C, H, W) counts, any dtype, on any device.

    Returns
    -------
    (..., C, H, W) float32; 0 is background, 1 is one standard deviation of the training pixels.
    """
    learned = (intensity.dark, intensity.background, intensity.spread)
    dark, background, spread = torch.tensor(learned, dtype=torch.float32, device=pixels.device)[..., None, None]
    # In place where no gradient needs what was there before.
    return torch.sqrt((pixels.to(torch.float32) - dark).relu_()).sub(background).div_(spread)
