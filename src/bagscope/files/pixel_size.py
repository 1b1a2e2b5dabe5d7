"""How many micrometres a pixel has, when a file says so in a unit that is known."""

from __future__ import annotations

import re

MICROMETRES = {
    "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "nm": 1e-3, "nanometer": 1e-3, "å": 1e-4, "pm": 1e-6, "mm": 1e3, "cm": 1e4, "m": 1e6,
    "in": 25_400.0, "inch": 25_400.0, "inches": 25_400.0,
}  # fmt: skip
# What programs write when nobody set a scale: dots per inch of screens, printers and scanners.
_DPI = (72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 240, 300, 350, 360, 400, 600, 720, 1200, 2400)
_NEAR = 0.004  # 72 dpi is 2835 pixels per metre, rounded
# From an electron microscope's nanometres to a photographed plate; beyond lies a wrong unit.
SMALLEST_UM, LARGEST_UM = 1e-4, 1e3


def unit_um(unit: str) -> float | None:
    r"""Micrometres in a unit, None when it is unknown; understands ImageJ's \u00B5m."""
    plain = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), unit).strip().rstrip(".\0")
    return MICROMETRES.get(plain) or MICROMETRES.get(plain.lower())


def from_resolution(per_unit: float, unit_in_um: float, *, scale_was_set: bool = False) -> float | None:
    """Micrometres per pixel from pixels per unit.

    Parameters
    ----------
    per_unit : pixels per unit; 1 means that nobody set it.
    unit_in_um : the unit in micrometres.
    scale_was_set : the unit comes from a microscopy program, so that it is no printer's resolution.

    Returns
    -------
    None when it is a program's default, a printer's resolution, or no size that an image has.
    """
    if not per_unit > 0 or per_unit == 1 or per_unit == float("inf"):
        return None
    um = unit_in_um / per_unit
    if not scale_was_set and is_printing_resolution(um):
        return None
    return um if SMALLEST_UM <= um <= LARGEST_UM else None


def is_printing_resolution(um: float) -> bool:
    """True for the pixel sizes that screens, printers and scanners have."""
    dpi = 25_400 / um
    return any(abs(dpi - common) <= _NEAR * common for common in _DPI)


def square_pixel_size(x_um: float | None, y_um: float | None) -> tuple[float | None, list[str]]:
    """Return one size for both directions, and a remark when they differ by more than 2 %."""
    if x_um is None or y_um is None:
        return x_um or y_um, []
    if abs(x_um - y_um) > 0.02 * x_um:
        return None, [f"pixels are not square ({x_um:g} x {y_um:g} um): the pixel size is not used"]
    return x_um, []


def from_metamorph(description: str) -> float | None:
    """Micrometres per pixel from the properties that MetaXpress writes into a page's description."""
    found = dict(re.findall(r'id="spatial-calibration-(x|y|units)"[^>]*value="([^"]{1,40})"', description[:1_000_000]))
    unit = unit_um(found.get("units", ""))
    try:
        sizes = [float(found[axis]) * unit for axis in "xy"] if unit else []
    except (KeyError, ValueError):
        return None
    um = square_pixel_size(*sizes)[0] if sizes else None
    return um if um and SMALLEST_UM <= um <= LARGEST_UM and sizes[0] != unit else None
