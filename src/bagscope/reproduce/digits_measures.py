"""What a model of cluttered digits can do: whole fields, single digits, places, and fields in which nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bagscope.images.predict import Model
from bagscope.ops import intensity
from bagscope.ops.metrics import auc
from bagscope.ops.regions import iou
from bagscope.synth.digits import CLASSES, FIELD_PX, Clutter, Glyphs, single_crop

CROPS_PER_PASS = 200


def image_measures(model: Model, fields: Sequence[Clutter]) -> dict[str, float]:
    """Count fields that are called another class than they are, by the last layer and by the pooled bags.

    `none` counts as a class of the last layer where the model has one. `mil_loss` is the mean binary cross-entropy.
    """
    by_layer = by_bag = 0
    losses = []
    for one in fields:
        said = model.predict(one.pixels[None])
        by_layer += _largest(said.probability) != one.label
        by_bag += _largest(said.mil_probability) != one.label
        right = [p if name == one.label else 1 - p for name, p in said.mil_probability.items()]
        losses.append(-np.log(np.clip(right, 1e-12, 1)).sum())
    return {"image_errors": by_layer, "image_errors_mil": by_bag, "mil_loss": float(np.mean(losses))}


def _largest(probability: Mapping[str, float]) -> str:
    return max(probability, key=probability.__getitem__)


def crop_measures(model: Model, glyphs: Glyphs, per_digit: int, rng: np.random.Generator) -> dict[str, float]:
    """Judge single digits in black crops of 64 pixels, as cells are judged, and as whole images are (`_field`).

    Right is a digit whose class has the largest probability. `zero_crop_probability` : mean over zeros of the largest.
    """
    crops = {d: np.stack([single_crop(rng, g)[None] for g in glyphs.of(d)[:per_digit]]) for d in range(10)}
    values: dict[str, float] = {}
    net: Any = model.network
    kinds = {"": net.cell_maps} | ({} if net.cells is None else {"_field": net.maps})
    for suffix, maps in kinds.items():
        said = {d: crop_logits(model, maps, x) for d, x in crops.items()}
        right = [float((said[int(name)].argmax(1) == k).mean()) for k, name in enumerate(CLASSES)]
        values[f"crop_accuracy{suffix}"] = float(np.mean(right))
        values[f"crop_accuracy_worst_class{suffix}"] = min(right)
        values[f"zero_crop_probability{suffix}"] = float((1 / (1 + np.exp(-said[0].max(1)))).mean())
        if not suffix:
            values |= {f"crop_accuracy:{name}": one for name, one in zip(CLASSES, right, strict=True)}
    return values


@torch.inference_mode()
def crop_logits(model: Model, maps: Callable[[Tensor], Tensor], crops: np.ndarray) -> np.ndarray:
    """Return the logits (N, K) of crops (N, 1, 64, 64), each the window of one thing."""
    learned = model.card.intensity
    known = intensity.Intensity(learned.dark, learned.background, learned.spread)
    x = intensity.apply(torch.from_numpy(crops).to(model.device), known)
    said = [maps(part)[:, :, 0, 0].double() for part in x.split(CROPS_PER_PASS)]
    return torch.cat(said).cpu().numpy()


def probe_measures(model: Model, zeros: Sequence[Clutter]) -> dict[str, float]:
    """Return the largest `mil_probability` of a blank image and of fields of zeros, and of the rarest classes there."""
    blank = model.predict(np.zeros((1, FIELD_PX, FIELD_PX), np.uint8)).mil_probability
    said = [model.predict(one.pixels[None]).mil_probability for one in zeros]
    return {
        "blank_max_probability": max(blank.values()),
        "zeros_max_probability": max(max(one.values()) for one in said),
        "zeros_probability_1_or_2": max(max(one["1"], one["2"]) for one in said),
    }


def place_measures(model: Model, random: Sequence[Clutter], spaced: Sequence[Clutter]) -> dict[str, float]:
    """Say how well the pixels and the single digits of each field's class are found, with the class known.

    IoU per field with the pixels of the class's digits brighter than 64, averaged per class and then over classes.
    `detection_auc` : of the largest value that the smoothed map takes on each digit, digits of the class against
    zeros, within all fields of a class.
    """
    found: dict[str, dict[str, list[float]]] = {"segment_iou": {}, "segment_iou_map_only": {}, "segment_iou_spaced": {}}
    strongest: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for one in random:
        said = model.predict(one.pixels[None])
        truth = one.mask(int(one.label))
        for name, brightness in (("segment_iou", True), ("segment_iou_map_only", False)):
            found[name].setdefault(one.label, []).append(iou(said.region(one.label, brightness=brightness), truth))
        on_digits = one.strongest(said.speaks(one.label))
        strongest.setdefault(one.label, []).append((on_digits, one.digits == int(one.label)))
    for one in spaced:
        region = model.predict(one.pixels[None]).region(one.label)
        found["segment_iou_spaced"].setdefault(one.label, []).append(iou(region, one.mask(int(one.label))))
    values = {name: float(np.mean([np.mean(v) for v in by.values()])) for name, by in found.items()}
    areas = {}
    for label, pairs in strongest.items():
        score, own = (np.concatenate(part) for part in ([s for s, _ in pairs], [o for _, o in pairs]))
        areas[label] = auc(score, own)
    values |= {"detection_auc": float(np.mean(list(areas.values()))), "detection_auc_worst_class": min(areas.values())}
    return values | {f"segment_iou:{label}": float(np.mean(v)) for label, v in found["segment_iou"].items()}


def threshold_measures(model: Model) -> dict[str, float]:
    """Return the learned b of each class."""
    learned = model.card.thresholds
    return {} if learned is None else {f"b:{name}": b for name, b in zip(model.classes, learned, strict=True)}
