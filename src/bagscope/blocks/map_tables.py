"""What maps add up to: how much of each image, well and treatment is of each class, and whether blocks are as told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope.blocks.card import BlocksCard
from bagscope.blocks.map_image import REGION_COLUMNS
from bagscope.blocks.map_parts import MapPart
from bagscope.engine.parts import Parts
from bagscope.settings.block_sections import MapsSection
from bagscope.tables.frames import read_parquet
from bagscope.tables.levels import Levels, image_keys, wells_of
from bagscope.tables.table import Screen
from bagscope.tables.treatments import INTERVAL, LEAST_WELLS, treatments_of

_DRAWS = 1000


def levels_of_maps(
    screen: Screen,
    card: BlocksCard,
    parts: Mapping[int, MapPart],
    known: Mapping[int, str],
    maps: MapsSection,
    seed: int,
) -> Levels:
    """Sum maps up.

    Of an image, `share:<class>` is the share of its pixels that are decided for the class, `probability:<class>` the
    mean probability, `share_low:` and `share_high:` an interval (see `ops.areas.share_interval`), `area_um2:` or
    `area_px:` what that is in the image, with `area_um2_low:` and `_high:`, `unsure` the share of pixels whose largest
    probability is below `calls.confidence`. A well adds up the areas of its images; a treatment is the median over its
    wells, with a bootstrap interval over three wells or more.

    Parameters
    ----------
    known : what a row was to the model, `train` for those that it has learned from.
    """
    table = _images(screen, card, parts, known, maps)
    images = image_keys(table)
    well_of, wells = wells_of(table.drop(columns=[name for name in table.columns if _is_measure(str(name))]))
    wells = _added_up(table, wells, well_of, card)
    return Levels(images, wells, _treatments(wells, card, seed))


def units(parts: Mapping[int, MapPart], maps: MapsSection) -> tuple[str, ...]:
    """Units in which areas are told: um2 where an image has a pixel size, px where one has none."""
    if maps.area != "auto":
        return (maps.area,)
    sizes = [part.pixel_um for part in parts.values()]
    told = (("um2", any(sizes)), ("px", not all(sizes) or not sizes))
    return tuple(unit for unit, wanted in told if wanted)


def _is_measure(name: str) -> bool:
    kind, colon, _ = name.partition(":")
    value = bool(colon) and kind.startswith(("share", "probability", "area_"))
    return value or name in ("unsure", "height_px", "width_px")


def _images(
    screen: Screen, card: BlocksCard, parts: Mapping[int, MapPart], known: Mapping[int, str], maps: MapsSection
) -> pd.DataFrame:
    count, rows = len(card.classes), len(screen)
    share, low, high, probability = (np.full((rows, count), np.nan) for _ in range(4))
    size, um, unsure = np.full((rows, 2), np.nan), np.full(rows, np.nan), np.full(rows, np.nan)
    for at, part in parts.items():
        size[at], unsure[at] = (part.height, part.width), part.unsure
        um[at] = part.pixel_um or np.nan
        share[at] = np.array(part.pixels) / (part.height * part.width)
        probability[at] = part.probability
        if part.low:
            low[at], high[at] = part.low, part.high
    area = size.prod(1)
    columns: dict[str, object] = {"height_px": size[:, 0], "width_px": size[:, 1]}
    scales = {"um2": area * um**2, "px": area}
    for k, name in enumerate(card.classes):
        ends = (("", share), ("_low", low), ("_high", high))
        columns |= {f"share{end}:{name}": values[:, k] for end, values in ends}
        columns[f"probability:{name}"] = probability[:, k]
        for unit in units(parts, maps):
            columns |= {f"area_{unit}{end}:{name}": values[:, k] * scales[unit] for end, values in ends}
    columns["unsure"] = unsure
    for what in ("map_file", "regions_file"):
        columns[what] = np.array([getattr(parts[at], what) if at in parts else "" for at in range(rows)], dtype=object)
    frame = screen.rows.drop(columns=[name for name in screen.rows if name in columns]).copy()
    split = frame["split"].to_numpy(dtype=object, copy=True)
    for at, side in known.items():
        split[at] = side
    frame["split"] = split
    frame["n_fields"] = np.array([int(at in parts) for at in range(rows)], np.int64)
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def _added_up(table: pd.DataFrame, wells: pd.DataFrame, well_of: np.ndarray, card: BlocksCard) -> pd.DataFrame:
    """Areas of wells are sums, shares weigh images by their pixels."""
    scored = (table["n_fields"] > 0).to_numpy()
    pixels = (table["height_px"] * table["width_px"]).to_numpy(float)

    def summed(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(well_of[scored], values[scored], minlength=len(wells))
        return np.where(np.bincount(well_of[scored], minlength=len(wells)) > 0, sums, np.nan)

    columns = {}
    for name in card.classes:
        for kind in ("share", "probability"):
            columns[f"{kind}:{name}"] = summed(table[f"{kind}:{name}"].to_numpy(float) * pixels) / summed(pixels)
        for unit in ("um2", "px"):
            if f"area_{unit}:{name}" in table:
                columns[f"area_{unit}:{name}"] = summed(table[f"area_{unit}:{name}"].to_numpy(float))
    columns["unsure"] = summed(table["unsure"].to_numpy(float) * pixels) / summed(pixels)
    return pd.concat([wells, pd.DataFrame(columns, index=wells.index)], axis=1)


def _treatments(wells: pd.DataFrame, card: BlocksCard, seed: int) -> pd.DataFrame:
    group, frame = treatments_of(wells)
    names = [f"share:{name}" for name in card.classes]
    values = wells[names].to_numpy(float)
    found = np.full((3, len(frame), len(names)), np.nan)
    for at in range(len(frame)):
        own = values[group == at]
        own = own[np.isfinite(own).all(1)]
        if len(own):
            found[0, at] = np.median(own, axis=0)
        if len(own) >= LEAST_WELLS:
            chosen = np.random.default_rng((seed, len(own))).integers(0, len(own), (_DRAWS, len(own)))
            found[1:, at] = np.percentile(np.median(own[chosen], axis=1), INTERVAL, axis=0)
    columns = {f"share{end}:{name}": found[i, :, k] for k, name in enumerate(card.classes)
               for i, end in enumerate(("", "_low", "_high"))}  # fmt: skip
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def consistency_table(card: BlocksCard, parts: Mapping[int, MapPart]) -> pd.DataFrame:
    """Compare each coarse class's mean and sd of shares as the expert gave them with those of its blocks in the maps.

    A block's share is that of its decided pixels; sd has ddof = 1 and is empty for one block, as are both without any.
    """
    n: dict[str, int] = {}
    sums: dict[str, np.ndarray] = {}
    for part in parts.values():
        for own in part.blocks:
            n[own.coarse] = n.get(own.coarse, 0) + own.n
            sums[own.coarse] = sums.get(own.coarse, 0) + np.array([own.sums, own.squares])
    rows = []
    for line, coarse in enumerate(card.coarse):
        count = n.get(coarse, 0)
        total, squares = sums.get(coarse, np.full((2, len(card.classes)), np.nan))
        mean = total / count if count else total
        sd = (
            np.sqrt(np.maximum(squares - count * mean**2, 0) / (count - 1)) if count > 1 else np.full(len(mean), np.nan)
        )
        for k, fine in enumerate(card.classes):
            rows.append((coarse, fine, card.mean[line][k], card.sd[line][k], mean[k], sd[k], count))
    names = ["coarse", "fine", "given_mean", "given_sd", "predicted_mean", "predicted_sd", "n"]
    return pd.DataFrame(rows, columns=names)


def region_frames(parts: Mapping[int, MapPart], screen: Screen, folder: Path) -> Iterator[pd.DataFrame]:
    """Yield the regions of each image, with its keys in front; one empty table when there are no images."""
    own, image = Parts(folder), screen.image_columns[0]
    keys = ("row", image, "plate", "well", "site")
    for at in sorted(parts):
        frame = read_parquet(own.cells_path(at))
        for place, name in enumerate(keys):
            value = screen.rows[name].iloc[at]
            kind = np.int64 if name == "row" else object
            frame.insert(place, name, np.full(len(frame), int(value) if name == "row" else str(value), dtype=kind))
        yield frame
    if not parts:
        yield pd.DataFrame({name: np.array([], object) for name in (*keys, *REGION_COLUMNS)})
