"""How wells of BBBC013 are called by models that learned from its control wells alone, and what doses do.

The plate holds U2OS cells whose FKHR-GFP moves into the nucleus, dose series of two compounds, and
controls. Models learn from the controls of every second row and are judged on the other rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bagscope import __version__
from bagscope.api import train
from bagscope.classical.translocation import THRESHOLD
from bagscope.engine.events import Events
from bagscope.engine.score_folder import read_scores
from bagscope.files.folder import claimed
from bagscope.files.reader import open_image
from bagscope.files.writer import write_atomic
from bagscope.images.predict import Model
from bagscope.importers import import_screen
from bagscope.ops.doseresponse import DoseResponse, fit_dose_response
from bagscope.ops.metrics import z_prime
from bagscope.report.figures import DoseSeries, dose_response_figure
from bagscope.reproduce.bbbc013_cells import (
    Reference,
    averaged_measures,
    cell_measures,
    classical_reference,
    contained,
    reference_measures,
)
from bagscope.reproduce.ledger import RESULTS, RUNS, TABLE, Ledger
from bagscope.reproduce.order import Order
from bagscope.reproduce.probes import background_level, blank_patches, flat_field, noise_field
from bagscope.tables.frames import parquet_bytes, read_parquet
from bagscope.tables.table import Screen

SOURCE = "the Broad Bioimage Benchmark Collection, https://bbbc.broadinstitute.org/BBBC013"
SETTINGS = {"default/ACEG": "ACEG", "default/BDFH": "BDFH"}
SEEDS = 5
QUICK_STEPS = 30
SCORE = "probability:positive"
MIL = "mil_probability:positive"
PICTURE = "dose_response.png"
CLASSICAL, TOGETHER = "classical", "mean_of_models"
PATCH_PX = 64
NOISE_FIELDS = 3
_MINUTES_PER_RUN = 1.6  # two cores; only told, never relied on
TEXT = """Models learn from the control wells of rows {rows} each, and are judged on the wells of
the other rows, which they have not seen: `control_wells_wrong` counts held-out control wells whose call is not their
label (`unsure` counts as wrong), `zprime_well` is the Z'-factor of their `mil_probability:positive`. EC50s come from
`probability:positive` of the held-out wells by a four-parameter fit, with a 95 % interval (wild bootstrap over
wells): wortmannin in nM, LY294002 in uM. Probes, of which the largest `mil_probability` is given: a blank field
(black, and at background level), fields of background noise alone, and patches of {patch} px of held-out wells in
which neither channel shows foreground.

Cells: no model has seen a label of a cell. They are held against the classical pipeline (setting `classical`: nuclei
by thresholds, ratio of the protein in the nucleus and the ring round it, positive above {threshold}), on all wells of
the other rows, every nucleus once. `zprime_share` is the Z'-factor of the share of positive cells of held-out
controls; `rms_share` the root mean square, over the doses of both compounds, of the difference to the classical
share; `ec50_share` the EC50 of the shares with its interval, and `ec50_share_contains_classical` 1 where the interval
holds the classical EC50, `ec50_share_dose_steps_off` how many twofold steps off it is. `cell_balanced_accuracy`
judges cells where the classical pipeline's gate passes, by the larger probability and no abstention; `_dose_3_5` in
the wells of the third to fifth dose; `_called` only cells of which a class has a probability of one half, whose share
is `cell_called_share`. `region_iou` is the mean overlap of cell regions with the union of both channels' log-Otsu
masks, `region_iou_map_only` that of the Jacobian maps above their limit on blank pixels. `mean_of_models` are the
shares of each well averaged over all models that have not seen its row.

Nothing was chosen on held-out wells, but for one thing that has to be said: mixtures of cells in the second training
were tried because shares per dose of a first version scattered from seed to seed; how to mix was then chosen on
simulated cells.

![Score of held-out wells against dose, mean over seeds](dose_response.png)

