"""What the digits experiment says in words, and its table of poolings beside the published one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bagscope import __version__
from bagscope.reproduce import digits_protocol as protocol
from bagscope.reproduce.ledger import key_lines
from bagscope.reproduce.order import Order

# By these marks other pages of the docs show a table alone.
CURVE_START, CURVE_END = "<!-- --8<-- [start:curve] -->", "<!-- --8<-- [end:curve] -->"
POOLING_START, POOLING_END = "<!-- --8<-- [start:poolings] -->", "<!-- --8<-- [end:poolings] -->"
# Kraus, Ba and Frey 2016: mean average precision over images of yeast (table 1), accuracy of images of BBBC021
# (table 3).
PUBLISHED = {
    "noisy_and_5": (0.921, 0.915),
    "noisy_and_7.5": (0.920, 0.915),
    "noisy_and_10": (0.950, 0.958),
    "lse_1": (0.925, 0.915),
    "lse_2.5": (0.925, 0.888),
    "lse_5": (0.933, 0.940),
    "gm_1": (0.915, 0.924),
    "gm_2.5": (0.888, 0.924),
    "gm_5": (0.405, 0.651),
    "max": (0.125, 0.452),
}
# What is asked of a model first: name in the table, measure.
KEYS = (
    ("errors of {fields}", "image_errors"),
    ("segments, IoU", "segment_iou"),
    ("without overlap", "segment_iou_spaced"),
    ("map alone", "segment_iou_map_only"),
    ("detection AUC", "detection_auc"),
    ("worst class", "detection_auc_worst_class"),
    ("single digits", "crop_accuracy"),
    ("worst class ", "crop_accuracy_worst_class"),
    ("single zeros", "zero_crop_probability"),
    ("blank", "blank_max_probability"),
    ("fields of zeros", "zeros_max_probability"),
)
PROTOCOL = """{keys}

Fields of 512x512 black pixels hold 100 handwritten digits at random places; a field of class d has 10 d
digits of d, the rest are zeros (Kraus, Ba and Frey 2016). Models learn from {per_class} fields of each class with the
field's label alone, and are judged on {test} fields of each class, drawn from digits that no training field holds.

`default/setN`: Noisy-AND with a = 10; {negatives} fields of zeros alone, labelled `none`, are added to the training
set, and a second training follows on single digits that stand alone, by the network's own calls and the field's label.
`paper/setN`: the published design, without fields of zeros. The others: other poolings on set 1, with fields of
zeros and without the second training, at the learning rate and start that made the fewest errors on a set apart
(`--only tuning`); `curve_N`: N training fields of each class, and N of zeros.

`image_errors`: fields of {fields} whose most probable class by the last layer is wrong (`_mil`: by the pooled bags).
`segment_iou`: overlap of the pixels given to a field's class with the pixels of its digits (brighter than 64), the
mean of each class's fields and then of nine classes; the class is known, the map is held against half of its own Otsu
threshold, and pixels count that are brighter than half of the way to the middle of grey values; `_map_only` does
without grey values, `_spaced` is of fields whose digits do not overlap. `detection_auc`: how well the largest value of
the smoothed map on a digit tells digits of the class from zeros. `crop_accuracy`: single digits in black crops of 64
pixels, by the network that judges cells (`_field`: by the one that judges fields). `zero_crop_probability`: mean over
single zeros of the largest `mil_probability`; `blank_max_probability` and `zeros_max_probability`: the largest of a
black field, and of {zeros} fields of zeros; `zeros_probability_1_or_2`: of classes 1 and 2 there. `b:d`: the learned
share of class d.

Every rule was chosen on sets that are not reported: they are drawn from the last 10,000 digits of MNIST's training
part.

![Pooling curves with the learned shares](pooling_curves.png)

![Fields, maps, and the pixels that are given to the class](sample.png)

{curve}

{poolings}

