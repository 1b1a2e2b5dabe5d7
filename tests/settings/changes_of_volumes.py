"""For every setting of the task `volumes`, another value and the place where its effect shows."""

from effects import CHECK, PIXELS, SCORE, TRAIN, TRAIN_AND_SCORE, Change

MODEL = ("solids", {})
BASE = {
    "device": "cpu",
    "threads": 1,
    "steps": 2,
    "batch": 4,
    "network.cells": 12,
    "turns.views": 2,
    "training.check_every": 2,
    "training.save_every": 2,
    "measures.regularisation": 1,
    "split.validation": 0,
}


def on_solids(value, stage=TRAIN, screen="solids", given=None):
    return Change(value, stage, screen, given or {})


VALIDATED = {"split.validation": 0.3, "training.check_every": 2}
WELLS = {"bags.by": "well", "pooling": "noisy_and"}
FALLING = {"training.rate": 3.0, "split.validation": 0.3, "training.check_every": 1, "steps": 5}


def _of_labels(value, stage=TRAIN):
    return on_solids(value, stage, "labelled_solids" if stage == TRAIN else "one_labelled")


def _reading(stage):
    return {
        "table.root": on_solids("elsewhere", CHECK),
        "table.label_level": on_solids("image", CHECK, "solids_of_two_labels"),
        "table.allow_outside": on_solids(True, CHECK, "solids_outside"),
        "table.well_free_text": on_solids(True, CHECK, "solids_of_own_wells"),
        **{f"images.{name}": on_solids(value) for name, value in OF_IMAGES.items()},
        "cells.source": on_solids("own"),
        "cells.score": on_solids("map"),
        "cells.nuclei": on_solids("none"),
        "cells.masks": on_solids(True),
        "compute.device": on_solids("cuda:7"),
        "compute.precision": on_solids("bf16"),
        "compute.tile": on_solids(32),
        "volumes.content": _of_labels("mask", stage),
        "volumes.spacing": on_solids("3,1,1", CHECK, "solids_without_spacing", {"volumes.spacing": "2,1,1"}),
        "volumes.size": on_solids("unit", stage),
        "volumes.smoothing": on_solids(1.0, stage),
        "volumes.keep": on_solids("largest", stage, "solids_of_two_parts" if stage == TRAIN else "one_of_two_parts"),
        "volumes.border": _of_labels("keep", stage),
        "volumes.least_um3": _of_labels(40, stage),
        "volumes.most_um3": _of_labels(40, stage),
        "volumes.most_touching": _of_labels(0.01, stage),
        "volumes.max_voxels": on_solids(10, PIXELS),
        "volumes.channel": on_solids(1, CHECK, "stacks"),
        "volumes.array": on_solids("other", CHECK),
    }


OF_IMAGES = {
    "channels": ("dna",),
    "page": 1,
    "z": 1,
    "t": 1,
    "level": 1,
    "gray": True,
    "alpha": "drop",
    "nan": "mask",
    "sparse_as_zero": True,
    "pad": "reflect",
    "max_gb": 1.0,
    "pixel_um": 2.0,
    "rescale": True,
}

TRAINING = {
    **_reading(TRAIN),
    "table.max_missing": on_solids(0.5, CHECK, "solids_missing"),
    "table.force": on_solids(True),
    "calls.threshold": on_solids(1, TRAIN_AND_SCORE),
    "calls.confidence": on_solids(0.999, TRAIN_AND_SCORE),
    "seed": on_solids(1),
    "turns.range": on_solids("none"),
    "turns.sd": on_solids(0.5, given={"turns.range": "small"}),
    "turns.mirror": on_solids(False),
    "turns.scale": on_solids(0.3),
    "turns.shear": on_solids(0),
    "turns.views": on_solids(3, TRAIN_AND_SCORE),
    "split.by": on_solids("plate", CHECK, "solids_of_one_plate"),
    "split.validation": on_solids(0.3, screen="many_solids"),
    "network.name": on_solids("dense"),
    "network.cells": on_solids(10),
    "network.dropout": on_solids(0),
    "pooling.name": on_solids("max", screen="labelled_solids", given={"bags.by": "well"}),
    "pooling.a": on_solids(5, screen="labelled_solids", given=WELLS),
    "pooling.b": on_solids(0.3, screen="labelled_solids", given=WELLS),
    "pooling.r": on_solids(3, screen="labelled_solids", given={"bags.by": "well", "pooling": "lse"}),
    "bags.by": _of_labels("image"),
    "bags.size": on_solids(1, screen="labelled_solids", given={"bags.by": "image"}),
    "measures.use": on_solids("network", TRAIN_AND_SCORE),
    "measures.regularisation": on_solids(0.1),
    "training.steps": on_solids(3),
    "training.batch": on_solids(3),
    "training.rate": on_solids(0.02),
    "training.threshold_rate": on_solids(1, screen="labelled_solids", given=WELLS),
    "training.weight_decay": on_solids(0.3),
    "training.optimiser": on_solids("rmsprop"),
    "training.clip": on_solids(1e-4),
    "training.check_every": on_solids(1, screen="many_solids", given=VALIDATED),
    "training.patience": on_solids(1, screen="many_solids", given=FALLING),
    "training.save_every": on_solids(1),
    "training.smoothing": on_solids(0.3),
}

SCORING = {
    **_reading(SCORE),
    "table.max_missing": on_solids(0.5),
    "table.force": on_solids(True),
    "cells.maps": on_solids(True, SCORE, "one_solid"),
    "calls.threshold": on_solids(1, SCORE, "one_solid"),
    "calls.confidence": on_solids(0.999, SCORE, "one_solid"),
    "compute.max_failures": on_solids(1.0, SCORE, "solids_mostly_broken"),
    "seed": on_solids(2, SCORE, "solids_treated"),
    "turns.range": on_solids("none", SCORE, "one_solid"),
    "turns.sd": on_solids(0.5, SCORE, "one_solid", given={"turns.range": "small"}),
    "turns.mirror": on_solids(False, SCORE, "one_solid"),
    "turns.scale": on_solids(0.3),
    "turns.shear": on_solids(0),
    "turns.views": on_solids(3, SCORE, "one_solid"),
}
ELSEWHERE = {"compute.io_timeout", "compute.threads"}
OF_FOLDS = {"cells.maps", "split.folds", "compute.max_failures"}
