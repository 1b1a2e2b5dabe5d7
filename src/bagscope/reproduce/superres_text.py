"""What the superres experiment says in words, its tables, its comparisons and its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bagscope import __version__
from bagscope.ops.intervals import bootstrap
from bagscope.report.figures import MapRow, map_figure
from bagscope.reproduce.ledger import Ledger, by_data_set, key_lines
from bagscope.reproduce.order import Order
from bagscope.reproduce.superres_data import Picture
from bagscope.reproduce.superres_runs import RATES, TUNING_SET, kept

PICTURE = "maps.png"
KINDS = (
    "supervised", "default", "quick", "intra+inter", "inter", "intra", "llp", "qr", "soft", "hard", "lowres",
    "oracle_blocks", "otsu", "everything",
)  # fmt: skip
DEFAULTS = ("default", "quick")
PROTOCOL = """{key}

Intersection over union of object pixels, only within one block width (32 px) of the true boundary / only within 4 px,
pooled over the pictures judged; means over seeds. `share`: the default's as a share of the supervised one's.

Sets: nuclei in fluorescence and in colour histology (BBBC038, at half resolution), colon glands (GlaS, as they come:
half of the original). Pictures are dealt to parts A, B, C by group or patient. Blocks are squares of 32 pixels. An
expert looks at 12 blocks of each coarse class in part A, which gives the table of shares. Models learn from part B, of
whose blocks only the coarse class is known. Part C is judged; but for `lowres`, `oracle_blocks` and `otsu`, which are
given more (see below), its pixel labels are read for scores alone. Coarse classes are the ten published ones, 0-20,
20-30, ..., 90-95, 95-100 %.
Without a suffix a block's class is its true share, binned. `_real`: gradient boosting on features of blocks, learned
on part A, says the share (A's own blocks by folds over groups). `_middle`, `_strong`: the same classifier, with noise
on its features until the table explains about .6 and .4 of how the shares of blocks vary (`table_r2`).

`supervised`: the same network on all pixel labels of part B, crops drawn anywhere (of the others about blocks, coarse
classes by the root of their frequency). `default`: what `bagscope train --task blocks` does; where the table explains
less than .7 of how shares vary, its threshold is that of the table's means, a rule that was decided on part A, after
figures of part C had been seen. `intra+inter`, `inter`, `intra`: count losses (overlap, 16 effective pixels, one
training); `llp`: mean shares alone; `qr`: implicit posterior; `soft`, `hard`: every pixel takes its block's mean
shares, or its most frequent class. All have the same network, augmentation, steps (750), batch and learning rate
(0.01); `--only tuning` tries a method of each family of losses at {rates}, learned on part B of {rate_set} and judged
on part A. `lowres`: blocks of part C as the table tells of their coarse class, which without noise is that of their
true share; `oracle_blocks`: by their true share; `otsu`: the best of four thresholds, picked on the judged pictures,
which no user could do (`best_narrow`: best in the narrow band); `everything`: all pixels.

`masked_iou_calibrated`: with the threshold at which blocks of part B have the table's mean shares
(`table_threshold`). `boundary_distance`: mean distance of each boundary from the other, px. `pepper`: components below
10 pixels per 10,000. `default_above`, `default_above_narrow`: by how much the default's union is larger, mean over its
seeds; `_low`, `_high`: 95 % bootstrap interval over pictures. `share_of_supervised` has one, too.

![Pictures, what the methods make of them, and the truth]({picture})

Made by `bagscope reproduce superres{options}` with bagscope {version}.
Data: {sources}."""


def text(order: Order, done: Mapping[tuple[str, int], Mapping[str, float]], sources: Mapping[str, str]) -> str:
    """Return the protocol in words."""
    return PROTOCOL.format(
        key=key_table(done), options=order.options, version=__version__, sources="; ".join(sources.values()),
        picture=PICTURE, rates=", ".join(f"{rate:g}" for rate in RATES), rate_set=TUNING_SET,
    )  # fmt: skip


def key_table(done: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Return a row per set and regime, a column per method, and the default's share of the supervised."""
    sets = by_data_set(done)
    kinds = [kind for kind in KINDS if any(kind in row for row in sets.values())]
    lines = [f"| | {' | '.join(kinds)} | share |", "|" + "---|" * (2 + len(kinds))]
    for data_set, row in sets.items():
        cells = [_cell(row.get(kind, [])) for kind in kinds]
        own = next((row[kind] for kind in DEFAULTS if kind in row), [])
        share = own[0].get("share_of_supervised") if own else None
        lines.append(
            f"| {data_set.replace('_', ', ')} | {' | '.join(cells)} | {'' if share is None else f'{share:.3f}'} |"
        )
    return key_lines(lines)


def _cell(runs: Sequence[Mapping[str, float]]) -> str:
    if not runs:
        return ""
    wide, narrow = (np.mean([one[name] for one in runs]) for name in ("masked_iou", "masked_iou_narrow"))
    return f"{wide:.3f} / {narrow:.3f}"


def compared(done: Mapping[tuple[str, int], Mapping[str, float]], ledger: Ledger) -> dict[tuple[str, int], dict]:
    """Add to the first run of each method how it stands to the default on the same pictures, with intervals."""
    runs = {key: dict(values) for key, values in done.items()}
    sets: dict[str, dict[str, np.ndarray]] = {}
    for band in ("overlaps", "overlaps_narrow"):
        for name, seed in runs:
            kind, of = name.split("/")
            there = kept(ledger.place(name, seed))
            if there is not None:
                told = sets.setdefault(f"{of} {band}", {})
                told[kind] = np.stack([*told[kind], there[band]]) if kind in told else there[band][None]
    for key, told in sets.items():
        of, band = key.split()
        word = "_narrow" if band.endswith("narrow") else ""
        own = next((one for one in DEFAULTS if one in told), "")
        if not own:
            continue
        for kind, other in told.items():
            if kind != own:
                runs[f"{kind}/{of}", 0] |= _interval(told[own], other, f"default_above{word}", np.subtract)
        base = sets.get(f"{of.split('_')[0]} {band}", {}).get("supervised")
        if base is not None:
            runs[f"{own}/{of}", 0] |= _interval(told[own], base, f"share_of_supervised{word}", np.divide)
    return runs


def _interval(default: np.ndarray, other: np.ndarray, name: str, how: np.ufunc) -> dict[str, float]:
    """Difference or ratio of two pooled unions, each the mean over its runs, over pictures drawn again.

    Parameters
    ----------
    default, other : (runs, pictures, 4) overlaps.
    """
    entries = np.concatenate([default, other]).transpose(1, 0, 2)

    def statistic(drawn: np.ndarray, axis: int) -> np.ndarray:
        pooled = drawn.sum(axis)
        iou = pooled[..., 0] / pooled[..., 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            found: np.ndarray = how(iou[..., : len(default)].mean(-1), iou[..., len(default) :].mean(-1))
        return found

    with np.errstate(invalid="ignore"):  # a ceiling of nothing at all is no ceiling
        told = bootstrap(entries, statistic)
    values = {name: float(told.estimate), f"{name}_low": float(told.low), f"{name}_high": float(told.high)}
    return {word: value for word, value in values.items() if np.isfinite(value)}


def panel(rows: Mapping[str, tuple[Picture, Mapping[str, np.ndarray]]]) -> bytes:
    """Draw a picture of each set, the maps of methods, and the truth."""
    drawn = []
    for of, (picture, maps) in rows.items():
        shown = np.moveaxis(picture.pixels, 0, 2) if len(picture.pixels) == 3 else picture.pixels[0]
        every = {**maps, "truth": picture.truth}
        drawn.append(MapRow(of, shown, {name: one.astype(np.uint8) for name, one in every.items()}))
    return map_figure(drawn)
