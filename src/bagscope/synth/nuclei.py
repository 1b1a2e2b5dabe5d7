"""Simulated nuclei in 3D: two populations of one size, whose surfaces are dented in different ways.

Star-shaped surfaces from real spherical harmonics of degree 2 to 8, exponentiated; dents multiply the radius: few broad
ones in one class, many narrow ones in the other. Some nuclei have a hole through them, some fall into two parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.special import sph_legendre_p_all

from bagscope.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

SIDE = 44
RADIUS = 10.5  # of a ball of the same volume, in voxels
DEGREES = range(2, 9)
ROUGHNESS, ROUGHNESS_JITTER, DECAY = 0.13, 0.3, 1.6
HOLE_RADIUS, GAP = (1.6, 2.4), (2.0, 3.0)
_QUADRATURE = 2000
# Between two of these directions the surface rises by no more than this factor: it has no finer degrees.
_ROOM = 1.15
_MOST_TRIES = 10_000


@dataclass(frozen=True)
class Dents:
    """How a class's nuclei are dented: number, depth as a share of the radius, width in radians.

    nearest : largest cosine between two dents. hole, gap : probability of a hole through it, and of two parts.
    """

    count: int
    depth: float
    width: float
    nearest: float
    hole: float
    gap: float


CLASSES = {"broad": Dents(3, 0.34, 0.45, 0.3, 0.08, 0.10), "narrow": Dents(9, 0.26, 0.24, 0.75, 0.25, 0.25)}
DEPTH_JITTER, WIDTH_JITTER = 0.12, 0.15


def draw_nucleus(rng: np.random.Generator, label: str, turn: Floats | None = None) -> NDArray[np.bool_]:
    """Draw one nucleus, (44, 44, 44); all have one volume before holes and gaps.

    Parameters
    ----------
    turn : (3, 3) rotation of its surface, holes and gaps about its middle: the same nucleus in another pose.

    Raises
    ------
    SettingsError : no such class.
    """
    if label not in CLASSES:
        cause = f"no class '{label}' of simulated nuclei"
        raise SettingsError(cause, f"Known: {', '.join(CLASSES)}.", code="unknown_class")
    kind = CLASSES[label]
    surface = _Surface.draw(rng, kind)
    sampled = surface.sampled_radii()
    radius = RADIUS / float(np.mean(sampled**3) ** (1 / 3))
    axes = np.stack(np.meshgrid(*[np.arange(SIDE) - (SIDE - 1) / 2] * 3, indexing="ij"), -1) - rng.uniform(-0.5, 0.5, 3)
    axes = axes if turn is None else axes @ turn  # where each voxel lies in the nucleus' own frame
    away = np.linalg.norm(axes, axis=-1)
    near = away < min(SIDE / 2, _ROOM * radius * sampled.max())
    mask = np.zeros((SIDE,) * 3, bool)
    mask[near] = away[near] <= radius * surface.radius(axes[near] / np.maximum(away[near], 1e-9)[:, None])
    if rng.random() < kind.hole:
        axis, off = _direction(rng), rng.uniform(-2, 2, 3)
        line = (axes - off) - ((axes - off) @ axis)[..., None] * axis
        mask &= np.linalg.norm(line, axis=-1) > rng.uniform(*HOLE_RADIUS)
    if rng.random() < kind.gap:
        axis = _direction(rng)
        mask &= np.abs(axes @ axis - rng.uniform(-2, 2)) > rng.uniform(*GAP) / 2
    return mask


def blurred(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a nucleus as a microscope and a segmentation leave it: blurred most along z, with a noisy edge."""
    seen = ndimage.gaussian_filter(mask.astype(np.float32), (2.0, 1.0, 1.0))
    noise = ndimage.gaussian_filter(rng.standard_normal(mask.shape).astype(np.float32), 1.0)
    found = seen + 0.1 * noise / noise.std() > 0.5
    return found if found.any() else mask


@dataclass(frozen=True)
class _Surface:
    """Radius of a star-shaped surface in every direction."""

    coefficients: dict[tuple[int, int], float]
    middles: Floats
    depths: Floats
    widths: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, kind: Dents) -> _Surface:
        sigma = ROUGHNESS * np.exp(ROUGHNESS_JITTER * rng.standard_normal())
        coefficients = {
            (degree, order): float(sigma * np.sqrt(4 * np.pi / 5) * (degree / 2) ** -DECAY * rng.standard_normal())
            for degree in DEGREES
            for order in range(-degree, degree + 1)
        }
        middles = _apart(rng, kind.count, kind.nearest)
        depths = kind.depth * np.exp(DEPTH_JITTER * rng.standard_normal(kind.count))
        widths = kind.width * np.exp(WIDTH_JITTER * rng.standard_normal(kind.count))
        return cls(coefficients, middles, depths, widths)

    def radius(self, directions: Floats) -> Floats:
        """Radius in directions (N, 3) of length 1."""
        polar = np.arccos(np.clip(directions[:, 0], -1, 1))
        azimuth = np.arctan2(directions[:, 1], directions[:, 2])
        legendre = sph_legendre_p_all(DEGREES[-1], DEGREES[-1], polar)[0]
        log = np.zeros(len(directions))
        for order in range(DEGREES[-1] + 1):
            own, other = np.zeros((2, len(directions)))
            for degree in range(max(order, DEGREES[0]), DEGREES[-1] + 1):
                own += self.coefficients[degree, order] * legendre[degree, order]
                other += self.coefficients[degree, -order] * legendre[degree, order]
            if order == 0:
                log += own
            else:
                log += np.sqrt(2) * (own * np.cos(order * azimuth) + other * np.sin(order * azimuth))
        angle = np.arccos(np.clip(directions @ self.middles.T, -1, 1))
        dents = 1 - self.depths * np.exp(-0.5 * (angle / self.widths) ** 2)
        return np.exp(log) * dents.prod(1)

    def sampled_radii(self) -> Floats:
        """Radius in evenly spread directions, (2000,)."""
        at = np.arange(_QUADRATURE) + 0.5
        height, turn = 1 - 2 * at / _QUADRATURE, np.pi * (1 + np.sqrt(5)) * at
        flat = np.sqrt(1 - height**2)
        directions = np.stack([height, flat * np.sin(turn), flat * np.cos(turn)], 1)
        return self.radius(directions)


def _apart(rng: np.random.Generator, count: int, nearest: float) -> Floats:
    """Draw directions of which no two are nearer than a cosine."""
    found: list[Floats] = []
    for _ in range(_MOST_TRIES):
        one = _direction(rng)
        if all(one @ other <= nearest for other in found):
            found.append(one)
        if len(found) == count:
            return np.array(found)
    cause = f"no room for {count} dents with cosines up to {nearest}"
    raise SettingsError(cause, "Take fewer, or let them lie nearer.", code="no_room")


def _direction(rng: np.random.Generator) -> Floats:
    one = rng.standard_normal(3)
    return one / np.linalg.norm(one)
