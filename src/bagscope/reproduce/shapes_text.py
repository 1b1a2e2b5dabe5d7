"""What the shapes experiment says in words, and its table of methods."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bagscope import __version__
from bagscope.reproduce.ledger import by_data_set, key_lines
from bagscope.reproduce.order import Order

KINDS = ("default", "quick", "sparse", "dense", "morphometry", "boosting", "six")
_TITLES = {
    "adrenal28": "adrenal glands, 28^3",
    "adrenal64": "adrenal glands, 64^3",
    "nuclei": "nuclei of embryos",
    "nuclei_unit_volume": "the same at one volume",
    "simulated": "simulated nuclei",
    "simulated_blurred": "the same, blurred",
}
PROTOCOL = """{key}

Areas under the ROC curve with 95 % bootstrap intervals (over volumes, or over embryos); means over seeds, which deal
folds anew too. Only volumes that the same model judged are compared, since scores of two models have no common scale.

`adrenalN`: AdrenalMNIST3D at N^3, normal or hyperplasia, five-fold cross-validation on its training part. Donors are
unknown, so both glands of one may stand in two folds, which flatters all methods alike. Its validation part is judged
only when `--test-data` names it (`auc_test`). Rotations are small there: glands lie in a scanner's frame.
`nuclei`: label stacks of BBBC050, cut into nuclei (those at the border are dropped), embryos with at most 8 nuclei
against those with 17 and more, folds by embryo; `nuclei_unit_volume`: every nucleus brought to one volume.
`simulated`: 1,400 nuclei to learn from, 300 to be judged; populations of one volume, with few broad or many narrow
dents, holes and parts; `simulated_blurred`: blurred most along z, and with a noisy edge.

`default`: what `bagscope train --task volumes` makes. `sparse`: its network alone. `dense`: the same blocks on whole
grids, which its first layer halves; same grid, features, augmentation, views, steps and batches. `morphometry`:
logistic regression on all measures; `boosting`: gradient boosting on them; `six`: logistic regression on volume, area,
mean curvature, shape index, curvedness, fractal dimension. All are trained and judged on the same folds.
What share of the default the network and the measures have, and how views of glands are turned and shifted, was chosen
on this cross-validation of glands and of embryos' nuclei, which flatters `default` there a little; neither on simulated
nuclei nor on the validation part.
`train_seconds`: all folds of a set. `default_above` (and `above_six`, of the network): difference of two areas, and
its interval over the same draws.

`rotation_change`: mean change of the probability of 40 held-out shapes over 20 rotations, with the averaging over
views that gave the AUC; `_worst`: the largest single change. The points that fill a shape are turned about its middle
and fill the grid anew; its measures, and what is told of its points, are those of the solid and stay. Rotations are of
the range that the model was trained with (`_full`: over all rotations). Two harder tests describe and measure
everything anew, after 5 rotations: `_refilled` turns the mask's voxels by linear interpolation, which also smooths its
surface; `_redrawn` turns the true surface of a simulated nucleus, and draws it into voxels again.

Made by `bagscope reproduce shapes{options}` with bagscope {version}. By default it makes one run each of `adrenal28`,
`nuclei` and `simulated`, in about an hour on two cores. Other sets and the dense network (`--only default/adrenal64`,
`--only dense/adrenal28`) and second runs (`--seeds 2`) are made when they are asked for; what is in the same folder
goes into the same table.
Data: {sources}."""


def text(order: Order, done: Mapping[tuple[str, int], Mapping[str, float]], sources: Mapping[str, str]) -> str:
    """Return the protocol in words."""
    return PROTOCOL.format(
        key=key_table(done), options=order.options, version=__version__, sources="; ".join(sources.values())
    )


def key_table(done: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Return the areas of all methods, a row per set: mean over seeds, and the interval of the first."""
    sets = by_data_set(done)
    kinds = [kind for kind in KINDS if any(kind in row for row in sets.values())]
    lines = [f"| | {' | '.join(kinds)} | change by rotation |", "|" + "---|" * (2 + len(kinds))]
    for data_set, row in sets.items():
        cells = []
        for kind in kinds:
            runs = row.get(kind, [])
            if not runs:
                cells.append("")
                continue
            mean = np.mean([one["auc_cv"] for one in runs])
            cells.append(f"{mean:.3f} ({runs[0]['auc_cv_low']:.3f} to {runs[0]['auc_cv_high']:.3f})")
        own = row.get("default", row.get("quick", []))
        change = f"{np.mean([one['rotation_change'] for one in own]):.4f}" if own else ""
        lines.append(f"| {_TITLES.get(data_set, data_set)} | {' | '.join(cells)} | {change} |")
    return key_lines(lines)
