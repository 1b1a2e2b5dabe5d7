"""Where the elements of a class map lie in the image, and how to cut tiles that change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bagscope.errors import ImageReadError


@dataclass(frozen=True)
class Layer:
    """One convolution or pooling along one axis: what geometry needs to know of it, in its input's pixels."""

    kernel: int
    stride: int = 1
    padding: int = 0

    def length(self, n: int) -> int:
        """Outputs along an axis of n inputs (floor mode); 0 when there are none."""
        return max(0, (n + 2 * self.padding - self.kernel) // self.stride + 1)


@dataclass(frozen=True)
class Grid:
    """The output grid of a stack of layers: element i is centred at pixel `offset + jump * i`.

    Pixel centres are at whole numbers; an element sees `field` pixels round its centre.
    """

    jump: int
    offset: float
    field: int
    layers: tuple[Layer, ...]

    def length(self, n: int) -> int:
        """Elements along an axis of n pixels; 0 when the image is too small."""
        for layer in self.layers:
            n = layer.length(n)
        return n

    @property
    def smallest(self) -> int:
        """The shortest axis, in pixels, that gives one element."""
        n = 1
        while self.length(n) < 1:
            n += 1
        return n

    def as_dict(self) -> dict[str, float]:
        """Return jump, offset, field of view and smallest axis by name, for the model card."""
        return {"jump": self.jump, "offset": self.offset, "field": self.field, "smallest": self.smallest}

    def centres(self, n: int) -> list[float]:
        """Centres, in pixels, of the elements along an axis of n pixels."""
        return [self.offset + self.jump * i for i in range(self.length(n))]


def grid_of(layers: Iterable[Layer]) -> Grid:
    """Jump, offset and field of view of layers applied one after the other.

    Per layer with kernel k, stride s and padding p: field += (k - 1) jump,
    offset += ((k - 1) / 2 - p) jump, jump *= s.
    """
    layers = tuple(layers)
    jump, offset, field = 1, 0.0, 1
    for layer in layers:
        field += (layer.kernel - 1) * jump
        offset += ((layer.kernel - 1) / 2 - layer.padding) * jump
        jump *= layer.stride
    return Grid(jump, offset, field, layers)


@dataclass(frozen=True)
class Span:
    """A piece of one axis: read pixels [start, stop), keep elements [first, first + count) of its map."""

    start: int
    stop: int
    skip: int
    first: int
    count: int


def spans(grid: Grid, n: int, elements: int) -> list[Span]:
    """Cut an axis of n pixels so that the pieces' elements are exactly those of the whole axis.

    A piece starts at a multiple of the jump (so all strides stay in phase), carries a halo of the
    whole receptive field, rounded up to the jump, on inner sides, and ends with the image at outer
    ones (there the network pads with zeros, as it does for the whole image).

    Parameters
    ----------
    grid : the network's output grid.
    n : pixels along the axis.
    elements : elements of a piece, >= 1.

    Raises
    ------
    ImageReadError : the axis gives no element at all.
    """
    total = grid.length(n)
    if total < 1:
        cause = f"{n} pixels along an axis, the network needs at least {grid.smallest}"
        raise ImageReadError(cause, "Score larger images, or pad with --set images.pad=reflect.", code="too_small")
    half = (grid.field - 1) / 2
    pieces = []
    for first in range(0, total, elements):
        count = min(elements, total - first)
        lowest = grid.offset + grid.jump * first - half
        start = max(0, int(lowest // grid.jump) * grid.jump)
        highest = grid.offset + grid.jump * (first + count - 1) + half
        stop = n if first + count == total else min(n, int(highest) + 1 + grid.jump)
        pieces.append(Span(start, stop, first - start // grid.jump, first, count))
    return pieces