Made by `bagscope reproduce digits{options}` with bagscope {version}, seeds {seeds}.
Data: {source}."""


def text(order: Order, done: Mapping[tuple[str, int], Mapping[str, float]], source: str) -> str:
    """Return the protocol in words."""
    options = order.options
    if not options and max((seed for name, seed in done if not name.startswith("default/")), default=0):
        options = "`, then `bagscope reproduce digits --seeds 3"
    last: dict[str, int] = {}
    for name, seed in done:
        key = "the default" if name.split("/")[0] in ("default", "quick") else "the others"
        last[key] = max(seed, last.get(key, 0))
    said = ", ".join(f"0 to {seed} of {key}" if seed else f"0 of {key}" for key, seed in last.items())
    return PROTOCOL.format(
        per_class=protocol.PER_CLASS,
        test=protocol.TEST_PER_CLASS,
        negatives=protocol.NEGATIVES,
        fields=9 * protocol.TEST_PER_CLASS,
        zeros=protocol.TEST_ZEROS,
        keys=key_table(done),
        curve=curve_table(done),
        poolings=pooling_table(done),
        options=options,
        version=__version__,
        seeds=said,
        source=source,
    )


def key_table(done: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Return what is asked first: mean over all runs of the default and of the paper's design, and the worst run."""
    fields = 9 * protocol.TEST_PER_CLASS
    lines = [
        f"| | {' | '.join(name.format(fields=fields).strip() for name, _ in KEYS)} |",
        "|" + "---|" * (1 + len(KEYS)),
    ]
    for group, told in (("default", "bagscope"), ("quick", "bagscope, a few steps"), ("paper", "the paper's design")):
        runs = [values for (name, _), values in done.items() if name.split("/")[0] == group]
        if not runs:
            continue
        cells = []
        for _, measure in KEYS:
            found = [values[measure] for values in runs if measure in values]
            least_is_worst = "iou" in measure or "auc" in measure or "accuracy" in measure
            worst = min(found) if least_is_worst else max(found)
            digits = ".1f" if measure == "image_errors" else ".3f"
            cells.append(f"{np.mean(found):{digits}} ({worst:{'.0f' if digits == '.1f' else '.3f'}})")
        lines.append(f"| {told}, {len(runs)} runs | {' | '.join(cells)} |")
    return f"{key_lines(lines)}\n\nMeans over runs, in brackets the worst run."


def curve_table(done: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Return the errors for few training fields of each class."""
    found: dict[int, list[float]] = {}
    for (name, _), values in done.items():
        if name.startswith("curve_") or name == "default/set1":
            found.setdefault(int(values["fields_per_class"]), []).append(values["image_errors"])
    if len(found) < 2:
        return ""
    lines = ["| training fields of each class | errors of 90, each run |", "|---|---|"]
    lines += [f"| {count} | {', '.join(f'{one:.0f}' for one in errors)} |" for count, errors in sorted(found.items())]
    return "\n".join([CURVE_START, *lines, CURVE_END])


def pooling_table(done: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Return the poolings in the order of their errors, then of single digits, beside what was published of them."""
    runs: dict[str, list[Mapping[str, float]]] = {}
    for (name, _), values in done.items():
        key = "noisy_and_10" if name == "default/set1" else name
        if key in protocol.POOLINGS:
            runs.setdefault(key, []).append(values)
    if len(runs) < 2:
        return ""

    def mean(name: str, measure: str) -> float:
        # Ours is compared by the network that judges fields: the others have no second one.
        own = f"{measure}_field"
        return float(np.mean([values.get(own, values[measure]) for values in runs[name]]))

    lines = [
        POOLING_START,
        "| pooling | errors of 90, each run | single digits | blank | fields of zeros | yeast, image mAP "
        "| BBBC021, image accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(runs, key=lambda name: (mean(name, "image_errors"), -mean(name, "crop_accuracy"))):
        yeast, drugs = PUBLISHED.get(name, ("", ""))
        each = ", ".join(f"{values['image_errors']:.0f}" for values in runs[name])
        told = [f"{mean(name, m):.3f}" for m in ("crop_accuracy", "blank_max_probability", "zeros_max_probability")]
        lines.append(f"| {name} | {each} | {' | '.join(told)} | {yeast} | {drugs} |")
    return (
        "\n".join([*lines, POOLING_END])
        + "\n\n"
        + (
            "Single digits: by the network that judges fields. The last two columns are those of Kraus, Ba and Frey "
            "(2016), tables 1 and 3."
        )
    )
