"""How a whole simulated plate is made: images, plate map, and the truth kept apart from both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bagscope.errors import SettingsError
from bagscope.files.writer import write_ome_tiff
from bagscope.synth.fields import CHANNELS, PIXEL_UM, Cell, DrawnField, draw_field
from bagscope.synth.layout import (
    ODD_KINDS,
    PlannedWell,
    choose_odd_wells,
    jittered_share,
    plan_plate,
)
from bagscope.synth.optics import uneven_light
from bagscope.synth.truth import PlateTruth, WellTruth, cell_row, well_truth, write_tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    MadeWell = tuple[WellTruth, list[dict[str, object]]]

FULL_FIELD_PX_PER_CELL = 38.0  # side of the square that one cell has in a field without a bare patch
SMALLEST_FIELD_PX = 64  # less than two cells across shows no sheet of cells
_PLATE_STREAM, _WELL_STREAM = 0, 1


@dataclass(frozen=True)
class Microscope:
    """How a microscope shows cells: their diameter in pixels, and between what its other traits vary from well to well.

    background : photoelectrons of the empty medium. haze : share of light from other planes. psf : blur of the lens.
    """

    cell_px: float = 40.0
    background: tuple[float, float] = (10.0, 30.0)
    haze: tuple[float, float] = (0.08, 0.2)
    psf: tuple[float, float] = (0.9, 1.3)


USUAL = Microscope()
# Another objective, another camera, a thicker plate: what a model that learned from the usual one has not seen.
FOREIGN = Microscope(cell_px=26.0, background=(60.0, 90.0), haze=(0.3, 0.45), psf=(1.6, 2.0))


def simulate_plate(
    out: Path,
    seed: int = 0,
    rows: int = 8,
    columns: int = 12,
    field_px: int = 448,
    fields_per_well: int = 1,
    progress: Callable[[int, int], None] | None = None,
    *,
    plate: str = "demo01",
    odd: Mapping[str, str] | None = None,
    well_spread: float = 0.15,
    microscope: Microscope = USUAL,
    threads: int = 2,
) -> PlateTruth:
    """Draw a translocation plate and write `out/images`, `out/platemap.csv` and `out/truth`.

    Equal arguments give equal pixels and tables. Every field has a generator of its own, named
    by the seed and its row, column and site: what happens to one well changes no other.

    Parameters
    ----------
    out : folder to write to; made when it is missing.
    seed : whole number >= 0.
    rows, columns : size of the plate, see `layout.plan_plate`.
    field_px : side of a field in pixels; a cell is about 40.
    fields_per_well : images per well.
    progress : called with the number of finished wells and of all wells.
    plate : the plate's name; letters, digits and hyphens.
    odd : what is wrong with which wells ({"C05": "empty"}); None chooses by the seed, {} is a clean plate.
    well_spread : standard deviation of a well's log-odds of responding round the curve.
    microscope : how it shows cells.
    threads : wells drawn at the same time; does not change the result.

    Raises
    ------
    SettingsError : a size, plate name, well or oddity that does not exist.
    """
    plan = plan_plate(rows, columns)
    _check(plate, seed, field_px, fields_per_well, plan, odd or {})
    plate_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PLATE_STREAM,)))
    light = _lamp(plate_rng, field_px)
    odd = choose_odd_wells(plate_rng, plan) if odd is None else odd
    for folder in ("images", "truth/masks", "truth/nuclei"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    draw = partial(
        _make_well,
        out=out,
        plate=plate,
        seed=seed,
        light=light,
        fields=fields_per_well,
        spread=well_spread,
        microscope=microscope,
    )
    made = _make_all([partial(draw, planned, odd.get(planned.well, "")) for planned in plan], threads, progress)
    wells = tuple(truth for truth, _ in made)
    write_tables(out, plate, plan, wells, [row for _, rows_of_cells in made for row in rows_of_cells])
    names = [image_name(plate, p.well, site) for p in plan for site in range(1, fields_per_well + 1)]
    return PlateTruth(out, plate, tuple(out / "images" / name for name in names), wells)


def image_name(plate: str, well: str, site: int) -> str:
    """File name of a field; sites count from 1."""
    return f"{plate}_{well}_s{site}.ome.tif"


def _check(plate: str, seed: int, px: int, fields: int, plan: tuple[PlannedWell, ...], odd: Mapping[str, str]) -> None:
    if not plate or not all(c.isascii() and (c.isalnum() or c == "-") for c in plate):
        cause = f"plate name {plate!r} cannot stand in a file name"
        raise SettingsError(cause, "Use letters, digits and hyphens.")
    if fields < 1 or px < SMALLEST_FIELD_PX or seed < 0:
        cause = f"cannot draw {fields} fields of {px} px per well with seed {seed}"
        raise SettingsError(cause, f"Use 1 field or more, {SMALLEST_FIELD_PX} px or more, and a seed of 0 or more.")
    unknown = set(odd) - {planned.well for planned in plan} | set(odd.values()) - set(ODD_KINDS)
    if unknown:
        cause = f"no such well or oddity: {', '.join(sorted(unknown))}"
        raise SettingsError(cause, f"Name wells of the plate, and one of {', '.join(ODD_KINDS)}.")


def _make_all(
    jobs: list[Callable[[], MadeWell]], threads: int, progress: Callable[[int, int], None] | None
) -> list[MadeWell]:
    """Do the jobs side by side; the results come in the order of the jobs."""
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        try:
            waiting = [pool.submit(job) for job in jobs]
            for count, future in enumerate(as_completed(waiting), start=1):
                future.result()
                if progress is not None:
                    progress(count, len(jobs))
        finally:  # after an error or Ctrl-C, what has not begun never does
            pool.shutdown(wait=False, cancel_futures=True)
    return [future.result() for future in waiting]


def _lamp(rng: np.random.Generator, px: int) -> NDArray[np.float32]:
    """Uneven light of one microscope: the same for all wells, (2, H, W)."""
    planes = [
        uneven_light(px, fall=rng.uniform(0.15, 0.35), centre=tuple(rng.uniform(0.4, 0.6, 2)), tilt=tuple(tilt))
        for tilt in rng.uniform(-0.15, 0.15, (len(CHANNELS), 2))
    ]
    return np.stack(planes)


def _make_well(
    planned: PlannedWell,
    odd: str,
    *,
    out: Path,
    plate: str,
    seed: int,
    light: NDArray[np.float32],
    fields: int,
    spread: float,
    microscope: Microscope,
) -> MadeWell:
    key = (_WELL_STREAM, planned.row, planned.column)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    share = jittered_share(rng, planned.share, spread)
    px = light.shape[-1]
    density = rng.uniform(0.35, 1.0)  # crowding: from a thin lawn to a sheet without gaps
    own = microscope
    settings = {"clumping": rng.uniform(0.3, 1.0), "background": rng.uniform(*own.background)}
    settings |= {"haze": rng.uniform(*own.haze), "cell_px": own.cell_px}
    per_cell = FULL_FIELD_PX_PER_CELL * own.cell_px / USUAL.cell_px
    n_cells = 0 if odd == "empty" else round(density * (px / per_cell) ** 2)
    settings |= {"psf_px": 6.0 if odd == "out of focus" else rng.uniform(*own.psf)}
    settings |= {"debris": (60.0 if odd == "debris" else 3.0) * (px / 448) ** 2}
    drawn: list[Cell] = []
    table: list[dict[str, object]] = []
    for site in range(1, fields + 1):
        field_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*key, site)))
        field = draw_field(field_rng, share, n_cells, px=px, light=light, **settings)
        name = image_name(plate, planned.well, site)
        _write_field(out, name, field, is_cut=odd == "corrupt file")
        drawn += field.cells
        table += [cell_row(name, cell) for cell in field.cells]
    return well_truth(planned, odd, share, drawn), table


def _write_field(out: Path, name: str, field: DrawnField, *, is_cut: bool) -> None:
    image = out / "images" / name
    write_ome_tiff(image, field.pixels, channel_names=CHANNELS, pixel_um=PIXEL_UM)
    for folder, labels in (("masks", field.mask), ("nuclei", field.nuclei)):
        path = out / "truth" / folder / name
        write_ome_tiff(path, labels[None], channel_names=(folder,), pixel_um=PIXEL_UM, compression="zlib")
    if is_cut:  # as a copy that was broken off, within the first of the two planes
        whole = image.read_bytes()
        image.write_bytes(whole[: int(0.4 * len(whole))])
