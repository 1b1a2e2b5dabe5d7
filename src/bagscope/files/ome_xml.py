"""What OME-XML says of the file it stands in: planes, channel names, pixel size; other files are never opened."""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np

from bagscope.errors import ImageReadError
from bagscope.files.pixel_size import LARGEST_UM, SMALLEST_UM, square_pixel_size, unit_um

# Metadata of whole plates reach some tens of MB; what is larger is not worth its time.
_LARGEST_XML = 64 << 20
# A set with more planes than this is not one field.
_MOST_PLANES = 1_000_000
_TYPES = {
    "float": "float32",
    "double": "float64",
    "bit": "bool",
    "complex": "complex64",
    "double-complex": "complex128",
}


class OmeError(ValueError):
    """OME-XML that cannot be used; the pixels can."""


@dataclass(frozen=True)
class OmePlan:
    """The part of an OME data set that lies in one file.

    Parameters
    ----------
    height, width, dtype : as the XML has them.
    axes : of the planes, outermost first, such as "TCZ".
    sizes : of these axes, in this file.
    pages : page number of each plane, shaped like `sizes`.
    channel_names : of the channels in this file; () when any is missing.
    pixel_um, z_um : when given in a known unit.
    files : number of files in the set.
    warnings : sentences.
    """

    height: int
    width: int
    dtype: str
    axes: str
    sizes: tuple[int, ...]
    pages: np.ndarray
    channel_names: tuple[str, ...] = ()
    pixel_um: float | None = None
    files: int = 1
    warnings: tuple[str, ...] = field(default=())
    z_um: float | None = None


def is_ome_xml(description: str) -> bool:
    """True when a page's description is meant as OME-XML, however broken."""
    head = description[:4096].lstrip()
    return head.startswith("<") and re.search(r"<(\w+:)?OME[\s>]", description[:65536]) is not None


def ome_plan(description: str, name: str, samples: int, pages: int) -> OmePlan:
    """Read what OME-XML says of the file called `name`.

    Parameters
    ----------
    samples : per pixel and page in the file.
    pages : in the file.

    Raises
    ------
    OmeError : broken XML, or nothing about this file in it.
    ImageReadError : the XML is whole and says that planes are missing ("lost_planes"), or that the file
        holds several images ("several_images").
    """
    root = _parse(description)
    owned = []
    for image in _children(root, "Image"):
        pixels = next(iter(_children(image, "Pixels")), None)
        if pixels is not None:
            owned.append((image, pixels, _children(pixels, "TiffData")))
    if not owned:
        message = "has no pixels of its own (a companion file, perhaps)"
        raise OmeError(message)
    is_own, files = _ownership([block for _, _, blocks in owned for block in blocks], root.get("UUID", ""), name)
    owned = [(image, pixels, [b for b in blocks if is_own(b)]) for image, pixels, blocks in owned
             if not blocks or any(map(is_own, blocks))]  # fmt: skip
    if not owned:
        message = "does not name this file"
        raise OmeError(message)
    pixels, blocks = _the_image(owned)
    return _plan(pixels, blocks, samples, pages, files)


def _parse(description: str) -> ElementTree.Element:
    if len(description) > _LARGEST_XML:
        message = f"has {len(description) >> 20} MB"
        raise OmeError(message)
    # Entities can grow without bounds and name files; OME-XML needs none.
    if re.search(r"<!(DOCTYPE|ENTITY)", description, re.IGNORECASE):
        message = "has a DOCTYPE"
        raise OmeError(message)
    try:
        return ElementTree.fromstring(description.strip().rstrip("\0"))
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        message = f"is broken ({error})"
        raise OmeError(message) from None


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if isinstance(child.tag, str) and child.tag.rpartition("}")[2] == name]


def _file_of(block: ElementTree.Element) -> tuple[str, str]:
    """Return UUID and plain file name that a TiffData block points to; empty for the file itself."""
    for uuid in _children(block, "UUID"):
        name = PureWindowsPath(PurePosixPath(uuid.get("FileName", "")).name).name
        return (uuid.text or "").strip().lower(), unicodedata.normalize("NFC", name).casefold()
    return "", ""


def _ownership(blocks, own_uuid: str, name: str):
    """Return a test of "this block's planes lie in this file", and the number of files in the set."""
    places = {_file_of(block) for block in blocks}
    own_uuid, name = own_uuid.strip().lower(), unicodedata.normalize("NFC", name).casefold()
    uuids = {uuid for uuid, _ in places if uuid}
    if own_uuid and own_uuid in uuids:
        return lambda block: _file_of(block)[0] in ("", own_uuid), len(places)
    if name in {file for _, file in places}:
        return lambda block: _file_of(block)[1] in ("", name), len(places)
    if len(places) <= 1:  # renamed since; it can only mean itself
        return lambda block: True, 1
    return lambda block: _file_of(block) == ("", ""), len(places)


def _the_image(owned):
    """Return pixels and blocks of the only image; labels and macros of a slide, which are smaller, do not count."""
    largest = max(_area(pixels) for _, pixels, _ in owned)
    first, rest = owned[0], owned[1:]
    smaller = all(_area(pixels) < largest for _, pixels, _ in rest)
    if rest and (not smaller or _area(first[1]) != largest):
        cause = f"OME-XML says {len(owned)} images in one file"
        fix = "Choose a page with --set images.page=0 or the table's column 'page', or save one image per file."
        raise ImageReadError(cause, fix, code="several_images")
    return first[1], first[2]


