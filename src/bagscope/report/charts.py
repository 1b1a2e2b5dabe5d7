"""Small charts as SVG text in the colours of the page; every text in them is escaped.

Written here because plotting libraries bring scripts of their own (plotly: 4 MB, which the Content-Security-Policy of
the page forbids) or pictures that follow neither the theme nor the font size of the page (matplotlib). A report is one
small file that opens offline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from bagscope.ops.doseresponse import DoseResponse

WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 38


class Chart:
    """Axes from (x0, y0) to (x1, y1) and what is drawn between them.

    Parameters
    ----------
    x, y : ends of the axes.
    title : what a screen reader says.
    log : whether the horizontal axis is logarithmic; its ends are > 0 then.
    """

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], title: str, *, xlabel: str, ylabel: str, log: bool = False
    ):
        self._x = (math.log10(x[0]), math.log10(x[1])) if log else x
        self._y, self._log, self._title = y, log, title
        self._parts: list[str] = []
        self._axes(xlabel, ylabel)

    def across(self, x: float) -> float:
        """Place of a value on the horizontal axis."""
        value = math.log10(x) if self._log else x
        span = self._x[1] - self._x[0] or 1.0
        return LEFT + (value - self._x[0]) / span * (WIDTH - LEFT - RIGHT)

    def up(self, y: float) -> float:
        """Place of a value on the vertical axis."""
        span = self._y[1] - self._y[0] or 1.0
        return HEIGHT - BOTTOM - (y - self._y[0]) / span * (HEIGHT - TOP - BOTTOM)

    def line(self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, kind: str = "line") -> None:
        """Draw a line through points; `kind` is a class of the page's style."""
        known = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
        points = " ".join(f"{self.across(float(a)):.1f},{self.up(float(b)):.1f}" for a, b in known)
        self._parts.append(f'<polyline class="{kind}" points="{points}"/>')

    def dots(
        self,
        x: Sequence[float] | np.ndarray,
        y: Sequence[float] | np.ndarray,
        kind: str = "dot",
        names: Sequence[str] = (),
    ) -> None:
        """Draw points; `names` are told when the pointer rests on them."""
        for at, (a, b) in enumerate(zip(x, y, strict=True)):
            if math.isfinite(a) and math.isfinite(b):
                told = f"<title>{escape(names[at])}</title>" if names else ""
                place = f'cx="{self.across(float(a)):.1f}" cy="{self.up(float(b)):.1f}"'
                self._parts.append(f'<circle class="{kind}" {place} r="3.2">{told}</circle>')

    def band(self, low: float, high: float, kind: str = "band") -> None:
        """Shade between two values of the horizontal axis."""
        a, b = sorted((self.across(low), self.across(high)))
        a, b = max(a, LEFT), min(b, WIDTH - RIGHT)
        if b > a:
            box = f'x="{a:.1f}" y="{TOP}" width="{b - a:.1f}" height="{HEIGHT - TOP - BOTTOM}"'
            self._parts.append(f'<rect class="{kind}" {box}/>')

    def note(self, x: float, y: float, text: str) -> None:
        """Write beside a point."""
        place = f'x="{self.across(x):.1f}" y="{self.up(y):.1f}"'
        self._parts.append(f'<text class="note" {place}>{escape(text)}</text>')

    def svg(self) -> str:
        """Return the chart."""
        head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self._title)}">'
        return head + "".join(self._parts) + "</svg>"

    def _axes(self, xlabel: str, ylabel: str) -> None:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        self._parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
        for value in _ticks(*self._y):
            y = self.up(value)
            self._parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
            self._parts.append(f'<text class="tick" x="{LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{value:g}</text>')
        marks = [10.0**k for k in range(math.ceil(self._x[0]), math.floor(self._x[1]) + 1)] if self._log else []
        for value in marks or [10**v if self._log else v for v in _ticks(*self._x)]:
            x = self.across(value)
            self._parts.append(
                f'<text class="tick" x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{value:.3g}</text>'
            )
        middle = (LEFT + right) / 2
        self._parts.append(
            f'<text class="label" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(xlabel)}</text>'
        )
        y = (TOP + bottom) / 2
        place = f'x="12" y="{y}" transform="rotate(-90 12 {y})"'
        self._parts.append(f'<text class="label" {place} text-anchor="middle">{escape(ylabel)}</text>')


