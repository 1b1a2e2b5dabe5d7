"""What a page is made of: a score folder, its model's card and history, and the images, as far as they are there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bagscope.errors import BagscopeError, ModelError
from bagscope.files.run_names import CARD, CELLS, CROSS_FITTED, FAILURES, HISTORY, LEVELS, RUN
from bagscope.files.writer import read_json
from bagscope.tables.frames import read_csv, read_parquet
from bagscope.tables.table import Screen, make_screen, parse_screen

_LARGEST = 100_000_000
# Where a score folder does not say it; the default of the setting compute.io_timeout.
IO_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Findings:
    """A score folder as a page needs it; what is missing is None or empty, and said in `notes`.

    screen : the table that was scored, rows as in `images`. card, history : of the model.
    cross_fitted : wells of the training, each scored by a model that did not see it; None without `train --folds`.
    """

    folder: Path
    run: dict[str, Any]
    classes: tuple[str, ...]
    images: pd.DataFrame
    wells: pd.DataFrame
    treatments: pd.DataFrame
    failures: pd.DataFrame
    cells: pd.DataFrame
    screen: Screen | None
    card: dict[str, Any]
    history: pd.DataFrame | None
    model_folder: Path | None
    notes: tuple[str, ...]
    cross_fitted: pd.DataFrame | None = None

    @property
    def warnings(self) -> list[str]:
        """What was warned of, each once: of the training, confounding first, then of the scoring, then of this page."""
        trained = [f"In training: {text}" for text in self.card.get("training", {}).get("warnings", ())]
        return list(dict.fromkeys([*trained, *self.run.get("warnings", ()), *self.notes]))

    @property
    def io_timeout(self) -> float:
        """Seconds that reading one image may take, as it was set when the images were scored."""
        limit = self.run.get("settings", {}).get("compute", {}).get("io_timeout")
        return float(limit) if isinstance(limit, int | float) and limit > 0 else IO_TIMEOUT_S

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, as the model has them; numbers when nobody knows."""
        if self.card.get("channels"):
            return tuple(map(str, self.card["channels"]))
        return self.screen.channels if self.screen else ()


def read_findings(folder: Path) -> Findings:
    """Read a score folder and what it leads to.

    Raises
    ------
    ModelError : no finished scores there.
    """
    if not (folder / RUN).is_file():
        cause = "no finished scores there" if folder.is_dir() else "no such folder"
        fix = "Give the folder that `bagscope score ... -o SCORES` made; unfinished: add --resume there."
        raise ModelError(cause, fix, code="no_scores", file=folder)
    run = read_json(folder / RUN, _LARGEST)
    images, wells, treatments = (read_parquet(folder / f"{name}.parquet") for name in LEVELS)
    cells = read_parquet(folder / CELLS[0]) if (folder / CELLS[0]).is_file() else pd.DataFrame()
    notes: list[str] = []
    screen = _screen(run, images, notes)
    model, card, history = _model(run, notes)
    failures = read_csv(folder / FAILURES, numbers=["row"])
    classes = tuple(map(str, run.get("model", {}).get("classes", ())))
    held_out = model / CROSS_FITTED if model else None
    return Findings(
        folder,
        run,
        classes,
        images,
        wells,
        treatments,
        failures,
        cells,
        screen,
        card,
        history,
        model,
        tuple(notes),
        read_parquet(held_out / "wells.parquet") if held_out and (held_out / RUN).is_file() else None,
    )


def _screen(run: dict[str, Any], images: pd.DataFrame, notes: list[str]) -> Screen | None:
    """Find the images again: by the table that was scored, where it is unchanged, else by the rows themselves."""
    path = Path(str(run.get("table", "")))
    settings = run.get("settings", {}).get("table", {})
    if not path.name or not path.is_file():
        notes.append("The table that was scored is not there any more, so no image is shown.")
        return None
    if hashlib.sha256(path.read_bytes()).hexdigest() == run.get("table_sha256"):
        screen, _ = parse_screen(
            path,
            root=settings.get("root") or None,
            allow_outside=bool(settings.get("allow_outside")),
            well_free_text=bool(settings.get("well_free_text")),
        )
        if screen is not None and screen.rows["row"].tolist() == images["row"].tolist():
            return screen
    notes.append("The table has changed since it was scored; images are looked for by the names in the scores.")
    columns = [name for name in images.columns if name == "image" or name.startswith("image_")]
    try:
        screen, _ = make_screen(images[[*columns, "plate", "well", "site"]], settings.get("root") or path.parent)
    except BagscopeError:
        return None
    return screen if len(screen) == len(images) else None


def _model(run: dict[str, Any], notes: list[str]) -> tuple[Path | None, dict[str, Any], pd.DataFrame | None]:
    told = str(run.get("model", {}).get("folder", ""))
    folder = Path(told) if told else None
    if folder is None or not (folder / CARD).is_file():
        notes.append("The model's folder is not there any more: its history, curves and card are left out.")
        return None, {}, None
    card = read_json(folder / CARD, 2 * _LARGEST)
    if not isinstance(card, dict) or card.get("weights_sha256") != run.get("model", {}).get("weights_sha256"):
        notes.append(f"Another model lies in {folder} now: history, curves and card are left out.")
        return None, {}, None
    history = None
    if (folder / HISTORY).is_file():
        found = read_csv(folder / HISTORY, numbers=["step", "rate", "loss", "mil", "head", "validation_loss"])
        history = found if {"step", "loss"} <= set(found.columns) else None
    return folder, card, history
