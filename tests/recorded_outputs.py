"""Record every number that the product writes for fixed specimens and seeds, and compare two records.

A refactoring must not change a result. Record the outputs of the old and of the new code on the same machine, then
compare them. The script uses the public interface alone, so it runs with any layout of the package:

    python tests/recorded_outputs.py record WORK before.json      # with the old code on PYTHONPATH
    python tests/recorded_outputs.py record WORK2 after.json      # with the new code
    python tests/recorded_outputs.py compare before.json after.json

Numbers (weights, tables, masks, maps, the report's figures, `reproduce --quick`) must be equal to the last bit; texts
may differ and are listed. `--only images,blocks` records some groups; `--data DIR` adds the experiments on real images.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import html
import json
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import tifffile

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

# Where and when a result was made is no result.
VOLATILE = {
    "created",
    "time",
    "seconds",
    "version",
    "torch",
    "python",
    "platform",
    "bagscope",
    "folder",
    "table",
    "command",
}
TIMES = re.compile(r"second|memory|_gb$|_ms$")
SETTINGS = {"device": "cpu", "threads": 1}
QUICK = {
    "cell_diameter": "off",
    "steps": 4,
    "batch": 4,
    "training.crop": 63,
    "training.check_every": 2,
    "training.save_every": 2,
} | SETTINGS


def digest(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def of_column(values: pd.Series) -> tuple[str, str]:
    """Return the kind ('number' or 'text') of a table's column and the digest of its values."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return "number", digest(np.ascontiguousarray(values.to_numpy(np.float64, na_value=np.nan)).tobytes())
    return "text", digest("\n".join(map(str, values.tolist())).encode())


def numeric(texts: pd.Series) -> pd.Series:
    """Return a column of texts as numbers where all of them are."""
    try:
        return pd.to_numeric(texts)
    except ValueError:
        return texts


# Columns of text that hold results, not words for a reader.
RESULTS = {"call", "split", "label", "plate", "well", "class", "code", "stage", "group", "cell", "site"}


def of_table(name: str, frame: pd.DataFrame) -> dict[str, str]:
    """Return an entry per column."""
    entries = {f"number {name} shape": str(frame.shape)}
    for column in frame.columns:
        if TIMES.search(str(column)):
            continue
        kind, value = of_column(frame[column])
        kind = "number" if column in RESULTS else kind
        entries[f"{kind} {name} [{column}]"] = value
    return entries


def of_json(name: str, value: object, path: str = "") -> dict[str, str]:
    """Return an entry per leaf; numbers and truth values are results, texts are texts."""
    if isinstance(value, dict):
        entries = {}
        for key, inner in value.items():
            if key not in VOLATILE:
                entries |= of_json(name, inner, f"{path}.{key}")
        return entries
    if isinstance(value, list):
        if value and all(isinstance(item, int | float) for item in value):
            return {f"number {name}{path}": digest(json.dumps(value).encode())}
        entries = {}
        for i, inner in enumerate(value):
            entries |= of_json(name, inner, f"{path}[{i}]")
        return entries
    kind = "number" if isinstance(value, int | float) or value is None else "text"
    # Digests of files and weights are results; fingerprints of plans depend on names of settings alone.
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16,64}", value):
        kind = "number"
    return {f"{kind} {name}{path}": json.dumps(value)}


def of_page(name: str, text: str) -> dict[str, str]:
    """Return the numbers of a page in their order, its pictures and its words."""
    pictures = re.findall(r"data:image/\w+;base64,[A-Za-z0-9+/=]+", text)
    text = re.sub(r"data:[\w/;,+.-]+base64,[A-Za-z0-9+/=]+", " ", text)
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.S)
    words = html.unescape(re.sub(r"<[^>]*>", " ", text))
    words = re.sub(r"\S*(?:/tmp|/work|/home)\S*", " ", words)
    words = re.sub(r"\d+(?:\.\d+)? (?:s|seconds|minutes)\b|\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?", " ", words)
    numbers = re.findall(r"(?<![\w.])[-−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?%?", words)
    points = re.findall(r'\b(?:d|points|cx|cy|x|y|width|height)="[^"]*"', text)
    return {
        f"number {name} figures": digest(" ".join(numbers).encode()),
        f"number {name} pictures": digest("\n".join(pictures).encode()),
        f"number {name} drawings": digest("\n".join(points).encode()),
        f"text {name} words": digest(" ".join(words.split()).encode()),
    }


