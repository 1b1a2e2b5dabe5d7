"""Map, outlines and areas of an image, tile by tile, in memory that does not grow with the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from shapely.affinity import scale

from bagscope.atomic import replacing
from bagscope.blocks.card import BlocksCard
from bagscope.blocks.map_parts import BlockSums, MapPart
from bagscope.blocks.tiles import TiledImage, decided, predict_tiles
from bagscope.engine.loaded import Predictor
from bagscope.exports.geojson import Region, feature_of, geojson_bytes, simplified, write_features
from bagscope.files.pyramid import write_map
from bagscope.files.tile_store import TileStore, stored_bytes
from bagscope.files.writer import scratch_file, write_atomic
from bagscope.ops.areas import Boxes, share_interval, squares, sums_in
from bagscope.ops.outlines import GrowingOutlines, Outline
from bagscope.settings.block_sections import MapsSection
from bagscope.tables.boxes import Blocks
from bagscope.tables.frames import parquet_bytes

REGION_COLUMNS = (
    "region",
    "class",
    "area_px",
    "area_um2",
    "probability",
    "y",
    "x",
    "y0",
    "x0",
    "y1",
    "x1",
    "holes",
)
_TEXT = {"class"}
_WHOLE = {"region", "area_px", "holes"}
# A part of a TIFF's tile has to be a multiple of it.
_TIFF_TILE = 16


@dataclass(frozen=True)
class Picture(TiledImage):
    """An image to be mapped, at the level of a pyramid that is read.

    zoom : full-resolution pixels per pixel, down and across.
    """

    zoom: tuple[float, float]
    pixel_um: float | None
    blocks: Blocks
    file: str


@dataclass(frozen=True)
class Places:
    """Where the results of an image go: its map, its outlines, and the table of its regions; and what to call them."""

    map: Path
    outlines: Path
    table: Path
    names: tuple[str, str]


@dataclass(frozen=True)
class Rules:
    """How a map is decided and outlined: settings, probability below which a pixel is unsure, seed of the interval."""

    maps: MapsSection
    confidence: float
    seed: int


def tile_edge(maps: MapsSection, network: torch.nn.Module) -> int:
    """Edge of a tile: the setting, made a multiple of what the network and the TIFF need."""
    multiple = max(_TIFF_TILE, int(network.multiple))  # type: ignore[arg-type]
    return max(multiple, maps.tile // multiple * multiple)


def make_map(
    model: Predictor[BlocksCard],
    picture: Picture,
    places: Places,
    rules: Rules,
    evaluate: Callable[[TileStore], None],
    progress: Callable[[int], None],
) -> MapPart:
    """Predict the class of each pixel of an image and write its map, its outlines and the table of its regions.

    Parameters
    ----------
    evaluate : called with the finished map before it is deleted, for example to compare it with true classes.
    progress : called with the number of finished pixels.

    Raises
    ------
    ImageReadError : pixels that cannot be read. FolderError : the disk is full.
    """
    card = model.card
    tile, count = tile_edge(rules.maps, model.network), len(card.classes)
    height, width = picture.height, picture.width
    growing = {name: GrowingOutlines(height, width) for name in outlined(card, rules.maps)}
    sums = _Sums(card, picture, rules)
    with scratch_file(places.map.parent, stored_bytes(count, height, width, tile)) as stream:
        store = TileStore(stream, count, height, width, tile)
        regions = _Regions(picture, places, rules.maps, card)

        def features() -> Iterator[bytes]:
            for place, predicted in predict_tiles(model, picture, tile):
                # Counts and outlines are those of the map as it is stored, in its steps.
                p = store.put(place.y0, place.x0, predicted)
                classes = decided(p, limits_of(card, rules.maps))
                sums.add(p, classes, place.y0, place.x0)
                for name, outlines in growing.items():
                    k = card.classes.index(name)
                    yield from regions.lines(name, outlines.add(classes == k, p[k], place.y0, place.x0))
                progress(place.y1 * width if place.x1 == width else place.y0 * width + place.x1)

        with replacing(places.outlines, 0, durable=False) as out:
            write_features(out, features())
        write_atomic(places.table, parquet_bytes(regions.table()), durable=False)
        evaluate(store)
        write_map(places.map, store, channel_names=card.classes, pixel_um=picture.pixel_um)
    return sums.part(regions.count, places.names)


def outlined(card: BlocksCard, maps: MapsSection) -> tuple[str, ...]:
    """Classes that have outlines: all but the background."""
    background = maps.background or card.classes[0]
    return tuple(name for name in card.classes if name != background)


def limits_of(card: BlocksCard, maps: MapsSection) -> tuple[float, ...] | None:
    """Return the thresholds that decide the class of a pixel: the model's, unless the settings ask for the largest."""
    return None if "threshold" in maps.model_fields_set and maps.threshold == "largest" else card.limits


