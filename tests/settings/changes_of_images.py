"""For every setting of the task `images`, another value and the place where its effect shows."""

from effects import CHECK, PIXELS, SCORE, SELF_TRAIN, TRAIN, TRAIN_AND_SCORE, Change

MODEL = ("toy", {})
BASE = {
    "cell_diameter": "off",
    "device": "cpu",
    "threads": 1,
    "steps": 2,
    "batch": 4,
    "training.rate": 1e-3,
    "training.crop": 63,
    "training.check_every": 2,
    "training.save_every": 2,
    "self_training.steps": 0,
    "split.validation": 0,
}
# Every cell is labelled, for its class or for none.
SURE = {
    "network.bias": 0,
    "self_training.steps": 2,
    "self_training.windows": 8,
    "self_training.sure": 0.5,
    "self_training.rejected": 0.5,
}
VALIDATED = {"split.validation": 0.2}
FALLING = {**VALIDATED, "training.rate": 3.0, "training.check_every": 1, "steps": 4}

_READING = {
    "table.root": Change("elsewhere", CHECK),
    "table.label_level": Change("image", CHECK, "one_well_of_two_labels"),
    "table.allow_outside": Change(True, CHECK, "outside"),
    "table.well_free_text": Change(True, CHECK, "wells_of_own_names"),
    "images.channels": Change(("gfp",), TRAIN),
    "images.page": Change(1, CHECK),
    "images.z": Change(1, CHECK),
    "images.t": Change(1, CHECK),
    "images.level": Change(1, CHECK),
    "images.gray": Change(True, CHECK, "colour"),
    "images.alpha": Change("drop", PIXELS, "transparent"),
    "images.nan": Change("mask", PIXELS, "not_a_number"),
    "images.sparse_as_zero": Change(True, PIXELS, "left_out_strips"),
    "images.pad": Change("reflect", TRAIN, "small"),
    "images.max_gb": Change(1e-6, PIXELS),
    "images.pixel_um": Change(1.3, TRAIN, given={"cell_diameter": "20um"}),
    "compute.device": Change("cuda:7"),
}

TRAINING = {
    **_READING,
    "table.max_missing": Change(0.5, CHECK, "one_missing"),
    "table.force": Change(True, CHECK, "classes_of_two_file_types"),
    "images.rescale": Change(True),
    "cells.nuclei": Change("none", SELF_TRAIN, given=SURE),
    "calls.threshold": Change(0.99, TRAIN_AND_SCORE),
    "calls.confidence": Change(0.999, TRAIN_AND_SCORE),
    "compute.precision": Change("bf16", given={"compute.precision": "fp32"}),
    "seed": Change(1),
    "scale.cell_diameter": Change("30"),
    "scale.target_px": Change(40, given={"cell_diameter": "30"}),
    "split.by": Change("plate", CHECK),
    "split.validation": Change(0.2, screen="many_wells"),
    "network.name": Change("another"),
    "network.batch_norm": Change(False),
    "network.dropout_pool": Change(0.4),
    "network.dropout_last": Change(0.6),
    "network.bias": Change(-1.0),
    "pooling.name": Change("lse"),
    "pooling.a": Change(5),
    "pooling.b": Change(0.3),
    "pooling.r": Change(3, screen="wide", given={"pooling": "lse", "training.crop": 95}),
    "augment.dihedral": Change(False),
    "augment.gain": Change(0),
    "augment.scale": Change(0),
    "augment.background": Change(0.9),
    "training.steps": Change(3),
    "training.batch": Change(3),
    "training.rate": Change(0.01),
    "training.threshold_rate": Change(1),
    "training.weight_decay": Change(0.2),
    "training.optimiser": Change("rmsprop"),
    "training.clip": Change(1e-4),
    "training.check_every": Change(1, screen="many_wells", given=VALIDATED),
    "training.patience": Change(1, screen="many_wells", given=FALLING),
    "training.save_every": Change(1),
    "training.crop": Change(67),
    "self_training.cells": Change("parts", SELF_TRAIN, given=SURE),
    "self_training.within_label": Change(True, SELF_TRAIN, given=SURE),
    "self_training.rounds": Change(2, SELF_TRAIN, given=SURE | {"self_training.rate": 1e-6}),
    "self_training.fields": Change(3, SELF_TRAIN, given=SURE),
    "self_training.steps": Change(3, SELF_TRAIN, given=SURE),
    "self_training.windows": Change(6, SELF_TRAIN, given=SURE),
    "self_training.rate": Change(0.01, SELF_TRAIN, given=SURE),
    "self_training.sure": Change(0.55, SELF_TRAIN, given=SURE),
    "self_training.rejected": Change(0.45, SELF_TRAIN, given=SURE),
    "self_training.alone": Change(0, SELF_TRAIN, given=SURE),
    "self_training.mix": Change(0, SELF_TRAIN, given=SURE),
    "self_training.jitter": Change(0, SELF_TRAIN, given=SURE),
}

OWN = {"cells": "own"}
SCORING = {
    **_READING,
    "table.max_missing": Change(0.5),
    "table.force": Change(True, SCORE, "coarse_pixels"),
    "images.channels": Change(("gfp",), CHECK),
    "images.pad": Change("reflect", SCORE, "small"),
    "images.pixel_um": Change(3, CHECK),
    "images.rescale": Change(True, SCORE, "coarse_pixels", {"table.force": True}),
    "cells.source": Change("own", SCORE),
    "cells.score": Change("map", SCORE, given=OWN),
    "cells.nuclei": Change("none", SCORE, given=OWN),
    "cells.masks": Change(True, SCORE, given=OWN),
    "cells.maps": Change(True, SCORE),
    "calls.threshold": Change(0.99, SCORE),
    "calls.confidence": Change(0.999, SCORE),
    "compute.device": Change("cuda:7", SCORE),
    "compute.precision": Change("bf16", SCORE),
    "compute.max_failures": Change(1.0, SCORE, "mostly_broken"),
    "seed": Change(1, SCORE, "treated"),
}
# Seen by tests of their own.
ELSEWHERE = {"compute.io_timeout", "compute.threads", "compute.tile"}
OF_FOLDS = {"cells.source", "cells.score", "cells.masks", "cells.maps", "split.folds", "compute.max_failures"}