def _ticks(low: float, high: float) -> list[float]:
    span = high - low
    if not span > 0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def dose_chart(
    name: str, unit: str, dose: np.ndarray, response: np.ndarray, wells: Sequence[str], fit: DoseResponse, column: str
) -> str:
    """Draw a compound's wells against dose with its fitted curve; untreated wells stand at the left end."""
    treated = dose > 0
    lowest, highest = dose[treated].min(), dose[treated].max()
    left = lowest / 4
    top = max(1.0, float(np.nanmax(response)))
    title = f"{name}: {column} against concentration"
    chart = Chart(
        (left / 1.5, highest * 1.5), (0.0, top), title, xlabel=f"concentration [{unit}]", ylabel=column, log=True
    )
    if (~treated).any():
        chart.band(left / 1.4, left * 1.4, "untreated")
    if fit.fitted:
        if math.isfinite(fit.low) and math.isfinite(fit.high) and fit.low > 0:
            chart.band(max(fit.low, left), min(fit.high, highest * 1.5))
        grid = np.geomspace(lowest / 2, highest * 1.4, 120)
        chart.line(grid, fit.predict(grid), "line")
    chart.dots(
        np.where(treated, dose, left), response, "dot", [f"{w}: {r:.3f}" for w, r in zip(wells, response, strict=True)]
    )
    return chart.svg()


def history_chart(step: np.ndarray, loss: np.ndarray, watched: np.ndarray, kept: int | None) -> str:
    """Draw the loss while training, and where it was looked at on rows that watch."""
    top = float(np.nanpercentile(loss, 99)) if len(loss) else 1.0
    chart = Chart((0, float(step.max())), (0, max(top, 0.1)), "loss while training", xlabel="step", ylabel="loss")
    chart.line(step, np.minimum(loss, top), "faint")
    known = np.isfinite(watched)
    chart.line(step[known], np.minimum(watched[known], top), "line")
    chart.dots(step[known], np.minimum(watched[known], top), "dot", [f"step {int(s)}" for s in step[known]])
    if kept is not None and kept > 0:
        chart.band(kept - 0.6, kept + 0.6, "mark")
    return chart.svg()


def pooling_chart(name: str, a: float, b: float, wells: Sequence[tuple[str, float, bool]]) -> str:
    """Draw Noisy-AND of a class, P against the mean p of a bag, and where wells lie on it.

    Parameters
    ----------
    a, b : steepness, and the learned share at the middle of the rise.
    wells : name, P, and whether the well is labelled with the class.
    """
    chart = Chart((0, 1), (0, 1), f"pooling of {name}", xlabel="mean p of the bag's elements", ylabel="P of the bag")
    grid = np.linspace(0, 1, 200)
    chart.line(grid, noisy_and(grid, a, b), "line")
    chart.band(b - 0.004, b + 0.004, "mark")
    for own, kind in ((False, "dot other"), (True, "dot")):
        mine = [(well, p) for well, p, is_own in wells if is_own is own and math.isfinite(p)]
        share = [noisy_and_inverse(p, a, b) for _, p in mine]
        chart.dots(share, [p for _, p in mine], kind, [f"{well}: P {p:.3f}" for well, p in mine])
    return chart.svg()


def noisy_and(share: np.ndarray, a: float, b: float) -> np.ndarray:
    """P of a bag whose elements have the mean p `share` (Kraus et al. 2016)."""
    low, high = _sigmoid(-a * b), _sigmoid(a * (1 - b))
    return (_sigmoid(a * (np.asarray(share) - b)) - low) / (high - low)


def noisy_and_inverse(probability: float, a: float, b: float) -> float:
    """Mean p at which Noisy-AND gives a probability."""
    low, high = float(_sigmoid(-a * b)), float(_sigmoid(a * (1 - b)))
    inner = min(max(low + probability * (high - low), 1e-12), 1 - 1e-12)
    return min(max(b + math.log(inner / (1 - inner)) / a, 0.0), 1.0)


def _sigmoid(x: float | np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def calibration_chart(confidence: np.ndarray, right: np.ndarray, wells: np.ndarray) -> str:
    """Draw the share of right calls against their confidence; on the diagonal they are equal."""
    chart = Chart((0, 1), (0, 1), "reliability of calls", xlabel="confidence", ylabel="share right")
    chart.line([0, 1], [0, 1], "faint")
    chart.line(confidence, right, "line")
    chart.dots(confidence, right, "dot", [f"{int(n)} wells" for n in wells])
    return chart.svg()


def risk_chart(coverage: np.ndarray, risk: np.ndarray) -> str:
    """Draw the share of wrong calls against the share of wells that are called, the surest first."""
    top = max(0.1, float(risk.max())) if len(risk) else 0.1
    chart = Chart(
        (0, 1), (0, top), "risk against coverage", xlabel="share of labelled wells called", ylabel="share wrong"
    )
    chart.line(coverage, risk, "line")
    return chart.svg()
