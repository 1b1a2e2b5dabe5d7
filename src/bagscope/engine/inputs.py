"""From a screen's rows to files that can be read: which planes, which channels, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bagscope.engine.events import Events
from bagscope.engine.failures import Failure, of_error
from bagscope.errors import BagscopeError, ImageReadError
from bagscope.feed.cache import PixelStore, Window, fits_memory
from bagscope.files.field import FieldFiles
from bagscope.files.reader import Header, Selection
from bagscope.files.signature import signature
from bagscope.files.worker import DecodingWorker
from bagscope.settings.sections import ImagesSection
from bagscope.tables.table import Screen


def selection_of(images: ImagesSection, row: Mapping[str, str] | None = None) -> Selection:
    """Say which pixels of a file are meant: the settings, overruled by the row's own page, z and t."""
    page, t = images.page, images.t
    z: int | str | None = images.z
    own = {name: str(row.get(name, "")) for name in ("page", "z", "t")} if row is not None else {}
    page = int(own["page"]) if own.get("page") else page
    z = (int(own["z"]) if own["z"].isdigit() else own["z"]) if own.get("z") else z
    t = int(own["t"]) if own.get("t") else t
    return Selection(
        page=page,
        z=z,
        t=t,
        level=images.level,
        alpha=images.alpha,
        nan=images.nan,
        gray=images.gray,
        sparse_as_zero=images.sparse_as_zero,
        max_bytes=int(images.max_gb * 1e9),
    )


def fields_of(screen: Screen, images: ImagesSection) -> list[FieldFiles]:
    """Say for each row which files make its field, in the table's channel order."""
    rows = screen.rows
    result = []
    for at in range(len(rows)):
        own = {name: rows[name].iloc[at] for name in ("page", "z", "t")}
        result.append(FieldFiles(screen.files(at), screen.channels, selection_of(images, own)))
    return result


def field_signature(field: FieldFiles) -> str:
    """Return what stands for the pixels of a field: its files' content, and its page where a file has many.

    Depths and times of one place are one field: a model that has seen one of them knows the others.

    Raises
    ------
    ImageReadError : a file cannot be read.
    """
    page = field.selection.page
    return signature(field.paths) + (f" page {page}" if page is not None else "")