def _area(pixels: ElementTree.Element) -> int:
    return _whole(pixels, "SizeX") * _whole(pixels, "SizeY")


def _whole(element: ElementTree.Element, name: str, default: int | None = None) -> int:
    text = element.get(name)
    if text is None and default is not None:
        return default
    try:
        value = int(text or "")
    except ValueError:
        message = f"has no whole number for {name}"
        raise OmeError(message) from None
    if value < 0:
        message = f"has {name} {value}"
        raise OmeError(message)
    return value


def _plan(pixels: ElementTree.Element, blocks: list, samples: int, pages: int, files: int) -> OmePlan:
    order = pixels.get("DimensionOrder", "XYCZT")
    if sorted(order) != sorted("XYCZT") or order[:2] != "XY":
        message = f"has the dimension order {order!r}"
        raise OmeError(message)
    sizes = {axis: max(1, _whole(pixels, f"Size{axis}", 1)) for axis in "CZT"}
    sizes["C"] = max(1, sizes["C"] // samples) if sizes["C"] % samples == 0 else sizes["C"]
    if np.prod([float(size) for size in sizes.values()]) > _MOST_PLANES:
        message = f"says {' x '.join(map(str, sizes.values()))} planes"
        raise OmeError(message)
    fastest_last = order[:1:-1]
    whole = np.full([sizes[axis] for axis in fastest_last], -1, np.int64)
    for block in blocks:
        _enter(whole, fastest_last, block, pages)
    if not blocks:
        whole.ravel()[:] = np.arange(whole.size)
    promised = int((whole >= 0).sum()) if files > 1 else whole.size
    there = int(((whole >= 0) & (whole < pages)).sum())
    part, channels = _box(whole, fastest_last)
    if there < promised or (part < 0).any():
        cause = f"metadata says {promised} images, file has {pages}"
        raise ImageReadError(cause, "Copy the file again: planes were lost.", code="lost_planes")
    um, warnings = _pixel_um(pixels)
    if files > 1:
        warnings.append(f"part of a {files}-file set; read alone")
    names = _channel_names(pixels, sizes["C"], channels, warnings)
    kind = pixels.get("Type", "").lower()
    size_y, size_x = _whole(pixels, "SizeY"), _whole(pixels, "SizeX")
    return OmePlan(
        size_y,
        size_x,
        _TYPES.get(kind, kind),
        fastest_last,
        part.shape,
        part,
        names,
        um,
        files,
        tuple(warnings),
        _size_um(pixels, "Z", []),
    )


def _enter(whole: np.ndarray, axes: str, block: ElementTree.Element, pages: int) -> None:
    """Note the pages that a TiffData block gives to planes."""
    first = tuple(_whole(block, f"First{axis}", 0) for axis in axes)
    if any(at >= size for at, size in zip(first, whole.shape, strict=True)):
        message = "gives a page to a plane that it does not have"
        raise OmeError(message)
    start = int(np.ravel_multi_index(first, whole.shape))
    page = _whole(block, "IFD", 0)
    count = _whole(block, "PlaneCount", 1 if "IFD" in block.attrib else min(pages, whole.size))
    stop = min(whole.size, start + count)
    whole.ravel()[start:stop] = np.arange(page, page + stop - start)


def _box(whole: np.ndarray, axes: str) -> tuple[np.ndarray, list[int]]:
    """Return the planes that lie in this file as a full box, and the numbers of its channels."""
    there = np.argwhere(whole >= 0)
    if not len(there):
        message = "gives no page to any plane"
        raise OmeError(message)
    kept = [np.unique(there[:, at]) for at in range(whole.ndim)]
    return whole[np.ix_(*kept)], kept[axes.index("C")].tolist()


def _channel_names(
    pixels: ElementTree.Element, count: int, channels: list[int], warnings: list[str]
) -> tuple[str, ...]:
    names = [(channel.get("Name") or "").strip() for channel in _children(pixels, "Channel")]
    if len(names) != count or not all(names):
        return ()
    names = [names[channel] for channel in channels]
    if len(set(names)) < len(names):
        warnings.append("two channels have one name in the OME-XML: the names are not used")
        return ()
    return tuple(names)


def _pixel_um(pixels: ElementTree.Element) -> tuple[float | None, list[str]]:
    warnings: list[str] = []
    size, remark = square_pixel_size(*(_size_um(pixels, axis, warnings) for axis in "XY"))
    return size, warnings + remark


def _size_um(pixels: ElementTree.Element, axis: str, warnings: list[str]) -> float | None:
    """Size of a voxel along an axis; what is odd about it is added to the warnings."""
    text = pixels.get(f"PhysicalSize{axis}")
    if text is None:
        return None
    unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
    factor = unit_um(unit)
    try:
        um = float(text) * (factor or 0)
    except ValueError:
        um = 0.0
    usable = SMALLEST_UM <= um <= LARGEST_UM
    if not usable and unit.lower() not in ("pixel", "reference frame"):
        warnings.append(f"OME-XML has PhysicalSize{axis} {text[:20]} {unit[:20]}: not used")
    # Without a unit, 1.0 is what writers put when nobody told them.
    return um if usable and not (float(text) == 1 and f"PhysicalSize{axis}Unit" not in pixels.attrib) else None
