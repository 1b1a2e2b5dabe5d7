"""How a TIFF becomes (C, H, W) pixels: its own pages only, found and checked before any is decoded."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from tifffile import TiffFile, TiffPage

from bagscope.errors import ImageReadError, shown
from bagscope.files import tiff_axes
from bagscope.files.colour import Colour, channels_of
from bagscope.files.guard import no_complaints
from bagscope.files.header import Header, Selection, Window
from bagscope.files.memory import allowed_bytes, refuse_larger
from bagscope.files.ome_xml import OmeError, is_ome_xml, ome_plan
from bagscope.files.pixel_size import from_metamorph, from_resolution, square_pixel_size, unit_um
from bagscope.files.segments import (
    LOSSY,
    Plane,
    check_readable,
    check_segments,
    is_cut,
    is_plain,
    largest_segment,
    read_plane,
    segment_shape,
    stored_type,
)
from bagscope.files.tiff_axes import Stack
from bagscope.files.tiff_chain import Chain, Entry, sub_entry, walk
from bagscope.files.tiff_pages import PageRoles, is_level, roles

_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG = 7
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_UNITS_UM = {2: 25_400.0, 3: 1e4, 4: 1e3, 5: 1.0}
_METAMORPH_PLANES = 33629
# Writers append, so a cut takes the last pages first; to look at all of a long stack would take long.
_LAST_PAGES = 100


class TiffPicture:
    """A TIFF file whose structure was checked; see `header.Picture`."""

    def __init__(self, path: Path, selection: Selection):
        self._path, self._selection = path, selection
        self._size = path.stat().st_size
        self._pages: dict[int, TiffPage] = {}
        # Opened here: tifffile leaves a file open when it dislikes what it finds in it.
        self._stream = path.open("rb")
        try:
            self._chain = walk(self._stream, self._size)
            self._stream.seek(0)
            with no_complaints():
                # is_ome=False: tifffile would open the other files of a set, and give their pixels too.
                self._file = TiffFile(self._stream, is_ome=False)
                self._plan()
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()

    def _page(self, offset: int) -> TiffPage:
        if offset not in self._pages:
            self._file.filehandle.seek(offset)
            self._pages[offset] = TiffPage(self._file, len(self._pages))
        return self._pages[offset]

    def _plan(self) -> None:
        part = _roles(self._chain, self._selection)
        first = self._page(self._chain.entries[part.planes[0]].offset)
        check_readable(first)
        stack, warnings = stack_of(self._path.name, first, part, self._chain, self._size, self._selection)
        if self._chain.cut:
            cause = f"the file was cut: {self._chain.cut}"
            raise ImageReadError(cause, "Copy it again.", code="truncated")
        chosen = tiff_axes.choose(stack, self._selection)
        levels = self._levels(stack, part)
        if not 0 <= self._selection.level < len(levels):
            cause = f"level {self._selection.level} is asked for, the file has {len(levels)} (numbers from 0)"
            raise ImageReadError(cause, "Choose one with --set images.level=0.", code="level")
        self._planes = [[self._plane(stack, place, levels, first) for place in depths] for depths in chosen.tolist()]
        page = self._planes[0][0].page
        self._colour = colour_of(page)
        self._check(page)
        warnings += [f"{len(part.others)} pages of other sizes (labels, macros, thumbnails) are not read"] * bool(
            part.others
        )
        self.header = self._header(stack, first, page, len(levels), warnings)

    def _levels(self, stack: Stack, part: PageRoles) -> list[int | None]:
        """Return where the levels of the first plane lie: None for the plane itself, then places of pages.

        Of several planes each has its own list of smaller copies, so the place in that list is what counts.
        """
        entries = self._chain.entries
        first = entries[part.planes[0]]
        if part.levels and not first.sub_pages:
            return [None, *part.levels]
        copies = [sub_entry(self._stream, self._size, offset) for offset in first.sub_pages]
        if stack.behind_first:
            return [None]
        fitting = [at for at, entry in enumerate(copies) if is_level(entry, first, is_marked=True)]
        return [None, *sorted(fitting, key=lambda at: -copies[at].size[1])]

    def _plane(self, stack: Stack, place: int, levels: list[int | None], first: TiffPage) -> Plane:
        entries, level = self._chain.entries, levels[self._selection.level]
        if stack.behind_first:
            return Plane(first, place * first.nbytes)
        entry: Entry = entries[place]
        if level is not None and entry.sub_pages:
            if level >= len(entry.sub_pages):
                cause = f"plane {place} has {len(entry.sub_pages)} smaller copies, the first plane has more"
                raise ImageReadError(cause, "Use --set images.level=0.", code="level")
            return Plane(self._page(entry.sub_pages[level]))
        return Plane(self._page(entry.offset if level is None else entries[level].offset))

    def _check(self, page: TiffPage) -> None:
        planes = [plane for depths in self._planes for plane in depths]
        for plane in planes:
            check_readable(plane.page)
            if (plane.page.shape, plane.page.dtype) != (page.shape, page.dtype):
                cause = f"planes of {page.shape} {page.dtype} and of {plane.page.shape} {plane.page.dtype}"
                raise ImageReadError(cause, "Save planes of one size and type.", code="several_sizes")
        allowed = allowed_bytes(self._selection.max_bytes)
        if not page.is_tiled or self._selection.max_bytes:
            refuse_larger(self._bytes((page.imagelength, page.imagewidth)), allowed)
        if not is_plain(page):
            refuse_larger(largest_segment(page), allowed, "one strip or tile of the image")
        check_segments(planes, self._size, self._selection.sparse_as_zero)
        self._refuse_cut()

    def _refuse_cut(self) -> None:
        """Look at pages that are not read, too: the image itself may be whole in a file that was cut."""
        entries = self._chain.entries
        for number in range(max(0, len(entries) - _LAST_PAGES), len(entries)):
            for offset in (entries[number].offset, *entries[number].sub_pages):
                if is_cut(self._page(offset), self._size):
                    cause = f"the data of page {number} lie beyond the end of the file: it was cut"
                    raise ImageReadError(cause, "Copy it again.", code="truncated")

    def _bytes(self, size: tuple[int, int]) -> int:
        stored = self._colour.samples * self._colour.dtype.itemsize
        channels = self._colour.channels(self._selection) * self._colour.result_dtype.itemsize
        return prod(size) * (channels * len(self._planes) + (stored if channels != stored else 0))

    def _header(self, stack: Stack, first: TiffPage, page: TiffPage, levels: int, warnings: list[str]) -> Header:
        per_plane = self._colour.channels(self._selection)
        names = stack.channel_names if per_plane == 1 and len(stack.channel_names) == len(self._planes) else ()
        if len(self._planes) == 1 and per_plane == 3 and self._colour.is_coloured:
            names = ("R", "G", "B")
        um, remarks = (stack.pixel_um, []) if stack.pixel_um else pixel_um_of(first)
        return Header(
            path=self._path,
            kind="tiff",
            height=int(page.imagelength),
            width=int(page.imagewidth),
            channels=per_plane * len(self._planes),
            dtype=self._colour.result_dtype,
            axes=stack.shown_axes() + page.axes,
            planes=stack.planes,
            levels=levels,
            channel_names=names,
            pixel_um=um and um * int(first.imagewidth) / int(page.imagewidth),
            compression=getattr(page.compression, "name", str(page.compression)).lower(),
            lossy=int(page.compression) in LOSSY,
            warnings=(*stack.warnings, *warnings, *remarks),
            z_um=stack.z_um,
            piece=(1, int(page.imagewidth)) if is_plain(page) else segment_shape(page),
        )

    def read(self, window: Window | None) -> np.ndarray:
        """Decode (C, H, W) pixels; of several depths the brightest pixel counts."""
        window = window or (0, self.header.height, 0, self.header.width)
        size = (window[1] - window[0], window[3] - window[2])
        refuse_larger(self._bytes(size), allowed_bytes(self._selection.max_bytes), "the part that is read")
        out = np.empty((self.header.channels, *size), self.header.dtype)
        per_plane = self._colour.channels(self._selection)
        with no_complaints():
            for channel, depths in enumerate(self._planes):
                place = out[channel * per_plane : (channel + 1) * per_plane]
                for number, plane in enumerate(depths):
                    stored = read_plane(self._file, plane, window)
                    pixels = channels_of(stored, self._colour, self._selection)
                    place[...] = np.maximum(place, pixels) if number else pixels
        return out

    def read_indices(self) -> np.ndarray:
        """Decode (H, W) label numbers."""
        if len(self._planes) * (self._colour.samples - self._colour.has_alpha) != 1 or len(self._planes[0]) != 1:
            cause = f"{self.header.channels} channels where label numbers are expected"
            raise ImageReadError(
                cause,
                "Save the labels as one plane of whole numbers.",
                code="labels",
            )
        with no_complaints():
            window = (0, self.header.height, 0, self.header.width)
            return read_plane(self._file, self._planes[0][0], window)[..., 0]


def _roles(chain: Chain, selection: Selection) -> PageRoles:
    if selection.page is None:
        return roles(chain.entries)
    if not 0 <= selection.page < len(chain.entries):
        # The planes of a large ImageJ stack have no pages of their own.
        return PageRoles((0,), (), ())
    return PageRoles((selection.page,), (), ())


def stack_of(
    name: str, first: TiffPage, part: PageRoles, chain: Chain, size: int, selection: Selection
) -> tuple[Stack, list[str]]:
    """Read from the first page's description what the planes are.

    Raises
    ------
    ImageReadError : planes are missing, or the page that the selection names.
    """
    description = first.description or ""
    if is_ome_xml(description) and selection.page is None:
        return _ome_stack(description, name, first, part, len(chain.entries))
    resolution = _resolution(first, _X_RESOLUTION)
    axes, um, z_um = "I", None, None
    remarks: list[str] = []
    sizes: tuple[int, ...] = (len(part.planes),)
    shaped = tiff_axes.shaped_metadata(description)
    if description.startswith("ImageJ="):
        numbers = tiff_axes.imagej_numbers(description)
        axes, sizes = tiff_axes.imagej_axes(numbers, int(first.samplesperpixel))
        each = (tiff_axes.imagej_pixel_um(numbers, one) for one in (resolution, _resolution(first, _Y_RESOLUTION)))
        (um, remarks), z_um = square_pixel_size(*each), tiff_axes.imagej_z_um(numbers)
    elif shaped:
        axes, sizes = tiff_axes.shaped_axes(shaped, first.shape)
        unit = unit_um(str(shaped.get("unit", "")))
        um = from_resolution(resolution, unit, scale_was_set=True) if unit else None
    elif _METAMORPH_PLANES in first.tags:
        axes, sizes = "I", (max(1, first.tags[_METAMORPH_PLANES].count),)
    if selection.page is not None:
        stack = _one_page(selection.page, sizes, first, chain, size)
    elif prod(sizes) == 1 and len(part.planes) > 1:
        stack = tiff_axes.unlabelled(part.planes)
    else:
        stack = tiff_axes.arranged(axes, sizes, part.planes, _planes_behind(first, size))
    return tiff_axes.with_pixel_um(stack, um, z_um), remarks


def _one_page(page: int, sizes: tuple[int, ...], first: TiffPage, chain: Chain, size: int) -> Stack:
    if 0 <= page < len(chain.entries):
        return tiff_axes.unlabelled((page,))
    planes = prod(sizes) if len(chain.entries) == 1 and prod(sizes) <= _planes_behind(first, size) else 0
    if 0 <= page < planes:
        return Stack("I", (1,), np.asarray([page]), behind_first=True)
    cause = f"page {page} is asked for, the file has {max(planes, len(chain.entries))} (numbers from 0)"
    raise ImageReadError(cause, "Correct the table's column 'page' or --set images.page=0.", code="plane")


def _ome_stack(description: str, name: str, first: TiffPage, part: PageRoles, pages: int) -> tuple[Stack, list[str]]:
    stack = tiff_axes.unlabelled(part.planes)
    try:
        plan = ome_plan(description, name, int(first.samplesperpixel), pages)
    except OmeError as error:
        return stack, [f"OME-XML {shown(error)[1:-1]}: it is not used"]
    said = f"{plan.height}x{plan.width} {plan.dtype}"
    there = f"{first.imagelength}x{first.imagewidth} {first.dtype}"
    if said != there:
        return stack, [f"OME-XML says {said}, the page is {there}: the XML is not used"]
    claimed = set(plan.pages.ravel().tolist())
    if not claimed <= set(part.planes) or (len(claimed) < len(part.planes)):
        return stack, [f"OME-XML names {len(claimed)} pages, the file has {len(part.planes)}: the XML is not used"]
    return Stack(
        plan.axes,
        plan.sizes,
        plan.pages,
        channel_names=plan.channel_names,
        pixel_um=plan.pixel_um,
        z_um=plan.z_um,
        warnings=plan.warnings,
    ), []


def _planes_behind(page: TiffPage, size: int) -> int:
    """Return how many planes like the first could lie behind one another from its data on."""
    offsets, counts = page.dataoffsets, page.databytecounts
    whole = is_plain(page) and page.nbytes and sum(counts) == page.nbytes
    in_line = whole and all(a + n == b for a, n, b in zip(offsets[:-1], counts[:-1], offsets[1:], strict=True))
    return (size - offsets[0]) // page.nbytes if in_line else 0


def colour_of(page: TiffPage) -> Colour:
    """Say what the samples of a page mean.

    Raises
    ------
    ImageReadError : a colour model that is not read (CMYK, CIELAB, raw camera mosaics).
    """
    samples, bits = int(page.samplesperpixel), page.bitspersample
    bits = bits if isinstance(bits, int) else max(bits)
    photometric = int(page.photometric)
    if photometric == _YCBCR and int(page.compression) == _JPEG:
        photometric = _RGB  # the decoder converts
    kinds = {_MINISWHITE: "inverted", _MINISBLACK: "grey", _RGB: "rgb", _PALETTE: "palette"}
    if photometric not in kinds:
        name = getattr(page.photometric, "name", str(photometric))
        cause = f"colour model {name}"
        raise ImageReadError(cause, "Save it as grey or RGB.", code="colour_model")
    kind, palette = kinds[photometric], None
    if kind == "palette":
        if page.colormap is None or stored_type(page).kind not in "ub":
            cause = "a palette image without its palette"
            raise ImageReadError(cause, "Save it as grey or RGB.", code="broken")
        palette = np.ascontiguousarray(np.asarray(page.colormap).T)
    base = 3 if kind == "rgb" else 1
    extra = [int(meaning) for meaning in page.extrasamples or ()]
    has_alpha = samples == base + len(extra) and bool(extra) and extra[-1] in (1, 2)
    return Colour(kind, samples, stored_type(page), bits, palette, has_alpha)


def _resolution(page: TiffPage, tag: int) -> float:
    value = page.tags.valueof(tag)
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return value[0] / value[1]
    return 0.0


def pixel_um_of(page: TiffPage) -> tuple[float | None, list[str]]:
    """Micrometres per pixel from a page's tags, and remarks."""
    um = from_metamorph(page.description or "")
    if um:
        return um, []
    unit = _UNITS_UM.get(int(page.tags.valueof(_RESOLUTION_UNIT, 2) or 2))
    # ImageJ and tifffile write the unit into the description; without a known one there, the tag means nothing.
    if unit is None or (page.description or "").startswith("ImageJ="):
        return None, []
    return square_pixel_size(*(from_resolution(_resolution(page, tag), unit) for tag in (_X_RESOLUTION, _Y_RESOLUTION)))
