"""How the areas of mapped images stand in a terminal: a line per image, a column per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_MOST = 40
_UM2_PER_MM2 = 1e6


def area_table(images: pd.DataFrame, classes: Sequence[str]) -> str:
    """Tell per image the area of each class in mm2, um2 or px, its share, and the interval of the share."""
    name = next(column for column in images.columns if column == "image" or column.startswith("image_"))
    lines = [[name, *classes, "unsure"]]
    for _, row in images.head(_MOST).iterrows():
        lines.append([str(row[name]), *(_cell(row, one) for one in classes), _per_cent(row["unsure"])])
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    told = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    more = [f"… and {len(images) - _MOST:,} more"] if len(images) > _MOST else []
    return "\n".join([*told, *more])


def _cell(row: pd.Series, name: str) -> str:
    share = float(row[f"share:{name}"])
    if share != share:  # NaN: the image failed
        return "-"
    low, high = (row[f"share_{end}:{name}"] for end in ("low", "high"))
    interval = f" ({100 * low:.1f}-{100 * high:.1f})" if low == low else ""
    return f"{_area(row, name)}, {_per_cent(share)}{interval}"


def _area(row: pd.Series, name: str) -> str:
    um2 = float(row.get(f"area_um2:{name}", float("nan")))
    if um2 == um2:
        return f"{um2 / _UM2_PER_MM2:.3f} mm2" if um2 >= _UM2_PER_MM2 / 10 else f"{um2:,.0f} um2"
    return f"{float(row[f'area_px:{name}']):,.0f} px"


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %" if share == share else "-"