Made by `bagscope reproduce bbbc013{options}` with bagscope {version}, seeds {seeds}.
Data: {source}."""


@dataclass(frozen=True)
class _Plate:
    """The plate, and which of its rows a setting trains on."""

    screen: Screen

    def half(self, rows: str, *, inside: bool) -> Screen:
        """Return the wells of these rows, or of all others."""
        letters = self.screen.rows["well"].str[0]
        return self.screen.take((letters.isin(list(rows)) == inside).to_numpy())

    def controls(self, rows: str) -> Screen:
        """Return the labelled wells of these rows."""
        half = self.half(rows, inside=True)
        return half.take((half.rows["label"] != "").to_numpy())


def reproduce(order: Order, events: Events) -> Path:
    """Run the experiment; see `run_experiment`."""
    learned_from = _Plate(import_screen("bbbc013", order.folder(order.data, SOURCE)))
    judged_on = (
        _Plate(import_screen("bbbc013", order.folder(order.test_data, SOURCE))) if order.test_data else learned_from
    )
    seeds = range(1 if order.quick else order.seeds or SEEDS)
    settings = order.settings([_named(name, order.quick) for name in SETTINGS])
    ledger = Ledger(order.out, order.name, order.protocol())
    with claimed(order.out, (RUNS, RESULTS, TABLE, PICTURE), finished=TABLE, resume=True):
        reference = _reference(judged_on, ledger, events)
        runs = {(setting, seed): ledger.find(setting, seed) for setting in settings for seed in seeds}
        missing = [key for key, found in runs.items() if found is None]
        minutes = _MINUTES_PER_RUN * len(missing) * (0.5 if order.quick else 1)
        events.say(
            f"bbbc013: {len(runs)} runs ({', '.join(settings)}; seeds {len(seeds)}), {len(missing)} still to do, "
            f"about {minutes:.0f} minutes on two quiet cores; results go to {order.out}"
        )

        def measure(setting: str, seed: int) -> dict[str, float]:
            return _measure(learned_from, judged_on, reference, setting, seed, ledger, order, events)

        runs |= ledger.complete(missing, measure, events)
        done = {key: found for key, found in runs.items() if found is not None}
        write_atomic(order.out / PICTURE, _picture(ledger, done))
        done[TOGETHER, 0] = averaged_measures(
            [read_scores(ledger.place(*key) / "scores").wells for key in runs], reference
        )
        done[CLASSICAL, 0] = reference_measures(reference)
        ledger.write(done, _text(order, len(seeds)))
    return order.out


def _named(setting: str, quick: bool) -> str:
    return setting.replace("default/", "quick/") if quick else setting


def _text(order: Order, seeds: int) -> str:
    options = " --quick" if order.quick else ""
    return TEXT.format(
        rows="A, C, E, G, and of B, D, F, H",
        patch=PATCH_PX,
        threshold=THRESHOLD,
        options=options,
        version=__version__,
        seeds=f"0 to {seeds - 1}",
        source=SOURCE,
    )


def _reference(plate: _Plate, ledger: Ledger, events: Events) -> Reference:
    """Run the classical pipeline, or take what it said before of the same plate."""
    place = ledger.place(CLASSICAL, 0)
    files = [place / f"{name}.parquet" for name in ("cells", "wells")]
    if ledger.find(CLASSICAL, 0) is not None and all(file.is_file() for file in files):
        return Reference(*map(read_parquet, files))
    events.say("classical reference: nuclei and their rings in 96 wells, half a minute")
    found = classical_reference(plate.screen)
    for file, table in zip(files, (found.cells, found.wells), strict=True):
        write_atomic(file, parquet_bytes(table))
    ledger.keep(CLASSICAL, 0, reference_measures(found))
    return found


def _measure(
    learned_from: _Plate,
    judged_on: _Plate,
    reference: Reference,
    setting: str,
    seed: int,
    ledger: Ledger,
    order: Order,
    events: Events,
) -> dict[str, float]:
    """Train on the controls of some rows, and measure on the wells of the others."""
    rows, place = SETTINGS[setting.replace("quick/", "default/")], ledger.place(setting, seed)
    steps = QUICK_STEPS if order.quick else None
    controls, held_out = learned_from.controls(rows), judged_on.half(rows, inside=False)
    began = time.monotonic()
    model = train(
        controls,
        place / "model",
        seed=seed,
        steps=steps,
        device=order.device,
        threads=order.threads,
        overwrite=(place / "model").exists(),
        events=events,
    )
    seconds = time.monotonic() - began
    scores = model.score(
        held_out,
        place / "scores",
        cells="own",
        masks=True,
        device=order.device,
        threads=order.threads,
        overwrite=(place / "scores").exists(),
        events=events,
    )
    cells = cell_measures(model, scores, held_out, reference)
    cells |= contained(cells, reference_measures(reference))
    measured = {"train_seconds": seconds} | well_measures(scores.wells) | cells
    return measured | probe_measures(model, controls, held_out, seed)


def well_measures(wells: pd.DataFrame) -> dict[str, float]:
    """Judge scored wells by their labels and doses.

    Parameters
    ----------
    wells : of a score folder, with `label`, `treatment` and `concentration`.
    """
    labelled = wells[wells["label"] != ""]
    scored = {name: labelled.loc[labelled["label"] == name, MIL] for name in ("positive", "negative")}
    values = {
        "control_wells_wrong": float((labelled["call"] != labelled["label"]).sum()),
        "zprime_well": z_prime(scored["positive"], scored["negative"]),
    }
    for name, fit in dose_fits(wells).items():
        if fit.fitted:
            values |= {f"ec50:{name}": fit.ec50, f"ec50_low:{name}": fit.low, f"ec50_high:{name}": fit.high}
    return values


def series_of(wells: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the wells of each compound's dose series by the compound's name in the measures.

    Positive controls hold a compound at a dose of their own; they are not of the series.
    """
    series = wells[(wells["label"] != "positive") & wells[SCORE].notna()]
    names = {"Wortmannin": "wortmannin", "LY294002": "LY294002"}
    return {short: series[series["treatment"].str.lower() == long.lower()] for long, short in names.items()}


