"""Which cells a field holds, where each of them lies, and what the network says of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from bagscope.errors import ImageReadError, ModelError
from bagscope.images.card import CellCard, ModelCard
from bagscope.images.cell_windows import WINDOWS_PER_PASS, judge_windows, refuse_outside
from bagscope.images.class_regions import log_odds_of, number_type, present_regions
from bagscope.images.field_view import FieldView
from bagscope.images.nuclear import AUTO, find_nuclei, nuclear_channel
from bagscope.ops import lattice
from bagscope.ops.regions import RegionTable, class_instances, region_table, seeded_regions
from bagscope.ops.seed_fit import Sure, seed_fit

# A thing narrower than a quarter of a cell is none.
LEAST_SHARE = 1 / 16
# Cells that are known by their centres alone are at least this wide, as a share of the usual diameter.
CENTRE_SHARE = 0.25


@dataclass(frozen=True)
class Cells:
    """The cells of a field.

    labels : (H, W) whole numbers, 0 outside.
    classes : (H, W) uint8 or uint16: 0 where no class is, k + 1 where class k is.
    table : where each label lies; its y, x are where the cell was judged.
    logits : (N, K) in the order of the table.
    """

    labels: np.ndarray
    classes: np.ndarray
    table: RegionTable
    logits: np.ndarray


@dataclass(frozen=True)
class Known:
    """What others say of a field's cells: their segmentation, or centres (N, 2); or nothing."""

    labels: np.ndarray | None = None
    centres: np.ndarray | None = None


def foreground(view: FieldView) -> np.ndarray:
    """Log-odds that a pixel belongs to a cell, (H, W); see `ops.seed_fit`."""
    rules = cell_card(view.card)
    return seed_fit(
        view.relevance.sum(0), view.grey.cpu().numpy(), Sure(rules.background, rules.foreground), rules.coupling
    )


def cell_card(card: ModelCard) -> CellCard:
    """Return what the model knows of cells.

    Raises
    ------
    ModelError : it was trained before models knew of cells.
    """
    if card.cells is None:
        cause = "this model knows nothing of cells"
        raise ModelError(cause, "Train it again with this version of bagscope.", code="no_cells")
    return card.cells


def field_maps(view: FieldView) -> tuple[np.ndarray, list[str]]:
    """Maps of a field in the image's own pixels, (M, H, W) float32, and their names.

    `jacobian:<class>` : how much a pixel speaks for the class. `class:<class>` : probability of the class near the
    pixel, from the dense class map. `foreground` : probability that the pixel belongs to a cell.
    """
    rows, columns = np.ogrid[: view.shape[0], : view.shape[1]]
    near = torch.sigmoid(view.class_logits(rows, columns)).cpu().numpy()
    inside = torch.sigmoid(torch.from_numpy(foreground(view))).numpy()
    names = [f"{kind}:{name}" for kind in ("jacobian", "class") for name in view.card.classes]
    return np.concatenate([view.relevance, near, inside[None]]).astype(np.float32), [*names, "foreground"]


def find_cells(view: FieldView, nuclei: str, score: str, known: Known) -> Cells:
    """Find the cells of a field, or take those that are known, and judge each.

    Parameters
    ----------
    nuclei : channel that shows them, `none`, or `auto`: the one that the model learned with.
    score : `window`: the network on the cell's own window, or `map`: the dense class map at the cell's centre.

    Raises
    ------
    SettingsError : no such channel. ModelError : a model that knows nothing of cells.
    BagscopeError : centres that lie outside the image or on one pixel.
    """
    learned = cell_card(view.card).nuclei
    if known.labels is not None:
        return called(view, known.labels, region_table(known.labels), score)
    if known.centres is not None:
        return cells_at(view, known.centres, score)
    return segment_cells(view, learned if nuclei == AUTO else nuclear_channel(nuclei, view.card.channels), score)


def segment_cells(view: FieldView, nuclear: str, score: str) -> Cells:
    """Find and judge the cells of a field without any help.

    Where a nuclear channel is named, a cell is a nucleus and the foreground nearer to it than to any other, no further
    away than a cell is wide. Without one, cells are the parts of the class masks; where the network has learned from
    bright parts that stand alone, these are the places that speak for the classes that the field shows.

    Parameters
    ----------
    nuclear : channel of the nuclei, "" for none.
    score : "window" (the network on the cell's own window) or "map" (the dense class map at the cell's centre).
    """
    if not nuclear:
        from_parts = cell_card(view.card).from_parts
        mask = present_regions(view) if from_parts else class_mask(view, foreground(view))
        least = 1 if view.cell_px is None else int(view.cell_px**2 * LEAST_SHARE)
        labels, _ = class_instances(mask, min_area=max(1, least))
        table = region_table(labels)
        return Cells(labels, np.where(labels > 0, mask, 0), table, judged(view, table, score))
    seeds = find_nuclei(view.pixels[view.card.channels.index(nuclear)], view.cell_px)
    return seeded_cells(view, seeds, foreground(view) > 0, score)


