"""Where the cells of a simulated field lie, what they are like, and which pixels are theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from bagscope.synth.optics import enlarge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

NUCLEAR_TO_CYTOPLASM_VOLUME = 0.35  # a reporter that moves into the small nucleus leaves the large cytoplasm dim


@dataclass(frozen=True)
class Population:
    """Cells as they grow in one field: (N,) arrays, lengths in pixels.

    `ratio` is the reporter's concentration in the nucleus over that in the cytoplasm,
    `expression` its total relative to a typical cell (0.02 = without reporter).
    """

    y: Floats
    x: Floats
    angle: Floats
    long: Floats
    short: Floats
    corner: Floats  # strength of the threefold bulge that makes an ellipse a spread-out cell
    nucleus_long: Floats
    nucleus_short: Floats
    dna: Floats
    expression: Floats
    ratio: Floats
    responded: NDArray[np.bool_]
    is_mitotic: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.y)

    def cytoplasm(self) -> Floats:
        """Concentration of the reporter in the cytoplasm; the sum over the cell does not depend on `ratio`."""
        volume = NUCLEAR_TO_CYTOPLASM_VOLUME
        return self.expression * (1.0 + volume) / (1.0 + volume * self.ratio)


class Territory(NamedTuple):
    """Which cell owns a pixel (index + 1, 0 = nobody) and how far out it is (0 middle, 1 edge)."""

    owner: NDArray[np.int32]
    depth: Floats


def smooth_noise(rng: np.random.Generator, px: int, sigma: float) -> Floats:
    """Draw a field (px, px) of mean 0 and standard deviation 1 that changes over about `sigma` pixels."""
    step = max(1, int(sigma / 2))
    n = -(-px // step) + 1
    coarse = ndimage.gaussian_filter(rng.standard_normal((n, n), dtype=np.float32), sigma / step, mode="wrap")
    field = enlarge(coarse, step)[:px, :px]
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def scatter_places(
    rng: np.random.Generator, n_cells: int, px: int, *, spacing: float, margin: float, clumping: float
) -> Floats:
    """Middles (N, 2) of `n_cells` cells inside the field and of their neighbours in a margin round it.

    No two are nearer than `spacing`; `clumping` 0 is an even lawn, 1 and more leaves bare patches.
    Fewer come back when the field is full. The first ones lie inside.
    """
    side = int(px + 2 * margin)
    liking = np.exp(clumping * smooth_noise(rng, side, px / 7.0))
    wanted_around = round(n_cells * (side * side / (px * px) - 1.0))
    inside: list[NDArray[np.float64]] = []
    around: list[NDArray[np.float64]] = []
    taken = np.full((n_cells + wanted_around, 2), -1e6)
    for place in rng.uniform(0, side, (40 * len(taken) + 1, 2)):
        if rng.random() * 3.0 > liking[int(place[0]), int(place[1])]:
            continue
        is_inside = bool(np.all((place >= margin) & (place < px + margin - 1)))
        group, room = (inside, n_cells) if is_inside else (around, wanted_around)
        used = len(inside) + len(around)
        if len(group) >= room or np.any(((taken[:used] - place) ** 2).sum(1) < spacing * spacing):
            continue
        taken[used] = place
        group.append(place - margin)
        if used + 1 == len(taken):
            break
    return np.array(inside + around, dtype=np.float32).reshape(-1, 2)


def grow_population(
    rng: np.random.Generator,
    places: Floats,
    share: float,
    *,
    cell_px: float,
    without_reporter: float,
    mitotic: float,
    direction: Floats,
) -> Population:
    """Draw what the cells at `places` are like; each responds by itself with probability `share`.

    The number of draws does not depend on `share`, so the same cells come back at another dose.
    `direction` (N,) is the way the sheet runs at each place, in radians.
    """
    n = len(places)

    def normal(mean: float, sd: float) -> Floats:
        return (mean + sd * rng.standard_normal(n)).astype(np.float32)

    responded = rng.random(n) < share
    is_mitotic = rng.random(n) < mitotic
    stretch = np.exp(np.clip(normal(0.36, 0.22), -0.1, 0.9))
    radius = 0.5 * cell_px * np.exp(normal(0.08, 0.13))
    is_doubled = rng.random(n) < 0.3  # DNA content before and after the S phase
    nucleus = 0.19 * cell_px * np.exp(normal(0.0, 0.08)) * np.where(is_doubled, 1.14, 1.0)
    nucleus_stretch = np.exp(np.clip(normal(0.17, 0.10), 0.0, 0.4))
    dna = np.exp(normal(0.0, 0.16)) * np.where(is_doubled, 1.25, 1.0)
    expression = np.where(rng.random(n) < without_reporter, 0.02, np.exp(normal(0.0, 0.6)))
    resting, moved = np.exp(normal(np.log(0.45), 0.28)), np.exp(normal(np.log(3.8), 0.33))
    angle = direction + normal(0.0, 0.45)
    corner = np.abs(normal(0.0, 0.18)).clip(0, 0.35)
    round_up = np.where(is_mitotic, 0.33 * cell_px, 0.0)  # dividing cells are balls with a bar of DNA
    return Population(
        y=places[:, 0],
        x=places[:, 1],
        angle=angle,
        long=np.where(is_mitotic, round_up, radius * stretch),
        short=np.where(is_mitotic, round_up, radius / np.sqrt(stretch)),
        corner=np.where(is_mitotic, 0, corner),
        nucleus_long=np.where(is_mitotic, 0.2 * cell_px, nucleus * nucleus_stretch),
        nucleus_short=np.where(is_mitotic, 0.075 * cell_px, nucleus / nucleus_stretch),
        dna=np.where(is_mitotic, 2.2, 1.0) * dna,
        expression=np.where(is_mitotic, 1.5, 1.0) * expression,
        ratio=np.where(is_mitotic, 1.0, np.where(responded, moved, resting)),
        responded=responded,
        is_mitotic=is_mitotic,
    )


def claim_bodies(population: Population, px: int, warp: tuple[Floats, Floats]) -> Territory:
    """Pixels of the cell bodies. Where two cells meet, the one whose middle is nearer (in its own shape) wins."""
    return _claim(population, population.long, population.short, population.corner, px, warp)


def claim_nuclei(population: Population, px: int, warp: tuple[Floats, Floats]) -> Territory:
    """Pixels of the nuclei, which bend less than the bodies do."""
    return _claim(
        population, population.nucleus_long, population.nucleus_short, 0.3 * population.corner, px, warp, bend=0.3
    )


def _claim(
    population: Population,
    long: Floats,
    short: Floats,
    corner: Floats,
    px: int,
    warp: tuple[Floats, Floats],
    bend: float = 1.0,
) -> Territory:
    owner = np.zeros((px, px), np.int32)
    depth = np.ones((px, px), np.float32)
    axis = np.arange(px, dtype=np.float32)
    reach = long * (1.0 + corner) + 1.5 * bend * max(float(np.abs(w).max()) for w in warp) + 1
    for i in range(len(population)):
        y, x = float(population.y[i]), float(population.x[i])
        rows = slice(max(0, int(y - reach[i])), max(0, min(px, int(y + reach[i]) + 2)))
        cols = slice(max(0, int(x - reach[i])), max(0, min(px, int(x + reach[i]) + 2)))
        # Relative to the bend at the middle, so that a shape stays where its cell is.
        middle = min(max(round(y), 0), px - 1), min(max(round(x), 0), px - 1)
        dy = axis[rows, None] - y + bend * (warp[0][rows, cols] - warp[0][middle])
        dx = axis[None, cols] - x + bend * (warp[1][rows, cols] - warp[1][middle])
        here = _distance(dy, dx, float(population.angle[i]), float(long[i]), float(short[i]), float(corner[i]))
        is_nearer = here < depth[rows, cols]
        depth[rows, cols][is_nearer] = here[is_nearer]
        owner[rows, cols][is_nearer] = i + 1
    return Territory(owner, depth)


def _distance(dy: Floats, dx: Floats, angle: float, long: float, short: float, corner: float) -> Floats:
    """How far out of one shape the offsets lie, where 1 is its edge: an ellipse with three soft corners."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    u = (cos * dx + sin * dy) / long
    v = (cos * dy - sin * dx) / short
    square = u * u + v * v + 1e-6
    distance = np.sqrt(square)
    if corner == 0:
        return distance
    threefold = u * (u * u - 3.0 * v * v) / (square * distance)  # cos 3 phi without a call of cos
    return distance / (1.0 + corner * threefold)
