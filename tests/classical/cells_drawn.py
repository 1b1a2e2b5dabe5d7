"""Fields of cells whose nuclei and brightness are known, because they were drawn."""

import numpy as np
from scipy import ndimage

CELL = 17  # radius of a cell's cytoplasm, in pixels


def ellipse(shape, centre, radii, turn=0.0):
    """Mask of an ellipse; `turn` in radians."""
    y, x = np.indices(shape) - np.reshape(centre, (2, 1, 1))
    along, across = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1


def scattered(size=240, step=48, margin=24):
    """Centres far enough from one another that no cells touch."""
    places = np.arange(margin, size - margin + 1, step)
    return [(y, x) for y in places for x in places]


def field(shape, nuclei, *, cytoplasm=(), empty=5.0, haze=0.0, light=120.0, noise=0.0, blur=1.0, seed=0):
    """DNA image of nuclei, given as masks, with `haze` in the masks of cytoplasm, blurred, and with noise."""
    image = np.full(shape, float(empty))
    for mask in cytoplasm:
        image[mask] = empty + haze
    for mask in nuclei:
        image[mask] = empty + light
    image = ndimage.gaussian_filter(image, blur) if blur else image
    return image + np.random.default_rng(seed).normal(0, noise, shape)


def found(labels, nuclei):
    """For each drawn nucleus the labels that hold a tenth of it or more."""
    return [[k for k in np.unique(labels[mask]) if k and (labels[mask] == k).mean() >= 0.1] for mask in nuclei]


def alone(labels, nuclei):
    """Whether each drawn nucleus has one label of its own, and there are no other labels."""
    each = found(labels, nuclei)
    return all(len(k) == 1 for k in each) and len({k[0] for k in each}) == len(nuclei) == labels.max()
