"""Pictures of results, as PNG bytes: no state is kept between them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bagscope.ops.doseresponse import DoseResponse, fit_dose_response
from bagscope.report.charts import noisy_and
from bagscope.report.marks import marks
from bagscope.tables.wells import well_name, well_place

INK, PALE, LINE = "#1b2a41", "#c8d3e0", "#b3432b"
# Told apart without colour vision too (Wong, Nature Methods 8 (2011) 441).
CLASS_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")
PLAIN = {"none": "#ffffff", "unsure": "#dddddd", "": "#ffd5d5"}


@dataclass(frozen=True)
class DoseSeries:
    """Wells of one compound: (n,) doses in `unit`, 0 for untreated, and (n,) responses."""

    name: str
    unit: str
    concentration: np.ndarray
    response: np.ndarray


def dose_response_figure(series: Sequence[DoseSeries], response: str) -> bytes:
    """Draw responses against doses side by side, each with its curve, EC50 and interval.

    Parameters
    ----------
    response : what the vertical axis shows.
    """
    figure = Figure(figsize=(5.2 * max(1, len(series)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, max(1, len(series)), squeeze=False, sharey=True)[0]
    for place, one in zip(axes, series, strict=False):
        _draw_series(place, one)
    axes[0].set_ylabel(response)
    return png(figure)


def plate_figure(
    wells: pd.DataFrame, classes: Sequence[str], series: Sequence[DoseSeries] = (), response: str = ""
) -> bytes:
    """Draw the calls of one plate on its grid, and beside it dose series with their curves.

    Parameters
    ----------
    wells : of a score folder, one plate; wells whose names are no place on a plate are left out.
    classes : of the model, in its order; each gets a colour and a letter.
    """
    figure = Figure(figsize=(6.0 + 3.8 * len(series), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(series), width_ratios=[6.0] + [3.8] * len(series), squeeze=False)[0]
    _draw_calls(axes[0], wells, marks(classes))
    for place, one in zip(axes[1:], series, strict=True):
        _draw_series(place, one)
        place.set_ylabel(response, fontsize=9)
    return png(figure)


def _draw_calls(place: Axes, wells: pd.DataFrame, letters: dict[str, str]) -> None:
    known = [(well_place(str(w)), str(c)) for w, c in zip(wells["well"], wells["call"], strict=True)]
    spots = [(spot[0], spot[1], call) for spot, call in known if spot]
    order = [*letters, *dict.fromkeys(call for _, _, call in spots if call not in letters)]
    colours = dict(
        zip([call for call in order if call not in PLAIN], CLASS_COLOURS * (1 + len(order) // 8), strict=False)
    )
    for call in order:
        mine = [(row, column) for row, column, found in spots if found == call]
        if not mine:
            continue
        rows, columns = zip(*mine, strict=True)
        fill = PLAIN.get(call, colours.get(call, INK))
        name = f"{call or 'failed'} ({len(mine)})"
        place.scatter(columns, rows, s=210, color=fill, edgecolors=INK, linewidths=0.6, label=name)
        for row, column in mine:
            place.text(column, row, letters.get(call, "&"), ha="center", va="center", fontsize=7, color=INK)
    last_row = max((row for row, _, _ in spots), default=1)
    last_column = max((column for _, column, _ in spots), default=1)
    place.set_xlim(0.4, last_column + 0.6)
    place.set_ylim(last_row + 0.6, 0.4)
    place.set_xticks(range(1, last_column + 1))
    place.set_yticks(range(1, last_row + 1), [well_name(row, 1)[:-2] for row in range(1, last_row + 1)])
    place.xaxis.tick_top()
    place.tick_params(length=0, labelsize=8)
    place.spines[:].set_visible(False)
    place.set_aspect("equal")
    place.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=5, frameon=False, fontsize=9)


def _draw_series(place: Axes, one: DoseSeries) -> None:
    treated = one.concentration > 0
    doses = np.unique(one.concentration[treated])
    # Untreated wells have no place on a logarithmic axis: they stand at its left end.
    untreated_at = doses[0] / 4 if len(doses) else 0.1
    shown = np.where(treated, one.concentration, untreated_at)
    if not treated.all():
        place.axvspan(untreated_at / 1.6, untreated_at * 1.6, color=PALE, alpha=0.4, lw=0)
    place.scatter(shown, one.response, s=22, color=INK, alpha=0.75, lw=0, zorder=3)
    fit = fit_dose_response(one.concentration, one.response)
    if fit.fitted:
        _draw_fit(place, fit, doses)
    place.set_xscale("log")
    place.set_ylim(-0.05, 1.05)
    ec50 = (
        f"EC50 {fit.ec50:.3g} ({fit.low:.3g} to {fit.high:.3g}) {one.unit}" if fit.fitted else f"no fit: {fit.reason}"
    )
    place.set_title(f"{one.name}\n{ec50}", fontsize=10)
    place.set_xlabel(f"concentration [{one.unit}]" + ("" if treated.all() else ", shaded: untreated"))
    place.spines[["top", "right"]].set_visible(False)


def _draw_fit(place: Axes, fit: DoseResponse, doses: np.ndarray) -> None:
    grid = np.geomspace(doses[0] / 2, doses[-1] * 1.5, 300)
    place.plot(grid, fit.predict(grid), color=LINE, lw=1.8)
    place.axvline(fit.ec50, color=LINE, lw=0.8, ls=":")
    if np.isfinite(fit.high) and fit.low > 0:
        place.axvspan(fit.low, fit.high, color=LINE, alpha=0.12, lw=0)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": ""})
    return stream.getvalue()


@dataclass(frozen=True)
class CurveSet:
    """Noisy-AND of some classes: steepness a, learned b (R, K) of several runs, (K,) true shares."""

    classes: Sequence[str]
    a: float
    learned: np.ndarray
    shares: np.ndarray


def pooling_curves_figure(curves: CurveSet) -> bytes:
    """Draw how the probability of a bag rises with the share of its instances, and the learned middle of each class.

    Kraus et al. 2016, figure 2.
    """
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    share = np.linspace(0, 1, 201)
    colours = (CLASS_COLOURS * (1 + len(curves.classes) // 8))[: len(curves.classes)]
    for k, (name, colour) in enumerate(zip(curves.classes, colours, strict=True)):
        b = curves.learned[:, k].mean()
        left.plot(share, noisy_and(share, curves.a, b), color=colour, lw=1.8)
        left.plot(b, 0.02, marker="|", ms=12, color=colour, mew=2)
        right.scatter(
            np.full(len(curves.learned), curves.shares[k]), curves.learned[:, k], s=16, color=colour, alpha=0.7, lw=0
        )
        right.errorbar(curves.shares[k], b, curves.learned[:, k].std(), color=INK, capsize=3, lw=1)
        right.annotate(name, (curves.shares[k], b), xytext=(6, 4), textcoords="offset points", fontsize=8, color=INK)
    left.set_xlabel("mean probability of the class map's elements")
    left.set_ylabel("probability of the field")
    left.set_title(f"Noisy-AND, a = {curves.a:g}, b of each class", fontsize=10)
    right.set_xlabel("share of the class's digits in its fields")
    right.set_ylabel("learned b")
    right.set_title(f"learned b, {len(curves.learned)} runs, mean and standard deviation", fontsize=10)
    for place in (left, right):
        place.spines[["top", "right"]].set_visible(False)
    return png(figure)


@dataclass(frozen=True)
class MapRow:
    """An image (H, W) and maps of it, by name, of any size."""

    title: str
    image: np.ndarray
    maps: dict[str, np.ndarray]


def map_figure(rows: Sequence[MapRow]) -> bytes:
    """Draw images and what was made of them, a row each."""
    across = 1 + max(len(row.maps) for row in rows)
    figure = Figure(figsize=(2.5 * across, 2.75 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for places, row in zip(figure.subplots(len(rows), across, squeeze=False), rows, strict=True):
        for place, (name, picture) in zip(places, {row.title: row.image, **row.maps}.items(), strict=False):
            high = np.quantile(picture, 0.998) if picture.dtype.kind == "f" and picture.size > 10_000 else None
            place.imshow(picture, cmap="gray", vmin=0, vmax=high, interpolation="nearest")
            place.set_title(name, fontsize=8)
            place.set_axis_off()
    return png(figure)
