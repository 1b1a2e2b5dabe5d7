"""What the planes of a TIFF are: channels, depths, times, or nothing that the file tells."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from bagscope.errors import ImageReadError, shown
from bagscope.files.header import Selection
from bagscope.files.pixel_size import LARGEST_UM, SMALLEST_UM, from_resolution, unit_um

_IMAGEJ_ORDERS = {"czt": "TZC", "default": "TZC", "ctz": "ZTC", "zct": "TCZ", "ztc": "CTZ", "tcz": "ZCT", "tzc": "CZT"}
_MOST_PLANES = 10_000_000


@dataclass(frozen=True)
class Stack:
    """The planes of a file.

    Parameters
    ----------
    axes, sizes : outermost first; C channels, Z depths, T times, I unlabelled.
    places : shaped like `sizes`: number of the page, or of the plane behind the first page's data.
    behind_first : all planes lie behind one another and only the first has a page.
    channel_names, pixel_um, z_um : as the description has them.
    """

    axes: str
    sizes: tuple[int, ...]
    places: np.ndarray
    behind_first: bool = False
    channel_names: tuple[str, ...] = ()
    pixel_um: float | None = None
    z_um: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def planes(self) -> int:
        """Number of planes."""
        return prod(self.sizes)

    def shown_axes(self) -> str:
        """The axes that have a length, outermost first."""
        return "".join(axis for axis, size in zip(self.axes, self.sizes, strict=True) if size > 1)


def unlabelled(pages: tuple[int, ...]) -> Stack:
    """Make a stack of pages of which nobody says what they are."""
    return Stack("I", (len(pages),), np.asarray(pages, np.int64))


def with_pixel_um(stack: Stack, pixel_um: float | None, z_um: float | None = None) -> Stack:
    """Return the stack with a pixel size, and a distance between its planes."""
    return replace(stack, pixel_um=pixel_um, z_um=z_um)


def arranged(axes: str, sizes: tuple[int, ...], pages: tuple[int, ...], contiguous: int) -> Stack:
    """Give the planes that a description promises to the pages that are there.

    Parameters
    ----------
    pages : numbers of the pages that can be planes.
    contiguous : number of whole planes that lie in the file from the first page's data on; 0 when the page
        is compressed or in parts.

    Raises
    ------
    ImageReadError : fewer planes than promised.
    """
    promised = prod(sizes)
    if promised == len(pages):
        return Stack(axes, sizes, np.asarray(pages, np.int64).reshape(sizes))
    if promised < len(pages):
        remark = f"the description says {promised} planes, the file has {len(pages)} pages: it is not used"
        return replace(unlabelled(pages), warnings=(remark,))
    if len(pages) == 1 and promised <= min(contiguous, _MOST_PLANES):
        return Stack(axes, sizes, np.arange(promised).reshape(sizes), behind_first=True)
    raise lost_planes(promised, len(pages))


def lost_planes(promised: int, there: int) -> ImageReadError:
    """Make the error of a stack that is not whole."""
    cause = f"metadata says {promised} images, file has {there}"
    return ImageReadError(cause, "Copy the file again: planes were lost.", code="lost_planes")


def imagej_numbers(description: str) -> dict[str, str]:
    """Read the lines of ImageJ's description."""
    pairs = (line.split("=", 1) for line in description.splitlines() if "=" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def imagej_axes(numbers: dict[str, str], samples: int) -> tuple[str, tuple[int, ...]]:
    """Axes and sizes that ImageJ's description promises; colour samples are no channels."""
    sizes = {axis: _count(numbers.get(name)) for axis, name in (("T", "frames"), ("Z", "slices"), ("C", "channels"))}
    if samples > 1 and sizes["C"] == samples:
        sizes["C"] = 1
    images = _count(numbers.get("images"))
    if prod(sizes.values()) == 1 and images > 1:
        return "I", (images,)
    axes = _IMAGEJ_ORDERS.get(numbers.get("order", "czt").lower(), "TZC")
    return axes, tuple(sizes[axis] for axis in axes)


def imagej_pixel_um(numbers: dict[str, str], per_unit: float) -> float | None:
    """Micrometres per pixel: ImageJ's unit counts, not the TIFF's."""
    unit = unit_um(numbers.get("unit", ""))
    # "inch" is also what ImageJ writes for a scanned picture.
    by_hand = unit not in (None, unit_um("inch"))
    return from_resolution(per_unit, unit, scale_was_set=by_hand) if unit else None


def imagej_z_um(numbers: dict[str, str]) -> float | None:
    """Micrometres from plane to plane, as ImageJ writes them."""
    unit = unit_um(numbers.get("unit", ""))
    try:
        um = float(numbers.get("spacing", "")) * (unit or 0)
    except ValueError:
        return None
    return um if SMALLEST_UM <= um <= LARGEST_UM else None


def shaped_metadata(description: str) -> dict | None:
    """Read tifffile's own JSON description, None when it is none."""
    if not description.startswith('{"shape":'):
        return None
    try:
        found = json.loads(description)
    except (ValueError, RecursionError):
        return None
    shape = found.get("shape") if isinstance(found, dict) else None
    sound = isinstance(shape, list) and all(isinstance(size, int) and 0 < size < 1 << 32 for size in shape)
    return found if sound else None


def shaped_axes(metadata: dict, page_shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Axes and sizes of the planes that a JSON description promises."""
    shape, axes = metadata["shape"], metadata.get("axes", "")
    promised, rest = divmod(prod(shape), max(1, prod(page_shape)))
    if rest:
        return "I", (1,)
    outer = next((at for at in range(len(shape) + 1) if prod(shape[:at]) == promised), None)
    if outer is None or not isinstance(axes, str) or len(axes) != len(shape):
        return "I", (promised,)
    letters = [axis if axis in "TZC" else "I" for axis in axes[:outer]]
    if len(set(letters)) < len(letters):
        return "I", (promised,)
    return "".join(letters), tuple(shape[:outer])


def _count(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text) and int(text) > 0 else 1


def choose(stack: Stack, selection: Selection) -> np.ndarray:
    """Find the planes that a selection means: (C, Z), one depth or several of which the brightest pixel counts.

    Raises
    ------
    ImageReadError : the file has more planes than the selection names ("axes"), or not the one it names ("plane").
    """
    axes = stack.axes
    unlabelled_planes = dict(zip(axes, stack.sizes, strict=True)).get("I", 1)
    if unlabelled_planes > 1:
        # Whoever asks for a depth or a time of pages without labels says by this what they are.
        label = "Z" if selection.z is not None else "T" if selection.t is not None else ""
        if not label or label in stack.shown_axes():
            raise _several_planes(stack)
        axes = axes.replace(label, "i").replace("I", label)
    places = stack.places
    ordered = [axes.index(axis) if axis in axes else None for axis in "TCZ"]
    kept = [at for at in ordered if at is not None]
    rest = [at for at in range(len(axes)) if at not in kept]
    places = places.transpose(rest + kept).reshape([stack.sizes[at] if at is not None else 1 for at in ordered])
    times, _, depths = places.shape
    if (times > 1 and selection.t is None) or (depths > 1 and selection.z is None):
        raise _several_planes(stack)
    at_time = _number(selection.t or 0, times, "t")
    if selection.z == "max":
        return places[at_time]
    depth = depths // 2 if selection.z == "mid" else _number(selection.z or 0, depths, "z")
    return places[at_time][:, depth : depth + 1]


def _number(number: int | str, size: int, name: str) -> int:
    if not isinstance(number, int) or not 0 <= number < size:
        cause = f"{name} {shown(number)} is asked for, the file has {size} (numbers from 0)"
        fix = f"Correct it in the table or with --set images.{name}=0."
        raise ImageReadError(cause, fix, code="plane")
    return number


def _several_planes(stack: Stack) -> ImageReadError:
    axes, planes = stack.shown_axes(), stack.planes
    ways = []
    if "I" in axes:
        cause = f"axes {axes}YX, {planes} planes, and the file does not say what they are"
        ways = ["--set images.page=0 (one page)", "--set images.z=max (depths)", "--set images.t=0 (times)"]
        ways.append("save channels as OME-TIFF")
    else:
        cause = f"axes {axes}YX, {planes} planes"
        ways += ["--set images.z=max (or mid, or a number)"] * ("Z" in axes) + ["--set images.t=0"] * ("T" in axes)
    joint = " and " if "I" not in axes else ", "
    fix = f"Choose: {joint.join(ways)}; per row: the table's columns page, z, t."
    return ImageReadError(cause, fix, code="axes")
