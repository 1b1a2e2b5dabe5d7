"""Pictures of results, as PNG bytes: no state is kept between them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bagscope.ops.doseresponse import DoseResponse, fit_dose_response

INK, PALE, LINE = "#1b2a41", "#c8d3e0", "#b3432b"


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
    return _png(figure)


def _draw_series(place: Axes, one: DoseSeries) -> None:
    treated = one.concentration > 0
    doses = np.unique(one.concentration[treated])
    # Untreated wells have no place on a logarithmic axis: they stand at its left end.
    untreated_at = doses[0] / 4 if len(doses) else 0.1
    shown = np.where(treated, one.concentration, untreated_at)
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
    place.set_xlabel(f"concentration [{one.unit}], shaded: untreated")
    place.spines[["top", "right"]].set_visible(False)


def _draw_fit(place: Axes, fit: DoseResponse, doses: np.ndarray) -> None:
    grid = np.geomspace(doses[0] / 2, doses[-1] * 1.5, 300)
    place.plot(grid, fit.predict(grid), color=LINE, lw=1.8)
    place.axvline(fit.ec50, color=LINE, lw=0.8, ls=":")
    if np.isfinite(fit.high) and fit.low > 0:
        place.axvspan(fit.low, fit.high, color=LINE, alpha=0.12, lw=0)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": ""})
    return stream.getvalue()
