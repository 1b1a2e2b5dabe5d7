"""BBBC013: one plate of U2OS cells, FKHR-GFP moving into the nucleus (Broad Bioimage Benchmark Collection, v1)."""

from __future__ import annotations

import re
from pathlib import Path

from bagscope.errors import Problem, TableError, shown
from bagscope.importers.layout import Layout, image_files, no_images
from bagscope.tables.csvfile import parse_csv
from bagscope.tables.wells import normal_well

PLATE = "BBBC013"
CHANNELS = {"1": "image_gfp", "2": "image_dna"}
_NAME = re.compile(r"Channel([12])-(\d\d)-([A-H])-(\d\d)\.(png|bmp|tiff?)", re.IGNORECASE)
# Plate map as published with the set: doses from column 1 to 12; rows A-D wortmannin in nM, E-H LY294002 in uM.
# E12-H12 are negative controls in the original table, and "empty, no drug" in another listing of it.
_SERIES = {
    "ABCD": ("Wortmannin", "nM", "0 0 .98 1.95 3.91 7.81 15.63 31.25 62.5 125 250 150", (1, 2), 12),
    "EFGH": ("LY294002", "uM", "80 0 .31 .63 1.25 2.5 5 10 20 40 80 0", (2, 12), 1),
}
_POSITIVE_RANK = 10


def read_bbbc013(source: Path) -> Layout:
    """Take the plate's 96 fields from a folder with `ChannelN-NN-R-CC.(png|bmp|tif)`, flat or in `images/`.

    Only the controls are labelled, `positive` and `negative`. `treatment`, `concentration` and `unit` are
    those of the row's series (a negative control is its dose 0), `dose_rank` counts the doses. They
    come from `platemap.csv` where it lies beside the images, else from the published plate map.

    Raises
    ------
    TableError : no image of that name, a well without one of its channels, or a broken plate map.
    """
    wells: dict[str, dict[str, str]] = {}
    problems = []
    for file in image_files(source):
        match = _NAME.fullmatch(file.name)
        if match:
            well = f"{match[3].upper()}{match[4]}"
            column = CHANNELS[match[1]]
            way = file.relative_to(source).as_posix()
            first = wells.setdefault(well, {}).setdefault(column, way)
            if first != way:
                cause = f"well {well} has {column} twice: {shown(first)} and {shown(way)}"
                problems.append(Problem("refuse", "field_twice", cause, "Keep one set of images.", str(source)))
    if problems:
        raise TableError(problems)
    if not wells:
        raise no_images(source, "Channel1-01-A-01.png and so on")
    plan = _platemap(source / "platemap.csv") if (source / "platemap.csv").is_file() else _published()
    cells: dict[str, list[str]] = {name: [] for name in (*CHANNELS.values(), "plate", "well", "site")}
    for well in sorted(wells):
        for column in CHANNELS.values():
            cells[column].append(wells[well].get(column, ""))
        cells["plate"].append(PLATE)
        cells["well"].append(well)
        cells["site"].append("1")
        for name, value in plan.get(well, _nothing(plan)).items():
            cells.setdefault(name, []).append(value)
    return Layout(cells, source, problems)


def _nothing(plan: dict[str, dict[str, str]]) -> dict[str, str]:
    return dict.fromkeys(next(iter(plan.values())), "")


def _published() -> dict[str, dict[str, str]]:
    plan = {}
    for rows, (compound, unit, doses, negative, positive) in _SERIES.items():
        for number, row in enumerate(rows, start=1):
            rank = 0
            for column, dose in enumerate(doses.split(), start=1):
                role = "negative" if column in negative else "positive" if column == positive else ""
                rank += role == ""
                plan[f"{row}{column:02d}"] = {
                    "label": role,
                    "treatment": compound,
                    "concentration": dose,
                    "unit": unit,
                    "replicate": str(number),
                    "dose_rank": str({"negative": 0, "positive": _POSITIVE_RANK}.get(role, rank)),
                }
    return plan


def _platemap(path: Path) -> dict[str, dict[str, str]]:
    table = parse_csv(path.read_bytes(), str(path), required="well")
    needed = ("well", "role", "series", "dose", "dose_unit", "replicate", "dose_rank")
    missing = [name for name in needed if name not in table.header]
    if table.problems or missing:
        cause = f"no column {', '.join(map(shown, missing))}"
        raise TableError(table.problems or [Problem("refuse", "no_column", cause, "Restore the file.", str(path), 1)])
    units: dict[str, str] = {}
    records = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    for record in records:
        units.setdefault(record["series"], record["dose_unit"])
        units[record["series"]] = units[record["series"]] or record["dose_unit"]
    plan = {}
    for record, line in zip(records, table.lines, strict=True):
        well = normal_well(record["well"])
        if well is None:
            cause = f"{shown(record['well'])} names no well"
            raise TableError([Problem("refuse", "bad_well", cause, "Restore the file.", str(path), line, "well")])
        plan[well] = {
            "label": record["role"] if record["role"] in ("positive", "negative") else "",
            "treatment": record["series"],
            "concentration": record["dose"],
            "unit": units[record["series"]],
            "replicate": record["replicate"],
            "dose_rank": record["dose_rank"],
        }
    return plan