def seeded_cells(view: FieldView, seeds: np.ndarray, mask: np.ndarray, score: str) -> Cells:
    """Grow seeds over the foreground and judge them, each at the middle of its seed."""
    away = ndimage.distance_transform_edt(seeds == 0)
    reach = np.inf if view.cell_px is None else view.cell_px
    labels = seeded_regions(seeds, mask & (away <= reach), away)
    return called(view, labels, _at_the_seeds(region_table(labels), region_table(seeds)), score)


def cells_at(view: FieldView, centres: np.ndarray, score: str) -> Cells:
    """Judge cells whose centres another program found, and give each the foreground round it.

    Parameters
    ----------
    centres : (N, 2) rows and columns in the image's own pixels; cell i bears the label i + 1.

    Raises
    ------
    BagscopeError : a centre outside the image. ImageReadError : two centres on one pixel.
    """
    refuse_outside(centres, view.shape)
    seeds = np.zeros(view.shape, np.int32)
    y, x = np.floor(np.asarray(centres, float).reshape(-1, 2) + 0.5).astype(int).T
    seeds[y, x] = np.arange(1, len(y) + 1)
    hidden = np.flatnonzero(seeds[y, x] != np.arange(1, len(y) + 1))
    if len(hidden):
        at = int(hidden[0])
        cause = f"cells {at + 1} and {seeds[y[at], x[at]]} lie on the same pixel, y {y[at]}, x {x[at]}"
        raise ImageReadError(cause, "Leave one of them out.", code="cells_together")
    if not len(y):
        return called(view, seeds, region_table(seeds), score)
    away, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    least = 0.0 if view.cell_px is None else view.cell_px * CENTRE_SHARE / 2
    seeds = np.where(away <= least, seeds[tuple(nearest)], 0).astype(np.int32)
    reach = np.inf if view.cell_px is None else view.cell_px
    labels = seeded_regions(seeds, (foreground(view) > 0) & (away <= reach), away)
    table = region_table(labels)
    return called(view, labels, _moved(table, np.asarray(centres, float)[table.label - 1]), score)


def called(view: FieldView, labels: np.ndarray, table: RegionTable, score: str) -> Cells:
    """Judge cells, and colour each with the class that it shows."""
    logits = judged(view, table, score)
    # A probability above the threshold is a logit above its log-odds.
    shown = np.where(logits.max(1, initial=-np.inf) >= log_odds_of(view.card.calls.threshold), logits.argmax(1) + 1, 0)
    colour = np.zeros(len(table) + 1, number_type(len(view.card.classes)))
    colour[1:] = shown
    place = np.searchsorted(table.label, labels)
    return Cells(labels, np.where(labels > 0, colour[np.where(labels > 0, place + 1, 0)], 0), table, logits)


def judged(view: FieldView, table: RegionTable, score: str) -> np.ndarray:
    """Return the logits (N, K) of cells."""
    centres = np.stack([table.y, table.x], 1).reshape(-1, 2)
    if score == "map":
        if not len(centres):
            return np.zeros((0, len(view.card.classes)))
        return view.class_logits(centres[:, 0], centres[:, 1]).T.double().cpu().numpy()
    refuse_outside(centres, view.shape)
    classes = len(view.card.classes)
    found = [np.zeros((0, classes))]
    for at in range(0, len(centres), WINDOWS_PER_PASS):  # ten thousand windows at once take half a gigabyte
        found.append(judge_windows(view.net.cell_maps, view.windows(centres[at : at + WINDOWS_PER_PASS]), classes))
    return np.concatenate(found)


def class_mask(view: FieldView, odds: np.ndarray) -> np.ndarray:
    """Say which class each pixel is of: (H, W), 0 background, k + 1 class k.

    Background or not is what the foreground says; within it, classes share out by the dense class map, and neighbours
    like to agree.
    """
    if not (odds > 0).any():
        return np.zeros(view.shape, number_type(len(view.card.classes)))
    rows, columns = np.ogrid[: view.shape[0], : view.shape[1]]
    share = torch.log_softmax(view.class_logits(rows, columns).cpu(), 0)
    inside = torch.from_numpy(np.clip(odds, -50, 50)) + share
    unary = torch.cat([torch.zeros(1, *view.shape), inside])
    found = lattice.sum_product(unary, cell_card(view.card).coupling).argmax(0).numpy()
    return np.where(odds > 0, found, 0).astype(number_type(len(view.card.classes)))


def _at_the_seeds(regions: RegionTable, seeds: RegionTable) -> RegionTable:
    return _moved(regions, np.stack([seeds.y, seeds.x], 1))


def _moved(table: RegionTable, centres: np.ndarray) -> RegionTable:
    """Return the table with other centres."""
    fields = {name: getattr(table, name) for name in ("label", "area", "top", "left", "bottom", "right")}
    return RegionTable(**fields, y=centres[:, 0], x=centres[:, 1])
