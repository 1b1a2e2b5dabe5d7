"""How large a report is, and how long it takes to make one: of one plate, and of ten plates of 384 wells."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

import bagscope as bs
from bagscope.engine.model_folder import save_model
from bagscope.images.card import CellCard
from bagscope.images.task import build_network
from bagscope.settings.jobs import ImagesJob
from bagscope.tables.wells import well_name
from benchmarks.plates import card_of, screen_on_disk
from benchmarks.rows import Row
from benchmarks.sizes import Size

PLATE_ROWS, PLATE_COLUMNS = 16, 24
PLATE_WELLS = PLATE_ROWS * PLATE_COLUMNS


def report(size: Size, scratch: Path) -> list[Row]:
    """Megabytes of the page and seconds of making it, with cells and outlines; of a few fields, again and again."""
    table = screen_on_disk(scratch, size)
    cells = CellCard(nuclei="dna", background=1e-4, foreground=1e-2, coupling=1.0, blank_pixels=1)
    card = card_of(ImagesJob()).model_copy(update={"cells": cells})
    save_model(scratch / "model", build_network(card), card)
    model = bs.load(scratch / "model", device="cpu")
    scores = model.score(table, scratch / "scores", cells="own", masks=True)
    found = []
    for setting, wells in zip(("plate", "ten_plates"), size.wells, strict=True):
        many = repeated(scores.folder, table, scratch / f"page_{setting}", wells)
        began = time.monotonic()
        page = bs.report(many, scratch / f"{setting}.html", model=model)
        took = time.monotonic() - began
        megabytes = page.stat().st_size / 1e6
        print(f"  {wells} wells: {megabytes:.1f} MB in {took:.0f} s")
        found += [Row("report_mb", setting, megabytes), Row("report_seconds", setting, took)]
        # Playwright drives one browser to a thread, and whoever calls this may drive one already.
        with ThreadPoolExecutor(1) as apart:
            opened = apart.submit(opening_seconds, page).result()
        if opened is not None:
            print(f"  opens in {opened:.2f} s")
            found.append(Row("report_opens_seconds", setting, opened))
    return found


def opening_seconds(page: Path, rounds: int = 3) -> float | None:
    """Seconds from asking a browser for a page until it is loaded and drawn, the median; None without a browser."""
    program = shutil.which("chromium")
    if program is None:
        return None
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        taken = []
        for _ in range(rounds):
            tab = browser.new_page()
            began = time.monotonic()
            tab.goto(page.absolute().as_uri(), wait_until="load")
            tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
            taken.append(time.monotonic() - began)
            tab.close()
        browser.close()
    return float(np.median(taken))


def repeated(scores: Path, table: Path, out: Path, wells: int) -> Path:
    """Copy a score folder with its wells repeated until there are so many, on plates of 384."""
    shutil.copytree(scores, out)
    images, of_wells = (pd.read_parquet(scores / f"{name}.parquet") for name in ("images", "wells"))
    take = np.arange(wells) % len(images)
    places = np.arange(wells)
    plates = [f"P{at // PLATE_WELLS + 1:02d}" for at in places]
    names = [well_name(at % PLATE_WELLS // PLATE_COLUMNS + 1, at % PLATE_COLUMNS + 1) for at in places]
    told = {"plate": plates, "well": names}
    many = images.iloc[take].reset_index(drop=True).assign(**told, row=places + 2)
    many.to_parquet(out / "images.parquet")
    of_wells.iloc[take].reset_index(drop=True).assign(**told).to_parquet(out / "wells.parquet")
    cells = pd.read_parquet(scores / "cells.parquet")
    by_row = {int(row): part for row, part in cells.groupby("row")}
    parts = [
        by_row[int(images["row"].iloc[at])].assign(plate=plates[k], well=names[k], row=k + 2)
        for k, at in enumerate(take)
        if int(images["row"].iloc[at]) in by_row
    ]
    pd.concat(parts, ignore_index=True).to_parquet(out / "cells.parquet")
    larger = table.parent / f"{out.name}.csv"
    columns = [name for name in ("image", "plate", "well", "site", "label") if name in many]
    many[columns].to_csv(larger, index=False)
    run = json.loads((out / "run.json").read_text())
    run |= {"table": str(larger), "table_sha256": hashlib.sha256(larger.read_bytes()).hexdigest()}
    (out / "run.json").write_text(json.dumps(run))
    return out
