"""The network as a row of boxes with the size of every map (Kraus et al. 2016, figure 1)."""

from __future__ import annotations

import math
from html import escape

# Kind, kernel, output channels of each layer of network `kraus`; a test holds it against the network itself.
LAYERS = (
    ("average pool", 3, 0), ("conv", 3, 32), ("conv", 3, 64), ("max pool", 3, 0), ("conv", 5, 64), ("max pool", 3, 0),
    ("conv", 3, 128), ("max pool", 3, 0), ("conv", 3, 128), ("max pool", 3, 0), ("conv", 1, 1000),
)  # fmt: skip
_STEP, _WIDE, _HEIGHT, _MIDDLE = 74, 1150, 210, 92


def map_sizes(channels: int, classes: int, height: int, width: int) -> list[tuple[str, int, int, int]]:
    """Name, channels, height and width of every map, from the image to the class maps."""
    found = [("image", channels, height, width)]
    for kind, kernel, wide in LAYERS:
        _, depth, h, w = found[-1]
        if wide:
            found.append((f"{kind} {kernel}x{kernel}", wide, h, w))
        else:
            found.append((f"{kind} {kernel}/2", depth, (h - kernel) // 2 + 1, (w - kernel) // 2 + 1))
    return [*found, ("class maps, conv 1x1", classes, *found[-1][2:])]


def architecture_chart(
    channels: int, classes: int, height: int, width: int, pooling: str, outputs: int, smallest: int
) -> str:
    """Draw the network for an image of some size as SVG; "" when the image is too small for it.

    Parameters
    ----------
    height, width : of the image as the network sees it, rescaled.
    pooling : its name. outputs : of the last layer. smallest : side of the smallest image.
    """
    if min(height, width) < smallest:
        return ""
    parts = []
    sizes = map_sizes(channels, classes, height, width)
    for at, (name, depth, h, w) in enumerate(sizes):
        tall, across = 12 + 100 * math.sqrt(h / height), 6 + 4.2 * math.log2(1 + depth)
        x = 12 + at * _STEP + (_STEP - across) / 2
        parts.append(f'<rect class="layer" x="{x:.1f}" y="{_MIDDLE - tall / 2:.1f}" width="{across:.1f}" '
                     f'height="{tall:.1f}" rx="2"/>')  # fmt: skip
        parts += _told(12 + (at + 0.5) * _STEP, [*_lines(name), f"{depth} x", f"{h} x {w}"])
    last = 12 + len(sizes) * _STEP
    ends = ([pooling, f"{classes} P"], ["last layer", f"{outputs} y"])
    for at, lines in enumerate(ends):
        x = last + at * _STEP
        parts.append(f'<circle class="layer" cx="{x + _STEP / 2:.1f}" cy="{_MIDDLE}" r="13"/>')
        parts += _told(x + _STEP / 2, lines)
    title = escape(f"Network for an image of {height} x {width} rescaled pixels")
    return (
        f'<svg class="architecture" viewBox="0 0 {_WIDE} {_HEIGHT}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{''.join(parts)}</svg>"
    )


def _lines(name: str) -> list[str]:
    first, _, second = name.partition(", ")
    return [*first.rsplit(" ", 1), second] if second else first.rsplit(" ", 1)


def _told(x: float, lines: list[str]) -> list[str]:
    top = _MIDDLE + 70
    return [
        f'<text class="tick" x="{x:.1f}" y="{top + 12 * at}" text-anchor="middle">{escape(line)}</text>'
        for at, line in enumerate(lines)
    ]
