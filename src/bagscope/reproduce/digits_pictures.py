"""Pictures of cluttered digits: pooling curves with what was learned (Fig. 2), a field with its maps (Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bagscope.images.predict import Model
from bagscope.report.figures import CurveSet, MapRow, map_figure, pooling_curves_figure
from bagscope.synth.digits import CLASSES, Clutter

STEEPNESS = 10.0
SHOWN = ("1", "5", "9")


def curves_picture(runs: Sequence[Mapping[str, float]]) -> bytes:
    """Draw Noisy-AND of every class with its learned b, over several runs."""
    learned = np.array([[values[f"b:{name}"] for name in CLASSES] for values in runs])
    shares = np.array([int(name) / 10 for name in CLASSES])
    return pooling_curves_figure(CurveSet(CLASSES, STEEPNESS, learned, shares))


def sample_picture(model: Model, fields: Sequence[Clutter]) -> bytes:
    """Draw some fields, where their class is, and what the model finds."""
    rows = []
    for one in fields:
        if one.label in SHOWN:
            said = model.predict(one.pixels[None])
            k = model.classes.index(one.label)
            rows.append(
                MapRow(
                    f"class {one.label}: {model.classes[k]} in {int(one.label) * 10} of 100 digits",
                    one.pixels,
                    {
                        "class map": np.asarray(said.class_maps[k]),
                        "what speaks for it": said.jacobian(one.label),
                        "pixels given to it": said.region(one.label),
                        "truth": one.mask(int(one.label)),
                    },
                )
            )
    return map_figure(rows)
