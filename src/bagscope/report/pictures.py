"""Pictures of fields and cells for a page: one contrast per channel, one colour per class, as many bytes as allowed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.segmentation import find_boundaries

from bagscope.files.field import FieldFiles
from bagscope.files.pictures import webp
from bagscope.files.reader import Selection
from bagscope.ops.shrink import shrunk

# Share of each channel's pixels that are drawn black and white.
CONTRAST = (1.0, 99.7)
# Hues of channels by what their names say, then in this order.
_NAMED = {
    "dna": (0.25, 0.45, 1.0), "dapi": (0.25, 0.45, 1.0), "hoechst": (0.25, 0.45, 1.0), "nuclei": (0.25, 0.45, 1.0),
    "gfp": (0.1, 0.95, 0.25), "rfp": (1.0, 0.25, 0.2), "cy5": (1.0, 0.2, 0.9), "actin": (1.0, 0.55, 0.1),
    "tubulin": (0.1, 0.95, 0.25),
}  # fmt: skip
_OTHERS = ((0.1, 0.95, 0.25), (1.0, 0.25, 0.8), (0.25, 0.45, 1.0), (1.0, 0.7, 0.1), (0.2, 0.9, 0.9), (1.0, 0.3, 0.2))
# Wong, Nature Methods 8 (2011) 441; told apart without colour vision too. The first is for cells of no class.
CLASS_COLOURS = ("#b0b0b0", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2", "#999999")
_CELL_EDGE = 72
_SCALES = (1.5, 3.0, 6.0, 12.0)


@dataclass(frozen=True)
class Look:
    """How channels are drawn: hues (C, 3), and the grey values that are black and white, (C,)."""

    hues: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class FieldPicture:
    """A field as bytes: its channels in colour, outlines of its cells ("" without), and what was seen on the way.

    focus, contrast : see `focus_of`. saturated : share of pixels at the top of the number type.
    """

    image: str
    outlines: str
    focus: float
    contrast: float
    saturated: float


def hues(channels: Sequence[str]) -> np.ndarray:
    """Colours of channels, (C, 3) in [0, 1]; a single one is grey."""
    if len(channels) == 1:
        return np.ones((1, 3))
    left = list(_OTHERS)
    found = []
    for name in channels:
        known = next((colour for key, colour in _NAMED.items() if key in name.lower()), None)
        colour = known if known in left or (known and known not in found) else left[0]
        left = [one for one in left if one != colour] or list(_OTHERS)
        found.append(colour)
    return np.array(found)


def contrast_of(fields: Sequence[np.ndarray], channels: Sequence[str]) -> Look:
    """One contrast for all fields: the 1 % and 99.7 % quantile of each channel over these fields."""
    values = np.concatenate([field.reshape(len(field), -1)[:, ::17] for field in fields], axis=1)
    low, high = np.percentile(values, CONTRAST, axis=1)
    return Look(hues(channels), low, np.maximum(high, low + 1e-6))


def composite(pixels: np.ndarray, look: Look) -> np.ndarray:
    """Add the channels' colours up, (C, H, W) to (H, W, 3) uint8; the root makes dim structures visible."""
    scaled = (pixels.astype(np.float32) - look.low[:, None, None]) / (look.high - look.low)[:, None, None]
    grey = np.sqrt(np.clip(scaled, 0, 1))
    return (255 * np.clip(np.tensordot(grey, look.hues, axes=(0, 0)), 0, 1)).astype(np.uint8)


def field_of(
    paths: Sequence[Path], channels: Sequence[str], row: Mapping[str, str], images: Mapping[str, object]
) -> FieldFiles:
    """Say which pixels of files a row of a table means, by what was set when it was scored."""

    def chosen(name: str) -> object:
        text = str(row.get(name, ""))
        return (int(text) if text.isdigit() else text) if text else images.get(name)

    wanted = {"page": chosen("page"), "z": chosen("z"), "t": chosen("t"), "level": images.get("level", 0)}
    wanted |= {name: images[name] for name in ("gray", "alpha", "nan", "sparse_as_zero") if name in images}
    names = tuple(channels) if len(paths) > 1 else ()
    return FieldFiles(tuple(paths), names, Selection(**wanted))  # type: ignore[arg-type]


def field_picture(pixels: np.ndarray, look: Look, mask: np.ndarray | None, edge: int) -> FieldPicture:
    """Draw a field `edge` pixels wide at most, and the outlines of its cells in the colours of their classes.

    Parameters
    ----------
    mask : (2, H, W) numbers of cells and of their classes.
    """
    step = max(1, int(np.ceil(max(pixels.shape[1:]) / edge)))
    small = shrunk(pixels, step)
    drawn = webp(composite(small, look), quality=62)
    outlines = b""
    if mask is not None and mask.shape == (2, *pixels.shape[1:]):
        labels, classes = mask[:, ::step, ::step]
        outlines = webp(_outlines(labels, classes))
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else np.inf
    focus, contrast = focus_of(pixels)
    saturated = float((pixels >= top).mean())
    return FieldPicture(uri(drawn), uri(outlines) if outlines else "", focus, contrast, saturated)


def focus_of(pixels: np.ndarray) -> tuple[float, float]:
    """How sharp a field is, and how much there is to see: detail of 2 pixels as a share of that of 8, and the latter.

    Both are standard deviations of differences of Gaussians, so neither noise nor uneven light counts; of the channel
    with the most detail.
    """
    found = []
    for plane in pixels:
        grey = plane.astype(np.float32)
        fine, small, large, coarse = (ndimage.gaussian_filter(grey, sigma) for sigma in _SCALES)
        shapes = float((large - coarse).std())
        found.append((float((fine - small).std()) / shapes if shapes > 0 else 0.0, shapes))
    return max(found, key=lambda one: one[1])


def cell_picture(pixels: np.ndarray, look: Look, y: float, x: float, edge: int) -> str:
    """Cut a square round a cell, black beyond the image, and draw it 72 pixels wide."""
    half = max(8, edge // 2)
    padded = np.pad(pixels, ((0, 0), (half, half), (half, half)), mode="constant", constant_values=0)
    top, left = round(y), round(x)
    cut = padded[:, top : top + 2 * half, left : left + 2 * half]
    step = max(1, round(2 * half / _CELL_EDGE))
    return uri(webp(composite(shrunk(cut, step), look), quality=60))


def uri(content: bytes) -> str:
    """Write bytes of a WebP picture so that a page can hold them."""
    return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")


def _outlines(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    edges = find_boundaries(labels, mode="inner")
    table = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in CLASS_COLOURS], np.uint8)
    colour = table[np.where(classes > 0, 1 + (classes.astype(int) - 1) % (len(table) - 1), 0)]
    return np.dstack([colour * edges[:, :, None], (255 * edges).astype(np.uint8)]).astype(np.uint8)
