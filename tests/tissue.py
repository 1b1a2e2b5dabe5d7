"""Which toy tissue the tests of blocks work with: bright spots on dark ground, blocks of 16 px, and a tiny model."""

import csv

import numpy as np
import pandas as pd
import tifffile
from scipy import ndimage

import bagscope

EDGE = 16
# The least that learns a threshold.
TINY = {
    "task": "blocks",
    "device": "cpu",
    "threads": 1,
    "steps": 30,
    "batch": 2,
    "network.widths": (4, 8),
    "view.context": 48,
    "training.save_every": 10,
    "second.steps": 2,
    "maps.threshold": "largest",
}


def spots(seed, height=96, width=128):
    """Draw a truth, (H, W) bool."""
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), 5) > 0.03


def picture(truth, seed=0):
    """Draw grey values of a truth."""
    return np.clip(60 + 90 * truth + np.random.default_rng(seed).normal(0, 15, truth.shape), 0, 255).astype(np.uint8)


def shares(truth):
    """Share of each block, row by row."""
    h, w = (edge // EDGE for edge in truth.shape)
    return truth[: h * EDGE, : w * EDGE].reshape(h, EDGE, w, EDGE).mean((1, 3))


def screen_of(folder, rows=4, sizes=(), **columns):
    """Write images, boxes of blocks, truths and a table of shares; return the paths of the screen and of that table."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, every = [], []
    for at in range(rows):
        truth = spots(at, *(sizes[at] if at < len(sizes) else ()))
        tifffile.imwrite(folder / f"i{at}.tif", picture(truth, at), tile=(64, 64))
        tifffile.imwrite(folder / f"t{at}.tif", (truth + 1).astype(np.uint8))
        share = shares(truth)
        y, x = np.indices(share.shape) * EDGE
        name = np.where(share.ravel() > 0.4, "much", "little")
        boxes = {"x": x.ravel(), "y": y.ravel(), "size": EDGE, "class": name}
        pd.DataFrame(boxes).to_csv(folder / f"b{at}.csv", index=False)
        every.append(share.ravel())
        line = {
            "image": f"i{at}.tif",
            "coarse": f"b{at}.csv",
            "truth": f"t{at}.tif",
            "split": ["train", "test"][at > 1],
        }
        lines.append(line | {column: values[at] for column, values in columns.items()})
    pd.DataFrame(lines).to_csv(folder / "s.csv", index=False)
    told = np.concatenate(every)
    rows = []
    for name, own in (("little", told[told <= 0.4]), ("much", told[told > 0.4])):
        for fine, mean in (("ground", 1 - own.mean()), ("spot", own.mean())):
            rows.append((name, fine, mean, max(own.std(ddof=1), 0.02), len(own)))
    proportions(folder / "p.csv", rows)
    return folder / "s.csv", folder / "p.csv"


def proportions(path, rows):
    """Write a table of shares."""
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("coarse", "fine", "mean", "sd", "n"), *rows])


def trained(folder, out, **choices):
    """Train the tiny model on a screen in a folder."""
    given = TINY | {"proportions": str(folder / "p.csv")} | choices
    return bagscope.train(folder / "s.csv", out, **given)
