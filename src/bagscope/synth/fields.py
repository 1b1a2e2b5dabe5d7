"""What one field of a translocation assay looks like, and what is true of every cell in it.

Two channels: `dna` (nuclei) and `gfp` (a reporter that sits in the cytoplasm of a resting cell and
in the nucleus of one that responded), as in the forkhead translocation assay of BBBC013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bagscope.errors import SettingsError
from bagscope.synth.cells import (
    Population,
    Territory,
    claim_bodies,
    claim_nuclei,
    grow_population,
    scatter_places,
    smooth_noise,
)
from bagscope.synth.optics import defocus, expose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

CHANNELS = ("dna", "gfp")
PIXEL_UM = 0.65
VISIBLE_EXPRESSION = 0.15  # below it the reporter drowns in the haze of its neighbours

_DNA_PHOTONS = 420.0
_GFP_PHOTONS = 260.0


@dataclass(frozen=True)
class Cell:
    """The truth about one cell: `cell` is its value in the mask; y, x are the middle of its nucleus.

    `is_visible` is false for cells without (enough) reporter and for dividing ones, whose reporter
    fills the whole cell: they responded or did not, but no image can tell.
    """

    cell: int
    y: float
    x: float
    responded: bool
    is_visible: bool
    expression: float
    ratio: float


class DrawnField(NamedTuple):
    """Pixels (2, H, W) uint16, the cells, and label images (H, W) uint16 of bodies and of nuclei."""

    pixels: NDArray[np.uint16]
    cells: tuple[Cell, ...]
    mask: NDArray[np.uint16]
    nuclei: NDArray[np.uint16]


def draw_field(
    rng: np.random.Generator,
    share: float,
    n_cells: int,
    *,
    px: int = 448,
    cell_px: float = 40.0,
    clumping: float = 0.8,
    without_reporter: float = 0.1,
    mitotic: float = 0.02,
    debris: float = 3.0,
    light: NDArray[np.float32] | None = None,
    psf_px: float = 1.0,
    haze: float = 0.12,
    background: float = 15.0,
) -> DrawnField:
    """Draw one field in which every cell responds by itself with probability `share`.

    Equal generators and settings give equal pixels. Cells whose middle lies outside the field reach
    into it, but are in no table and no mask.

    Parameters
    ----------
    rng : the only source of chance.
    share : probability that a cell responds, in [0, 1].
    n_cells : cells with their middle inside; fewer when no more fit.
    px : side of the square field.
    cell_px : typical diameter of a cell in pixels.
    clumping : 0 an even lawn, 1 sheets with bare patches.
    without_reporter, mitotic : shares of cells that show no reporter and that divide.
    debris : expected number of specks and fibres.
    light : (H, W) relative brightness of the lamp; None is even light.
    psf_px : blur of the lens; 1 is in focus, 6 is lost.
    haze : share of light from out-of-focus planes.
    background : photoelectrons of the empty medium.

    Raises
    ------
    SettingsError : a share outside [0, 1], a negative number of cells, or a field smaller than a cell.
    """
    if not 0 <= share <= 1 or n_cells < 0 or px < cell_px:
        cause = f"cannot draw share {share} of {n_cells} cells of {cell_px} px in a field of {px} px"
        raise SettingsError(cause, "Use a share in [0, 1], cells >= 0, and a field larger than a cell.")
    places = scatter_places(rng, n_cells, px, spacing=0.42 * cell_px, margin=0.6 * cell_px, clumping=clumping)
    direction = _sheet_direction(rng, places, px)
    population = grow_population(
        rng,
        places,
        share,
        cell_px=cell_px,
        without_reporter=without_reporter,
        mitotic=mitotic,
        direction=direction,
    )
    warp = _ragged_warp(rng, px, cell_px), _ragged_warp(rng, px, cell_px)
    bodies, nuclei = claim_bodies(population, px, warp), claim_nuclei(population, px, warp)
    photons = _paint(rng, population, bodies, nuclei, px)
    _add_debris(rng, photons, debris, cell_px)
    photons += background
    if light is not None:
        photons *= light
    pixels = expose(rng, defocus(photons, psf_px=psf_px, haze=haze))
    cells, mask, nucleus_mask = _truth(population, bodies, nuclei)
    return DrawnField(pixels, cells, mask, nucleus_mask)


def _sheet_direction(rng: np.random.Generator, places: Floats, px: int) -> Floats:
    field = smooth_noise(rng, px, px / 8.0)
    inside = np.clip(places.astype(np.intp), 0, px - 1)
    return (1.2 * field[inside[:, 0], inside[:, 1]] + rng.uniform(0, np.pi)).astype(np.float32)


def _ragged_warp(rng: np.random.Generator, px: int, cell_px: float) -> Floats:
    """Draw a displacement that bends outlines: broad lobes with ragged edges on them."""
    lobes, edges = smooth_noise(rng, px, cell_px / 3.2), smooth_noise(rng, px, cell_px / 14)
    return cell_px * (0.11 * np.clip(lobes, -2.2, 2.2) + 0.018 * np.clip(edges, -2.2, 2.2))


def _paint(rng: np.random.Generator, population: Population, bodies: Territory, nuclei: Territory, px: int) -> Floats:
    """Light of the cells alone, as expected photoelectrons (2, H, W)."""
    grain = 1.0 + 0.13 * smooth_noise(rng, px, 5.0) + 0.10 * smooth_noise(rng, px, 1.3)
    chromatin = 1.0 + 0.10 * smooth_noise(rng, px, 1.6)
    nucleoli = np.clip((smooth_noise(rng, px, 1.8) - 1.1) * 2.0, 0.0, 1.0)
    in_nucleus = nuclei.owner > 0
    owner = np.where(in_nucleus, nuclei.owner, bodies.owner)
    bulge = np.sqrt(np.clip(1.0 - nuclei.depth**2, 0.0, 1.0))  # a nucleus is a lens: thin at its rim
    flat = np.clip(1.0 - bodies.depth**2, 0.0, 1.0)
    thickness = np.where(flat > 0, 0.3 + 0.35 * flat + 0.4 * flat**3, 0.0)

    cytoplasm = _of_owner(population.cytoplasm(), owner)
    ratio = _of_owner(population.ratio, owner)
    inside = ratio * (0.75 + 0.25 * bulge) * (1.0 - 0.25 * nucleoli)
    gfp = cytoplasm * np.where(in_nucleus, inside, thickness * grain)
    dna = _of_owner(population.dna, nuclei.owner) * (0.55 + 0.45 * bulge) * chromatin * (1.0 - 0.3 * nucleoli)
    # The dye also binds RNA a little, and the reporter's stray light shows in its channel.
    dna = np.where(in_nucleus, dna, 0.02 * thickness * grain)
    return np.stack([_DNA_PHOTONS * dna, _GFP_PHOTONS * np.maximum(gfp, 0.02 * thickness)]).astype(np.float32).clip(0)


def _of_owner(values: Floats, owner: NDArray[np.int32]) -> Floats:
    return np.concatenate([[0.0], values]).astype(np.float32)[owner]


def _add_debris(rng: np.random.Generator, photons: Floats, debris: float, cell_px: float) -> None:
    """Specks, clusters of fragments and fibres, in both channels by chance; changes `photons`."""
    px = photons.shape[-1]
    for _ in range(rng.poisson(debris)):
        kind = rng.random()
        place, weight = rng.uniform(0, px, 2), rng.dirichlet([0.6, 0.6])
        if kind < 0.12:  # a fibre: a chain of spots that wanders
            steps = rng.integers(30, 90)
            turn = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.12, steps))
            spots = place + 1.5 * np.cumsum(np.stack([np.sin(turn), np.cos(turn)], 1), 0)
            radii, brightness = np.full(steps, rng.uniform(1.0, 2.0)), np.full(steps, rng.uniform(40, 160))
        else:  # a dead cell's fragments, or one speck
            n = int(rng.integers(3, 8)) if kind < 0.5 else 1
            spots = place + rng.normal(0, 0.12 * cell_px, (n, 2)) * (n > 1)
            radii, brightness = rng.uniform(0.03, 0.08, n) * cell_px, np.exp(rng.normal(6.3, 0.6, n))
        for (y, x), radius, light in zip(spots, radii, brightness, strict=True):
            _add_spot(photons, y, x, radius, light * weight)


def _add_spot(photons: Floats, y: float, x: float, radius: float, brightness: NDArray[np.float64]) -> None:
    px, reach = photons.shape[-1], int(3 * radius) + 1
    rows = np.arange(max(0, int(y) - reach), min(px, int(y) + reach + 1))
    cols = np.arange(max(0, int(x) - reach), min(px, int(x) + reach + 1))
    if len(rows) and len(cols):
        spot = np.exp(-(((rows - y) ** 2)[:, None] + ((cols - x) ** 2)[None]) / (2 * radius**2))
        photons[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] += brightness[:, None, None] * spot


def _truth(
    population: Population, bodies: Territory, nuclei: Territory
) -> tuple[tuple[Cell, ...], NDArray[np.uint16], NDArray[np.uint16]]:
    """Cells whose middle lies inside, numbered from 1 without gaps, and the masks with those numbers."""
    px = bodies.owner.shape[0]
    owner = np.where(nuclei.owner > 0, nuclei.owner, bodies.owner)
    is_inside = (population.y >= 0) & (population.y <= px - 1) & (population.x >= 0) & (population.x <= px - 1)
    is_seen = np.bincount(owner.ravel(), minlength=len(population) + 1)[1:] > 0
    kept = np.flatnonzero(is_inside & is_seen)
    value = np.zeros(len(population) + 1, np.uint16)
    value[kept + 1] = np.arange(1, len(kept) + 1)
    y, x = _middles(population, nuclei)
    cells = tuple(_cell(population, int(i), number, y[i], x[i]) for number, i in enumerate(kept, start=1))
    return cells, value[owner], value[nuclei.owner]


def _middles(population: Population, nuclei: Territory) -> tuple[Floats, Floats]:
    """Centres of the nuclei as they came out, (N,) each; of a nucleus hidden by others, where it was meant to be."""
    rows, cols = np.nonzero(nuclei.owner)
    number, n = nuclei.owner[rows, cols] - 1, len(population)
    area = np.bincount(number, minlength=n)
    y, x = (np.bincount(number, weights, n) / np.maximum(area, 1) for weights in (rows, cols))
    return np.where(area > 0, y, population.y), np.where(area > 0, x, population.x)


def _cell(population: Population, i: int, number: int, y: float, x: float) -> Cell:
    expression = float(population.expression[i])
    return Cell(
        cell=number,
        y=round(float(y), 2),
        x=round(float(x), 2),
        responded=bool(population.responded[i]),
        is_visible=expression >= VISIBLE_EXPRESSION and not population.is_mitotic[i],
        expression=round(expression, 3),
        ratio=round(float(population.ratio[i]), 3),
    )
