"""Which well of the simulated plate holds what, and what share of its cells responds there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscope.errors import SettingsError

NEGATIVE_SHARE = 0.03  # controls of real plates are never pure: a few cells respond to nothing,
POSITIVE_SHARE = 0.95  # and a few never respond
CONTROL_COLUMNS = 4
ROW_LETTERS = "ABCDEFGHIJKLMNOP"
ODD_KINDS = ("empty", "out of focus", "corrupt file", "debris")


@dataclass(frozen=True)
class Treatment:
    """A compound and its true curve: the share of cells that respond at a concentration."""

    name: str
    unit: str
    top_dose: float
    ec50: float
    hill: float
    bottom: float = NEGATIVE_SHARE
    top: float = POSITIVE_SHARE

    def share(self, concentration: float) -> float:
        """Hill's curve: `bottom` at dose 0, half way at `ec50`, `top` in the limit."""
        return self.bottom + (self.top - self.bottom) * hill_curve(concentration, self.ec50, self.hill)


COMPOUNDS = (
    Treatment("compound A", "nM", top_dose=300.0, ec50=8.0, hill=1.2),
    Treatment("compound B", "uM", top_dose=100.0, ec50=2.5, hill=1.8),
)


@dataclass(frozen=True)
class PlannedWell:
    """One well before anything is drawn: what is in it, and the share that the curve asks for."""

    well: str
    row: int
    column: int
    label: str  # "" = a dose well, not for training
    treatment: str
    concentration: float | None
    unit: str
    replicate: int
    share: float


def hill_curve(concentration: float, ec50: float, hill: float) -> float:
    """Share of the full effect at a concentration >= 0; 0 at 0, 1/2 at `ec50`, never falling."""
    if concentration < 0 or ec50 <= 0 or hill <= 0:
        cause = f"no curve for concentration {concentration}, ec50 {ec50}, hill {hill}"
        raise SettingsError(cause, "Use a concentration >= 0, and ec50 and hill > 0.")
    if concentration == 0:
        return 0.0
    return 1.0 / (1.0 + (ec50 / concentration) ** hill)


def doses(top_dose: float, count: int) -> tuple[float, ...]:
    """`count` concentrations in half-decade steps (1, 3, 10, 30, ...), rising to `top_dose`."""
    lead = top_dose / 10.0 ** np.floor(np.log10(top_dose))
    steps = np.arange(count)[::-1]
    # 3 and 10/3 alternate, so that labels stay the round numbers people pipette.
    factors = np.array([10.0 ** (s // 2) * ((3.0 if lead >= 3 else 10.0 / 3.0) if s % 2 else 1.0) for s in steps])
    return tuple(float(f"{value:.6g}") for value in top_dose / factors)


def well_name(row: int, column: int) -> str:
    """Name a well by its row and column, both counted from 0: (0, 0) is A01."""
    return f"{ROW_LETTERS[row]}{column + 1:02d}"


def plan_plate(rows: int = 8, columns: int = 12) -> tuple[PlannedWell, ...]:
    """All wells of the plate in reading order.

    The two outermost columns on each side hold controls, `- + + -` in the upper half and `+ - - +`
    in the lower half, so that neither the row nor the column alone tells a control's class. The
    upper half of the columns between is a dose series of compound A, the lower half of compound B;
    rows are replicates.

    Parameters
    ----------
    rows : 2 to 16.
    columns : 5 to 24.

    Raises
    ------
    SettingsError : no such plate.
    """
    if not 2 <= rows <= len(ROW_LETTERS) or not CONTROL_COLUMNS < columns <= 24:
        cause = f"cannot lay out a plate of {rows} rows and {columns} columns"
        raise SettingsError(cause, "Use 2 to 16 rows and 5 to 24 columns.")
    return tuple(_plan_well(row, column, rows, columns) for row in range(rows) for column in range(columns))


def choose_odd_wells(rng: np.random.Generator, plan: tuple[PlannedWell, ...]) -> dict[str, str]:
    """Which wells go wrong, and how: a dose well of its own per kind, at most one per dose.

    Controls are left whole, because a plate with a spoilt control is repeated in practice, and
    every dose keeps its other replicates. On small plates the last kinds find no place.
    """
    free = [planned for planned in plan if not planned.label]
    odd: dict[str, str] = {}
    for kind in ODD_KINDS:
        if not free:
            break
        chosen = free[int(rng.integers(len(free)))]
        odd[chosen.well] = kind
        free = [p for p in free if (p.treatment, p.concentration) != (chosen.treatment, chosen.concentration)]
    return odd


def jittered_share(rng: np.random.Generator, share: float, spread: float) -> float:
    """Move a share by N(0, spread) on the scale of log-odds: the share of one well."""
    log_odds = np.log(share / (1.0 - share)) + spread * rng.standard_normal()
    return float(1.0 / (1.0 + np.exp(-log_odds)))


def _plan_well(row: int, column: int, rows: int, columns: int) -> PlannedWell:
    is_upper = row < (rows + 1) // 2
    replicate = row + 1 if is_upper else row - (rows + 1) // 2 + 1
    name = well_name(row, column)
    if 2 <= column < columns - 2:
        compound = COMPOUNDS[0 if is_upper else 1]
        dose = doses(compound.top_dose, columns - CONTROL_COLUMNS)[column - 2]
        share = compound.share(dose)
        return PlannedWell(name, row, column, "", compound.name, dose, compound.unit, replicate, share)
    is_inner = column in (1, columns - 2)
    if is_inner == is_upper:
        return PlannedWell(name, row, column, "positive", "reference", 1.0, "uM", row + 1, POSITIVE_SHARE)
    return PlannedWell(name, row, column, "negative", "vehicle", None, "", row + 1, NEGATIVE_SHARE)


def curve_table(compounds: tuple[Treatment, ...] = COMPOUNDS) -> list[dict[str, object]]:
    """List the true curves, one row per compound, in the words of `truth/treatments.csv`."""
    return [
        {"treatment": c.name, "unit": c.unit, "ec50": c.ec50, "hill": c.hill, "bottom": c.bottom, "top": c.top}
        for c in compounds
    ]