def of_file(name: str, path: Path) -> dict[str, str]:
    """Return the entries of one file of an output folder."""
    kind = path.suffix
    if kind == ".parquet":
        return of_table(name, pd.read_parquet(path))
    if kind == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
        frame = pd.DataFrame(rows[1:], columns=rows[0]) if rows else pd.DataFrame()
        return of_table(name, pd.DataFrame({column: numeric(frame[column]) for column in frame.columns}))
    if kind in (".json", ".geojson"):
        return of_json(name, json.loads(path.read_text("utf-8")))
    if kind in (".tif", ".tiff"):
        pixels = tifffile.imread(path)
        return {f"number {name}": f"{pixels.dtype} {pixels.shape} {digest(np.ascontiguousarray(pixels).tobytes())}"}
    if kind == ".html":
        return of_page(name, path.read_text("utf-8"))
    if kind == ".safetensors":
        from safetensors.numpy import load_file

        weights = load_file(path)
        return {f"number {name} {key}": digest(weights[key].tobytes()) for key in sorted(weights)}
    if kind in (".md", ".txt", ".toml"):
        return {f"text {name}": digest(path.read_bytes())}
    return {f"number {name}": digest(path.read_bytes())}


def of_folder(name: str, folder: Path, skip: tuple[str, ...] = ("parts", "resume")) -> dict[str, str]:
    """Return the entries of all files of an output folder."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not set(parts) & set(skip) and not parts[-1].startswith("."):
            entries |= of_file(f"{name}/{'/'.join(parts)}", path)
    return entries


def of_arrays(name: str, **arrays: np.ndarray) -> dict[str, str]:
    """Return an entry per array."""
    return {
        f"number {name} {key}": f"{value.shape} {digest(np.ascontiguousarray(value).tobytes())}"
        for key, value in arrays.items()
    }


def record_images(work: Path) -> dict[str, str]:
    """Record training with every kind of pooling and bag, folds, cells, masks and maps on toy screens."""
    import bagscope as bs
    import toys

    table = toys.toy(work / "toy")
    entries = {}
    runs = {
        "default": {"folds": 2},
        "lse": {"pooling": "lse", "images.pad": "reflect", "split.validation": 0.25},
        "attention": {"pooling": "attention", "seed": 3},
        "parts": {"self_training.cells": "parts", "self_training.steps": 3, "self_training.rounds": 2, "steps": 6},
        "rmsprop": {"training.optimiser": "rmsprop", "training.rate": 1e-3, "network.batch_norm": False},
    }
    for run, choices in runs.items():
        model = bs.train(table, work / run, **{**QUICK, **choices})
        entries |= of_folder(f"images/{run}", work / run)
        scores = model.score(table, work / f"{run}_scores", cells="own", masks=True, maps=True, **SETTINGS)
        entries |= of_folder(f"images/{run}_scores", scores.folder)
        bs.report(scores.folder, work / f"{run}.html")
        entries |= of_file(f"images/{run}.html", work / f"{run}.html")
    several = toys.toy(work / "several", classes=("filled", "ring", "none"), fields=2, wells_per_class=4)
    model = bs.train(several, work / "none", **{**QUICK, "cell_diameter": "24"})
    plain = model.score(several, work / "none_scores", cells="own", cell_score="map", **SETTINGS)
    entries |= of_folder("images/none", work / "none") | of_folder("images/none_scores", plain.folder)
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 900, (2, 150, 170)).astype(np.uint16)
    prediction = model.predict(pixels)
    entries |= of_arrays(
        "images/prediction",
        maps=prediction.class_maps,
        jacobian=prediction.jacobian("filled"),
        probability=np.array([*prediction.probability.values(), *prediction.mil_probability.values()]),
        activations=model.activations(pixels, "conv2"),
        filters=model.filters(),
    )
    segments = prediction.segment()
    entries |= of_arrays("images/segments", **{k: v for k, v in vars(segments).items() if isinstance(v, np.ndarray)})
    return entries


def record_blocks(work: Path) -> dict[str, str]:
    """Record training by counts, published recipe and baselines, maps, outlines and evaluation on toy tissue."""
    import bagscope as bs
    from tissue import TINY, screen_of

    folder = work / "tissue"
    screen_of(folder)
    given = TINY | {"proportions": str(folder / "p.csv")}
    runs = {
        "default": {"second.steps": 6, "maps.threshold": "auto"},
        "table": {"maps.threshold": "table", "seed": 2},
        "published": {"blocks.recipe": "published", "second.steps": 0},
        "llp": {"blocks.method": "llp", "blocks.grouping": "intra"},
        "qr": {"blocks.method": "qr"},
        "hard": {"blocks.method": "hard", "view.context": 0},
        "soft": {"blocks.method": "soft", "view.groups": 2},
        "pixels": {"blocks.method": "pixels", "blocks.pixels": "truth"},
    }
    entries = {}
    for run, choices in runs.items():
        model = bs.train(folder / "s.csv", work / run, **{**given, **choices})
        entries |= of_folder(f"blocks/{run}", work / run)
        options = {"blocks.truth": "truth", "maps.tile": 64, "images.pixel_um": 0.5, **SETTINGS}
        scores = model.score(folder / "s.csv", work / f"{run}_scores", **options)
        entries |= of_folder(f"blocks/{run}_scores", scores.folder)
        bs.report(scores.folder, work / f"{run}.html")
        entries |= of_file(f"blocks/{run}.html", work / f"{run}.html")
    pixels = tifffile.imread(folder / "i3.tif")[None]
    return entries | of_arrays("blocks/prediction", maps=model.predict(pixels))


def record_volumes(work: Path) -> dict[str, str]:
    """Record training with single shapes and bags, folds, the dense network, tables and maps on drawn solids."""
    import bagscope as bs
    from solids_drawn import QUICK as few
    from solids_drawn import screen_of

    # OME-TIFF files hold a random identifier; a fixed one keeps the signatures of the specimens equal.
    fixed = uuid.UUID(int=1)
    with mock.patch("uuid.uuid1", return_value=fixed), mock.patch("uuid.uuid4", return_value=fixed):
        table = screen_of(work / "solids")
        wells = screen_of(work / "wells", rows={at: {"well": f"A{at // 2 * 2 + at % 2 + 1:02d}"} for at in range(8)})
    runs = {
        "default": (table, {"folds": 2}),
        "dense": (table, {"network": "dense", "turns.range": "small", "pooling": "noisy_and"}),
        "unit": (table, {"volumes.size": "unit", "volumes.smoothing": 0.8, "seed": 1}),
        "bags": (wells, {"bags.by": "well", "pooling": "noisy_and", "split.validation": 0.3}),
    }
    entries = {}
    for run, (screen, choices) in runs.items():
        model = bs.train(screen, work / run, task="volumes", **{**few, **choices})
        entries |= of_folder(f"volumes/{run}", work / run)
        scores = model.score(screen, work / f"{run}_scores", threads=1, maps=True)
        entries |= of_folder(f"volumes/{run}_scores", scores.folder)
        bs.report(scores.folder, work / f"{run}.html")
        entries |= of_file(f"volumes/{run}.html", work / f"{run}.html")
    return entries


def run_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line with this Python."""
    command = [sys.executable, "-m", "bagscope", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def record_demo(work: Path) -> dict[str, str]:
    """Record the demo: its model, scores, comparison with the truth and report."""
    done = run_cli("demo", work / "demo", "--threads", 1, "--device", "cpu", "--seed", 0, "--json", "--overwrite")
    if done.returncode:
        raise SystemExit(done.stderr)
    entries = of_folder("demo", work / "demo", skip=("parts", "resume", "plate"))
    return entries | of_json("demo summary", json.loads(done.stdout.splitlines()[-1]))


def record_proportions(work: Path) -> dict[str, str]:
    """Record the sample of blocks, its form, and the proportion table that a filled form gives."""
    from tissue import screen_of

    folder = work / "tissue"
    screen_of(folder)
    entries = {}
    for command in (
        ("proportions", "sample", folder / "s.csv", "-o", work / "sample", "--per-class", 4, "--seed", 1),
        ("check", folder / "s.csv", "--task", "blocks", "--proportions", folder / "p.csv"),
    ):
        done = run_cli(*command)
        entries[f"number exit {command[0]}"] = str(done.returncode)
    return entries | of_folder("proportions", work / "sample")


def record_experiment(name: str, work: Path, data: Path) -> dict[str, str]:
    """Record the results of one experiment in its smoke run."""
    out = work / name
    done = run_cli("reproduce", name, "--quick", "--data", data, "-o", out, "--threads", 1, "--device", "cpu")
    if done.returncode:
        raise SystemExit(done.stderr)
    frame = pd.read_csv(out / "results.csv")
    frame = frame[~frame["measure"].astype(str).str.contains(TIMES)]
    keys = ["experiment", "measure", "setting", "seed"]
    return {
        f"number {'/'.join(map(str, key))}": repr(value)
        for *key, value in frame[[*keys, "value"]].itertuples(index=False)
    }


GROUPS = {
    "images": record_images,
    "blocks": record_blocks,
    "volumes": record_volumes,
    "proportions": record_proportions,
    "demo": record_demo,
}
EXPERIMENTS = ("bbbc013", "digits", "shapes", "superres")


def record(work: Path, only: list[str], data: Path | None) -> dict[str, str]:
    """Record the groups asked for; default: all, with the experiments where there is data."""
    entries = {}
    names = only or [*GROUPS, *(EXPERIMENTS if data else ())]
    for name in names:
        began = time.monotonic()
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        entries |= GROUPS[name](folder) if name in GROUPS else record_experiment(name, folder, data)
        sys.stderr.write(f"{name}: {len(entries)} entries, {time.monotonic() - began:.0f} s\n")
    return entries


def compare(before: dict[str, str], after: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the entries of numbers and of texts that are not in both records alike."""
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    numbers = [f"{key}: {before.get(key)} -> {after.get(key)}" for key in changed if key.startswith("number")]
    return numbers, [key for key in changed if not key.startswith("number")]


def main() -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    recorder = verbs.add_parser("record")
    recorder.add_argument("work", type=Path)
    recorder.add_argument("out", type=Path)
    recorder.add_argument("--only", default="")
    recorder.add_argument("--data", type=Path)
    comparer = verbs.add_parser("compare")
    comparer.add_argument("before", type=Path)
    comparer.add_argument("after", type=Path)
    comparer.add_argument("--only", default="")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    if given.verb == "record":
        entries = record(given.work, only, given.data)
        given.out.write_text(json.dumps(entries, indent=0, sort_keys=True), "utf-8")
        return 0
    before, after = (json.loads(path.read_text("utf-8")) for path in (given.before, given.after))
    if only:
        before, after = (
            {key: value for key, value in entries.items() if re.split(r"[ /.\[]", key)[1] in only}
            for entries in (before, after)
        )
    numbers, texts = compare(before, after)
    for line in (*numbers, *texts):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(numbers)} numbers and {len(texts)} texts of {len({**before, **after})} entries differ\n")
    return 1 if numbers else 0


if __name__ == "__main__":
    raise SystemExit(main())
