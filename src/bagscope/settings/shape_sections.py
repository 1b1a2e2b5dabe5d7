"""Which choices there are for volumes: how they become shapes, how shapes are turned, what judges them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bagscope.settings.sections import Count, LoopSection, PoolingSection, Positive, Section, Share


def _spacing(text: str) -> str:
    parts = re.split(r"[,;]", text) if text else []
    if parts and (len(parts) != 3 or not all(re.fullmatch(r"\s*\d+(\.\d+)?\s*", p) and float(p) > 0 for p in parts)):
        message = f"'{text}' is no spacing: give three numbers of micrometres, z,y,x, such as 1.75,0.8,0.8"
        raise ValueError(message)
    return text


class VolumesSection(Section):
    """How volumes become shapes."""

    content: Literal["auto", "mask", "labels", "grey"] = Field(
        "auto",
        description="mask: all that is not 0 is one shape; labels: each number is one; grey: found by Otsu's threshold "
        "and watershed; auto: a mask where there are two values, else labels",
    )
    spacing: Annotated[str, AfterValidator(_spacing)] = Field(
        "", description="micrometres between voxels, z,y,x, for files that do not say; 1,1,1 to count in voxels"
    )
    size: Literal["absolute", "unit"] = Field(
        "absolute", description="absolute: sizes tell classes apart; unit: every shape is brought to one volume"
    )
    smoothing: Annotated[float, Field(ge=0, le=3)] = Field(
        0.0,
        description="sd, in voxels, of the filter that takes a surface's stairs off, at equal volume; 0: none",
    )
    keep: Literal["all", "largest"] = Field("all", description="which of a mask's separate parts are the shape")
    border: Literal["drop", "keep"] = Field("drop", description="shapes of labels that touch the volume's border")
    least_um3: float = Field(0, ge=0, description="volume below which a shape of labels is dropped")
    most_um3: float = Field(0, ge=0, description="volume above which a shape of labels is dropped; 0 = none")
    most_touching: Share = Field(1, description="share of its surface that touches others, above which it is dropped")
    max_voxels: Count = Field(20_000_000, description="voxels of a shape above which its row is listed as failed")
    channel: int = Field(0, ge=0, description="channel of a volume that has several, from 0")
    array: str = Field("", description="name of the array in a .npz file that has several")


class TurnsSection(Section):
    """How shapes may lie without changing their class."""

    range: Literal["full", "small", "none"] = Field(
        "full", description="full: any rotation; small: about the given pose, where a frame has a meaning; none"
    )
    sd: Positive = Field(0.1, description="small: standard deviation of the angle about each axis, in radians")
    mirror: bool = Field(True, description="mirror images are of the same class")
    scale: float = Field(0.0, ge=0, lt=1, description="half-range of the logarithm of the size, in training")
    shear: float = Field(0.05, ge=0, lt=1, description="sd of each entry of the shear, in training")
    views: Count = Field(20, description="rotations whose logits are averaged when a shape is judged")


class ShapeNetworkSection(Section):
    """The network that judges shapes."""

    name: str = Field("sparse", description="sparse, or dense: the same layers on whole grids")
    cells: Annotated[int, Field(ge=8, le=256)] = Field(
        32, description="cells of the grid across a large training shape; fewer where they would be finer than voxels"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.4, description="share of the description left out")


class ShapePoolingSection(PoolingSection):
    """From the shapes of a bag to one probability per class."""

    name: str = Field("mean", description="noisy_and, noisy_or, isr, gm, lse, mean or max; of a single shape all agree")


class BagsSection(Section):
    """Which shapes share one label."""

    by: Literal["shape", "image", "well", "group"] = Field(
        "shape", description="each shape has its label; or all shapes of an image, a well, a group (donor) have one"
    )
    size: Count = Field(16, description="shapes of a bag that a training step looks at, at most")


class MeasuresSection(Section):
    """The traditional measures beside the network."""

    use: Literal["both", "network", "measures"] = Field(
        "both",
        description="what scores rest on: half the network's log-odds and a quarter of the measures', or one of them",
    )
    regularisation: float = Field(
        0, ge=0, description="C of the logistic regression on the measures; 0 = by cross-validation"
    )


class ShapeTrainingSection(LoopSection):
    """The optimiser's run on shapes."""

    steps: Count = Field(420, description="optimiser steps")
    batch: Annotated[int, Field(ge=2)] = Field(32, description="bags per step")
    rate: Positive = Field(4e-3, description="highest learning rate of the one-cycle schedule")
    weight_decay: float = Field(0.02, ge=0, description="decay of the weights (AdamW)")
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.1, description="share of a label that is given to all classes alike"
    )
    save_every: Count = Field(100, description="steps between states that --resume can go on from")
    patience: Count = Field(1000, description="looks without improvement before training stops early")