def channels_of(screen: Screen, headers: Mapping[int, Header], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Name the channels that a model of these rows will have.

    The table's channels, else the names in the files when all files have the same, else
    "channel 1", "channel 2", ...; `wanted` picks and orders some of them.

    Raises
    ------
    BagscopeError : no such channel, or files with different numbers of channels.
    """
    names = screen.channels
    if not names:
        counts = {h.channels for h in headers.values()}
        if len(counts) > 1:
            cause = f"images with different numbers of channels: {', '.join(map(str, sorted(counts)))}"
            raise BagscopeError(cause, "Run `bagscope check` to see which; split the table.", code="channel_counts")
        there = {tuple(sorted(h.channel_names)) for h in headers.values()}
        first = next(iter(headers.values())).channel_names
        names = first if len(there) == 1 and first else tuple(f"channel {i + 1}" for i in range(max(counts)))
    return pick(names, wanted) if wanted else names


def pick(names: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted channels; each must be there."""
    for name in wanted:
        if name not in names:
            cause = f"no channel '{name}'; there are {', '.join(names)}"
            raise BagscopeError(cause, "Name them with --channels, separated by commas.", code="no_channel")
    if len(set(wanted)) < len(wanted):
        cause = f"a channel is named twice: {', '.join(wanted)}"
        raise BagscopeError(cause, "Name each channel once.", code="channel_twice")
    return tuple(wanted)


def arrange(field: FieldFiles, header: Header, wanted: Sequence[str]) -> tuple[FieldFiles, list[int] | None]:
    """Say how a field gives the wanted channels, in their order.

    Returns
    -------
    field : with the files of other channels left out.
    order : positions of the wanted channels in what the field gives; None when it is already so.

    Raises
    ------
    ImageReadError : the field does not have them.
    """
    if len(field.paths) > 1:
        places = [field.channels.index(name) for name in wanted if name in field.channels]
        if len(places) == len(wanted):
            paths = tuple(field.paths[p] for p in places)
            return replace(field, paths=paths, channels=tuple(wanted)), None
        return field, _by_count(field.paths[0], field.channels, wanted)
    names = field.channels or header.channel_names
    if names and set(wanted) <= set(names):
        order = [names.index(name) for name in wanted]
        return field, None if order == list(range(header.channels)) else order
    return field, _by_count(field.paths[0], names or tuple("?" * header.channels), wanted)


def _by_count(path: Path, names: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Channels without names are taken in their order; named ones must fit by name."""
    named = not all(n == "?" for n in names) and not all(n.startswith("channel ") for n in wanted)
    if len(names) == len(wanted) and not named:
        return None
    cause = f"channels {', '.join(names)}, the model has {', '.join(wanted)}"
    fix = (
        "Name the channels of the files, or the table's columns (image_<channel>), like the model's; "
        "RGB pictures of one grey channel: --set images.gray=true."
    )
    raise ImageReadError(cause, fix, code="channels", file=path)


@dataclass(frozen=True)
class Source:
    """The rows of a screen that can be read.

    positions : (R,) of these rows in the screen. store : their pixels, in the same order, channels in the
    order of `channels`. pixel_um : (R,) micrometres per pixel, NaN where no file says so. worker : decodes the
    rows' files.
    """

    positions: np.ndarray
    store: PixelStore
    channels: tuple[str, ...]
    pixel_um: np.ndarray
    worker: DecodingWorker

    def take(self, chosen: np.ndarray) -> Source:
        """Return these rows alone, by their place in the source."""
        return replace(
            self, positions=self.positions[chosen], store=self.store.take(chosen), pixel_um=self.pixel_um[chosen]
        )

    def common_pixel_um(self) -> float | None:
        """Micrometres per pixel of most rows, None if unknown."""
        known = self.pixel_um[np.isfinite(self.pixel_um)]
        return float(np.median(known)) if len(known) else None


def make_source(
    screen: Screen,
    headers: Mapping[int, Header],
    images: ImagesSection,
    channels: Sequence[str],
    worker: DecodingWorker,
    free_bytes: int,
) -> tuple[Source, list[Failure]]:
    """Say how the rows that have a header give the wanted channels; rows that cannot are failures.

    Parameters
    ----------
    free_bytes : memory of which a quarter may hold the rows' pixels; with 0 they are read anew each time.
    """
    every = fields_of(screen, images)
    fields, shapes, positions, um, failures = [], [], [], [], []
    orders: dict[FieldFiles, list[int] | None] = {}
    bytes_needed = 0
    for at in sorted(headers):
        header = headers[at]
        try:
            field, order = arrange(every[at], header, channels)
        except ImageReadError as error:
            failures.append(of_error(at, "check", error))
            continue
        orders[field] = order
        fields.append(field)
        shapes.append((len(channels), header.height, header.width))
        positions.append(at)
        um.append(images.pixel_um or header.pixel_um or np.nan)
        bytes_needed += len(channels) * header.height * header.width * header.dtype.itemsize
    store = PixelStore(fields, shapes, _Reader(worker, orders), fits_memory(bytes_needed, free_bytes))
    at_rows, sizes = np.array(positions, dtype=np.int64), np.array(um, dtype=float)
    return Source(at_rows, store, tuple(channels), sizes, worker), failures


def signed_rows(source: Source, events: Events) -> tuple[Source, tuple[str, ...], list[Failure]]:
    """Sign the files of each row, and read the pixels that are held in memory.

    Returns
    -------
    The rows whose files can be read, their signatures, and the other rows as failures.
    """
    readable, signatures, failures = [], [], []
    for i, position in enumerate(source.positions.tolist()):
        try:
            if source.store.held:
                source.store.whole(i)
            signatures.append(field_signature(source.store.fields[i]))
            readable.append(i)
        except ImageReadError as error:
            failures.append(of_error(position, "read", error))
        events.progress("reading images", i + 1, len(source.positions))
    return source.take(np.array(readable, dtype=np.int64)), tuple(signatures), failures


class _Reader:
    """Reads fields in the model's channel order through a decoding worker that may die without harm."""

    def __init__(self, worker: DecodingWorker, orders: Mapping[FieldFiles, list[int] | None]):
        self._worker, self._orders = worker, orders

    def __call__(self, field: FieldFiles, window: Window | None) -> np.ndarray:
        pixels = self._worker.read(field, window)
        order = self._orders[field]
        return pixels if order is None else np.ascontiguousarray(pixels[order])