def dose_fits(wells: pd.DataFrame) -> dict[str, DoseResponse]:
    """Fit the score of each compound's wells to their doses."""
    return {name: fit_dose_response(w["concentration"], w[SCORE]) for name, w in series_of(wells).items() if len(w)}


def probe_measures(model: Model, controls: Screen, held_out: Screen, seed: int) -> dict[str, float]:
    """Ask a model about images in which no class applies."""
    fields = [_pixels(model, controls, at) for at in range(len(controls))]
    level, noise = background_level(fields)
    shape, dtype = fields[0].shape[1:], fields[0].dtype
    rng = np.random.default_rng([seed, 13])
    blank = [flat_field(np.zeros_like(level), shape, dtype), flat_field(level, shape, dtype)]
    noisy = [noise_field(rng, level, noise, shape, dtype) for _ in range(NOISE_FIELDS)]
    patches = [patch for at in range(len(held_out)) for patch in blank_patches(_pixels(model, held_out, at), PATCH_PX)]
    return {
        "blank_max_probability": _largest(model, blank),
        "noise_max_probability": _largest(model, noisy),
        "blank_patch_max_probability": _largest(model, patches),
        "blank_patches": float(len(patches)),
    }


def _largest(model: Model, images: list[np.ndarray]) -> float:
    found = [max(model.predict(image).mil_probability.values()) for image in images]
    return max(found, default=float("nan"))


def _pixels(model: Model, screen: Screen, at: int) -> np.ndarray:
    order = [screen.channels.index(name) for name in model.channels]
    files = screen.files(at)
    return np.concatenate([open_image(files[channel]) for channel in order])


def _picture(ledger: Ledger, runs: Mapping[tuple[str, int], object]) -> bytes:
    """Draw the doses of both halves, every well by the model that has not seen its row, over all seeds."""
    wells = [read_scores(ledger.place(*key) / "scores").wells for key in runs]
    together = pd.concat(wells, ignore_index=True)
    mean = together.groupby("well", as_index=False).agg({SCORE: "mean"})
    keys = together.drop_duplicates("well").drop(columns=SCORE)
    return dose_response_figure(
        [
            DoseSeries(name, str(w["unit"].iloc[0]), w["concentration"].to_numpy(), w[SCORE].to_numpy())
            for name, w in series_of(keys.merge(mean, on="well")).items()
            if len(w)
        ],
        "probability of positive, held-out wells",
    )
