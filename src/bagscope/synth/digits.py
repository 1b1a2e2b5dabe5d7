"""Cluttered digits: fields of real handwritten digits at random places, of which every pixel's owner is known.

Source: Kraus, Ba and Frey, Bioinformatics 32 (2016) i52, section 3.1: a field holds 100 digits of MNIST; a field of
class d has 10 d digits of d, and zeros else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bagscope.errors import ImageReadError, SettingsError
from bagscope.files.idx import read_idx

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELD_PX = 512
GLYPH_PX = 28
DIGITS = 100  # per field
CLASSES = tuple(str(digit) for digit in range(1, 10))
NONE = "none"
INK = 64  # a pixel belongs to a digit where the digit alone is brighter
PARTS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}
_MOST_TRIES = 100_000


@dataclass(frozen=True)
class Glyphs:
    """Single digits: (n, 28, 28) uint8, white on black, and (n,) which digit each is."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def take(self, chosen: slice) -> Glyphs:
        """Return some of them."""
        return Glyphs(self.images[chosen], self.labels[chosen])

    @cached_property
    def _by_digit(self) -> list[NDArray[np.uint8]]:
        return [self.images[self.labels == digit] for digit in range(10)]

    def of(self, digit: int) -> NDArray[np.uint8]:
        """Return all images of one digit."""
        return self._by_digit[digit]


@dataclass(frozen=True)
class Clutter:
    """One field and its truth.

    label : its class, `none` for zeros alone. pixels : (H, W) uint8.
    digits : (n,) which digit each is. corners : (n, 2) row and column of its upper left pixel. glyphs : (n, 28, 28).
    """

    label: str
    pixels: NDArray[np.uint8]
    digits: NDArray[np.uint8]
    corners: NDArray[np.int64]
    glyphs: NDArray[np.uint8]

    def mask(self, digit: int) -> NDArray[np.bool_]:
        """Pixels that belong to any copy of a digit, (H, W); where digits overlap, a pixel belongs to each."""
        found = np.zeros(self.pixels.shape, bool)
        for at in np.flatnonzero(self.digits == digit):
            y, x = self.corners[at]
            found[y : y + GLYPH_PX, x : x + GLYPH_PX] |= self.glyphs[at] > INK
        return found

    def strongest(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Largest of a map's values (H, W) on each digit's own pixels, (n,)."""
        found = []
        for (y, x), glyph in zip(self.corners, self.glyphs, strict=True):
            found.append(values[y : y + GLYPH_PX, x : x + GLYPH_PX][glyph > INK].max())
        return np.array(found)


def read_glyphs(folder: Path, part: str) -> Glyphs:
    """Read MNIST's digits for training or for testing.

    Parameters
    ----------
    folder : with `train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz` and the same of `t10k`; unpacked is fine.
    part : train or test.

    Raises
    ------
    ImageReadError : a file is missing or damaged, or holds other than MNIST's number of digits of 28x28 pixels.
    """
    name, count = PARTS[part]
    images = read_idx(_either(folder / f"{name}-images-idx3-ubyte.gz"), axes=3)
    labels = read_idx(_either(folder / f"{name}-labels-idx1-ubyte.gz"), axes=1)
    for file, found, wanted in (
        ("images", images.shape, (count, GLYPH_PX, GLYPH_PX)),
        ("labels", labels.shape, (count,)),
    ):
        if found != wanted:
            cause = f"{file} of shape {found}, MNIST's {part} part has {wanted}"
            raise ImageReadError(cause, "Copy MNIST again from its source.", code="wrong_count", file=folder)
    if labels.max() > 9:
        cause = f"a label {labels.max()} among the digits 0 to 9"
        raise ImageReadError(cause, "Copy MNIST again from its source.", code="wrong_label", file=folder)
    return Glyphs(images, labels)


def _either(packed: Path) -> Path:
    plain = packed.with_suffix("")
    return plain if plain.is_file() and not packed.is_file() else packed


def draw_clutter(
    rng: np.random.Generator,
    glyphs: Glyphs,
    label: str,
    *,
    spaced: bool = False,
    px: int = FIELD_PX,
    count: int = DIGITS,
) -> Clutter:
    """Draw one field: a share of label / 10 of its digits are the label's, the others are zeros.

    Where digits overlap, the brighter pixel shows.

    Parameters
    ----------
    glyphs : from which digits are drawn.
    label : "1" to "9", or `none` for zeros alone.
    spaced : no two digits' squares overlap.
    px : side of the field. count : digits in it.

    Raises
    ------
    SettingsError : no such class, or no room for that many digits without overlap.
    """
    if label not in (*CLASSES, NONE):
        cause = f"no class '{label}' of cluttered digits"
        raise SettingsError(cause, f"Known: {', '.join((*CLASSES, NONE))}.", code="unknown_class")
    share = 0 if label == NONE else int(label)
    digits = np.repeat(np.array([share, 0], np.uint8), [count * share // 10, count - count * share // 10])
    chosen = []
    for digit in digits:
        own = glyphs.of(int(digit))
        chosen.append(own[rng.integers(len(own))])
    corners = _corners(rng, count, px, spaced)
    pixels = np.zeros((px, px), np.uint8)
    for (y, x), glyph in zip(corners, chosen, strict=True):
        place = pixels[y : y + GLYPH_PX, x : x + GLYPH_PX]
        np.maximum(place, glyph, out=place)
    return Clutter(label, pixels, digits, corners, np.array(chosen))


def _corners(rng: np.random.Generator, count: int, px: int, spaced: bool) -> NDArray[np.int64]:
    last = px - GLYPH_PX
    if not spaced:
        return rng.integers(0, last + 1, (count, 2))
    found: list[NDArray[np.int64]] = []
    for _ in range(_MOST_TRIES):
        if len(found) == count:
            break
        one = rng.integers(0, last + 1, 2)
        if all(np.abs(one - other).max() >= GLYPH_PX for other in found):
            found.append(one)
    if len(found) < count:
        cause = f"no room for {count} digits in {px}x{px} pixels without overlap"
        raise SettingsError(cause, "Take fewer digits, or a larger field.", code="no_room")
    return np.array(found)


def draw_set(
    glyphs: Glyphs, seed: Sequence[int], per_class: int, *, negatives: int = 0, spaced: bool = False, first: int = 0
) -> list[Clutter]:
    """Draw fields of all nine classes, and fields of zeros alone.

    Every field has a generator of its own, named by the seed, its class and its number: a smaller set of the same
    seed is the beginning of a larger one.

    Parameters
    ----------
    seed : whole numbers >= 0. per_class : fields of each class. negatives : fields labelled `none`.
    first : number of the first field of each class.
    """
    counts = {**dict.fromkeys(CLASSES, per_class), NONE: negatives}
    return [
        draw_clutter(np.random.default_rng([*seed, row, number]), glyphs, label, spaced=spaced)
        for row, (label, count) in enumerate(counts.items())
        for number in range(first, first + count)
    ]


def single_crop(rng: np.random.Generator, glyph: NDArray[np.uint8], px: int = 64) -> NDArray[np.uint8]:
    """Put one digit in a black crop (px, px), its middle up to 4 pixels off the crop's."""
    crop = np.zeros((px, px), np.uint8)
    y, x = (px - GLYPH_PX) // 2 + rng.integers(-4, 5, 2)
    crop[y : y + GLYPH_PX, x : x + GLYPH_PX] = glyph
    return crop