class _Sums:
    """Counts of classes over the tiles of an image."""

    def __init__(self, card: BlocksCard, picture: Picture, rules: Rules):
        self._card, self._picture, self._rules = card, picture, rules
        count = len(card.classes)
        self._squares = squares(picture.height, picture.width, card.block_px)
        self._in_squares = np.zeros((len(self._squares.y0), count), np.int64)
        blocks = picture.blocks
        self._blocks = Boxes(blocks.y, blocks.y + blocks.size, blocks.x, blocks.x + blocks.size)
        self._in_blocks = np.zeros((len(blocks), count), np.int64)
        self._probability, self._unsure = np.zeros(count), 0

    def add(self, p: np.ndarray, classes: np.ndarray, y0: int, x0: int) -> None:
        """Count a tile of probabilities (C, h, w) and classes (h, w)."""
        self._probability += p.sum((1, 2), dtype=np.float64)
        self._unsure += int((p.max(0) < self._rules.confidence).sum())
        for boxes, counts in ((self._squares, self._in_squares), (self._blocks, self._in_blocks)):
            at, more = sums_in(boxes, classes, counts.shape[1], y0, x0)
            counts[at] += more

    def part(self, regions: int, names: tuple[str, str]) -> MapPart:
        """Return the fractions, their intervals and the sums over blocks."""
        picture, area = self._picture, self._picture.height * self._picture.width
        count = len(self._card.classes)
        interval = share_interval(self._in_squares, self._rules.seed)
        known = len(self._in_squares) > 1
        low, high = (tuple(np.asarray(end)[:count].tolist()) if known else () for end in (interval.low, interval.high))
        return MapPart(
            picture.height,
            picture.width,
            picture.pixel_um,
            tuple(self._in_squares.sum(0).tolist()),
            tuple((self._probability / area).tolist()),
            low,
            high,
            self._unsure / area,
            regions,
            *names,
            self._block_sums(),
        )

    def _block_sums(self) -> tuple[BlockSums, ...]:
        shares = self._in_blocks / np.maximum(self._in_blocks.sum(1, keepdims=True), 1)
        coarse = np.array([str(name) for name in self._picture.blocks.coarse])
        sums = []
        for name in np.unique(coarse).tolist():
            of_class = shares[coarse == name]
            totals, of_squares = of_class.sum(0).tolist(), (of_class**2).sum(0).tolist()
            sums.append(BlockSums(name, len(of_class), tuple(totals), tuple(of_squares)))
        return tuple(sums)


class _Regions:
    """Outlines as lines of GeoJSON and as rows of a table."""

    def __init__(self, picture: Picture, places: Places, maps: MapsSection, card: BlocksCard):
        self._picture, self._maps, self._card = picture, maps, card
        self._seed = places.names[0]
        self._rows: dict[str, list[object]] = {name: [] for name in REGION_COLUMNS}

    @property
    def count(self) -> int:
        """Number of regions so far."""
        return len(self._rows["region"])

    def lines(self, name: str, outlines: Sequence[Outline]) -> Iterator[bytes]:
        """Yield the outlines of a class as lines of the GeoJSON file."""
        for outline in outlines:
            if outline.pixels < self._maps.least_area:
                continue
            numbers = self._numbers(outline)
            down, across = self._picture.zoom
            slim = simplified(outline.polygon, self._maps.simplify)
            slim = slim if (down, across) == (1, 1) else scale(slim, across, down, origin=(0, 0))
            number = self.count
            x, y = slim.centroid.coords[0]
            x0, y0, x1, y1 = slim.bounds
            row = {"region": number, "class": name, **numbers, "y": y, "x": x, "y0": y0, "x0": x0, "y1": y1, "x1": x1}
            row["holes"] = len(slim.interiors)
            for column, values in self._rows.items():
                values.append(row[column])
            region = Region(name, slim, _named(numbers), {"image": self._picture.file})
            yield geojson_bytes(feature_of(region, number, self._card.classes, self._seed))

    def table(self) -> pd.DataFrame:
        """Return a row per region."""
        kinds = {name: object if name in _TEXT else np.int64 if name in _WHOLE else np.float64 for name in self._rows}
        return pd.DataFrame({name: np.array(values, dtype=kinds[name]) for name, values in self._rows.items()})

    def _numbers(self, outline: Outline) -> dict[str, float]:
        um = self._picture.pixel_um
        area = outline.pixels * um**2 if um else float("nan")
        return {"area_px": outline.pixels, "area_um2": area, "probability": outline.total / outline.pixels}


def _named(numbers: Mapping[str, float]) -> dict[str, float]:
    """Name numbers as QuPath's users know them."""
    names = {"area_px": "Area px^2", "area_um2": "Area µm^2", "probability": "Mean probability"}
    return {names[name]: value for name, value in numbers.items()}
