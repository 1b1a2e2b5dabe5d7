"""How stored samples become channels: palettes, white that is zero, alpha, grey saved as colour, NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bagscope.errors import ImageReadError
from bagscope.files.header import Selection


@dataclass(frozen=True)
class Colour:
    """What the samples of a pixel mean.

    Parameters
    ----------
    kind : "grey", "inverted" (0 is white), "palette" or "rgb".
    samples : stored per pixel, alpha included.
    dtype : stored.
    bits : of a sample.
    palette : (N, 3) colours of the indices; None unless `kind` is "palette".
    has_alpha : the last sample is one.
    """

    kind: str
    samples: int
    dtype: np.dtype
    bits: int = 8
    palette: np.ndarray | None = None
    has_alpha: bool = False

    @property
    def expands(self) -> bool:
        """True when indices have to be looked up: the palette is more than a grey ramp."""
        return self.palette is not None and not is_grey_ramp(self.palette, self.bits)

    def channels(self, selection: Selection) -> int:
        """Number of channels that come out."""
        plain = self.samples - self.has_alpha
        if self.expands:
            plain = 3 * plain
        return 1 if selection.gray and plain == 3 and self.is_coloured else plain

    @property
    def is_coloured(self) -> bool:
        """True when three samples are red, green and blue."""
        return self.kind == "rgb" or self.expands

    @property
    def result_dtype(self) -> np.dtype:
        """Type of the pixels that come out; bilevel images have 0 and 1."""
        if self.expands and self.palette is not None:
            return self.palette.dtype
        return np.dtype(np.uint8) if self.dtype.kind == "b" else self.dtype.newbyteorder("=")


def is_grey_ramp(palette: np.ndarray, bits: int) -> bool:
    """True when every index means the grey of its own number, so that the indices are the pixels.

    The colours of a TIFF have 16 bits: i * 257 and i * 256 both stand for i.
    """
    numbers = np.arange(len(palette))
    colours = palette.astype(np.int64)
    if palette.dtype == np.uint16 and bits <= 8 and colours.max(initial=0) > 255:
        colours >>= 8
    return len(palette) > 2 and bool((colours == numbers[:, None]).all())


def channels_of(stored: np.ndarray, colour: Colour, selection: Selection) -> np.ndarray:
    """Turn (H, W, S) stored samples into (C, H, W) channels.

    Raises
    ------
    ImageReadError : an alpha channel that varies, an index outside the palette, floats whose white is 0.
    """
    pixels = _without_alpha(stored, selection) if colour.has_alpha else stored
    if colour.kind == "inverted":
        pixels = _inverted(pixels, colour.bits)
    if colour.palette is not None:
        if pixels.size and int(pixels.max()) >= len(colour.palette):
            cause = f"index {int(pixels.max())} in a palette of {len(colour.palette)} colours"
            raise ImageReadError(cause, "Save the image anew.", code="broken")
        if colour.expands:
            pixels = colour.palette[pixels].reshape(*pixels.shape[:2], -1)
    if selection.gray and colour.is_coloured and pixels.shape[2] == 3:
        pixels = _grey(pixels)
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8)
    return np.moveaxis(pixels, 2, 0)


def _without_alpha(stored: np.ndarray, selection: Selection) -> np.ndarray:
    alpha = stored[..., -1]
    if selection.alpha != "drop" and alpha.size and (alpha != alpha.flat[0]).any():
        cause = f"an alpha channel that varies ({alpha.min()} to {alpha.max()}): it may be a mask or a fourth channel"
        fix = "Save it without alpha, or leave it out with --set images.alpha=drop."
        raise ImageReadError(cause, fix, code="alpha")
    return stored[..., :-1]


def _inverted(pixels: np.ndarray, bits: int) -> np.ndarray:
    if pixels.dtype.kind == "b":
        return ~pixels
    if pixels.dtype.kind != "u":
        cause = f"white is 0 (MINISWHITE) in {pixels.dtype} pixels"
        raise ImageReadError(cause, "Convert it to MINISBLACK first.", code="miniswhite")
    return pixels.dtype.type((1 << bits) - 1) - pixels


def _grey(pixels: np.ndarray) -> np.ndarray:
    if (pixels == pixels[..., :1]).all():
        return pixels[..., :1]
    mean = pixels.mean(axis=2, keepdims=True, dtype=np.float64)
    return (np.rint(mean) if pixels.dtype.kind in "iu" else mean).astype(pixels.dtype)


def finite(pixels: np.ndarray, selection: Selection, whole: Callable[[], np.ndarray]) -> np.ndarray:
    """Refuse or fill pixels that are no numbers, or none in 32 bits, with which everything is computed, (C, H, W).

    Parameters
    ----------
    whole : gives the whole image, of which `pixels` is a window: its medians fill, so that a window is
        the same as that part of the image.

    Raises
    ------
    ImageReadError : NaN or infinity, with count and first place.
    """
    if pixels.dtype.kind != "f":
        return pixels
    odd = ~_is_number(pixels)
    if not odd.any():
        return pixels
    if selection.nan != "mask":
        channel, row, column = (int(at) for at in np.argwhere(odd)[0])
        where = f"the first at channel {channel}, row {row}, column {column}"
        bits = " in 32 bits" if np.isfinite(pixels[odd]).any() else ""
        cause = f"{int(odd.sum()):,} pixels are NaN or infinite{bits}, {where}"
        fix = "Mend the image, or fill them with the median by --set images.nan=mask."
        raise ImageReadError(cause, fix, code="nan")
    filled = pixels.copy()
    for channel, image in enumerate(whole()):
        good = image[_is_number(image)]
        if odd[channel].any() and not good.size:
            cause = f"no pixel of channel {channel} is a number"
            raise ImageReadError(cause, "Leave the image out.", code="nan")
        if good.size:
            filled[channel][odd[channel]] = np.median(good)
    return filled


def _is_number(pixels: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.isfinite(pixels.astype(np.float32, copy=False))
