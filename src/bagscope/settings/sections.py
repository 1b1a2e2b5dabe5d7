"""Which choices there are: one frozen class per stage, every default stated once, here."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """The choices of one stage; unknown keys are refused, values never change once checked, numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse True where a number is meant, which Python would take for 1."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind is not bool:
            message = f"{value} is no number and no text"
            raise ValueError(message)
        return value


class TableSection(Section):
    """How the screen table is read."""

    root: str = Field("", description="folder the image paths are relative to; default: the table's own")
    label_level: Literal["well", "image"] = Field("well", description="one label per well, or per image")
    allow_outside: bool = Field(False, description="allow relative paths that leave the folder")
    well_free_text: bool = Field(False, description="take well names as they are")
    max_missing: Share = Field(0, description="share of rows whose files may be missing when training")
    force: bool = Field(False, description="train although the file type alone tells the class")


def _names(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class ImagesSection(Section):
    """How image files become arrays."""

    channels: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (), description="channels to use, by name, in this order"
    )
    page: int | None = Field(None, ge=0, description="page of a stack, from 0")
    z: int | Literal["max", "mid"] | None = Field(None, description="plane of a z-stack: number, max or mid")
    t: int | None = Field(None, ge=0, description="time point, from 0")
    level: int = Field(0, ge=0, description="level of a pyramid, 0 = full resolution")
    gray: bool = Field(False, description="take an RGB image for one grey channel")
    alpha: Literal["refuse", "drop"] = Field("refuse", description="what to do with a varying alpha channel")
    nan: Literal["refuse", "mask"] = Field("refuse", description="mask: fill NaN and infinity with the median")
    sparse_as_zero: bool = Field(False, description="read tiles that a sparse TIFF leaves out as zeros")
    pad: Literal["none", "reflect", "zero"] = Field(
        "none", description="enlarge images that are too small; not for blocks"
    )
    max_gb: float = Field(0, ge=0, description="largest decoded image; 0 = a quarter of the free memory")
    pixel_um: float = Field(0, ge=0, description="micrometres per pixel; 0 = as the files say")
    rescale: bool = Field(
        False, description="scoring: bring images of another pixel size to the model's; not for blocks"
    )


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _diameter(text: str) -> str:
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(px|um|µm|μm)?", text)
    if text in ("auto", "off") or (number and float(number[1]) > 0):
        return text
    message = f"'{text}' is no cell diameter: give pixels (40), micrometres (20um), auto or off"
    raise ValueError(message)


class ScaleSection(Section):
    """How large a cell is in the network's eyes."""

    cell_diameter: Annotated[str, BeforeValidator(_as_text), AfterValidator(_diameter)] = Field(
        "auto", description="diameter of a cell: 40 (pixels), 20um, auto (estimated) or off (no rescaling)"
    )
    target_px: Positive = Field(56, description="diameter of a cell after rescaling, in pixels")


class SplitSection(Section):
    """Which rows train, which watch."""

    by: str = Field("", description="column whose groups are never cut: plate, or a column of your own")
    validation: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="share of groups kept for validation")
    folds: Annotated[int, Field(ge=0)] = Field(0, description="cross-fitted scores from this many folds; 0 = none")


class NetworkSection(Section):
    """The network that turns images into class maps."""

    name: str = Field("kraus", description="network by name")
    batch_norm: bool = Field(True, description="normalise after each hidden convolution")
    dropout_pool: Annotated[float, Field(ge=0, lt=1)] = Field(0, description="dropout after each max pooling")
    dropout_last: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="dropout before the last layer")
    bias: float = Field(-3, description="start of the class maps' logits")


class PoolingSection(Section):
    """From a map's elements to one probability per class."""

    name: str = Field("noisy_and", description="noisy_and, noisy_or, isr, gm, lse, mean, max or attention")
    a: Positive = Field(10, description="noisy_and: steepness")
    b: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="noisy_and: share at the middle, at the start")
    r: Positive = Field(1, description="gm, lse: sharpness")


class AugmentSection(Section):
    """What a crop may look like without changing its label."""

    dihedral: bool = Field(True, description="turns by 90 degrees and mirrorings")
    gain: float = Field(0.35, ge=0, description="sd of the logarithm of each channel's gain")
    scale: float = Field(0.2, ge=0, lt=1, description="half-range of the logarithm of the scale")
    background: Share = Field(0.2, description="share of crops made of background alone, labelled none")


class LoopSection(Section):
    """A run of the optimiser, whatever is learned."""

    steps: Count = Field(120, description="optimiser steps")
    batch: Annotated[int, Field(ge=2)] = Field(16, description="samples per step")
    rate: Positive = Field(5e-3, description="highest learning rate of the one-cycle schedule")
    threshold_rate: Positive = Field(10, description="learning rate of the pooling's b, times the others'")
    weight_decay: float = Field(0, ge=0, description="decay of the weights (AdamW)")
    optimiser: Literal["adam", "rmsprop"] = Field("adam", description="adam (AdamW), or rmsprop at a constant rate")
    clip: Positive = Field(10, description="largest norm of the gradient")
    check_every: Count = Field(20, description="steps between looks at the validation part")
    patience: Count = Field(4, description="looks without improvement before training stops early")
    save_every: Count = Field(20, description="steps between states that --resume can go on from")


class TrainingSection(LoopSection):
    """The optimiser's run."""

    batch: Annotated[int, Field(ge=2)] = Field(16, description="crops per step")
    crop: Count = Field(191, description="edge of a crop in rescaled pixels; smaller images are taken whole")


class CellsSection(Section):
    """Whether and how single cells are found and judged."""

    source: str = Field("none", description="none, own (own segments, or those of column mask) or a file image,y,x")
    score: Literal["window", "map"] = Field("window", description="judge a cell by its window or by the class map")
    nuclei: str = Field("auto", description="channel that shows nuclei; auto: the one whose name says so; or none")
    masks: bool = Field(False, description="write the cells of every field as a label image")
    maps: bool = Field(False, description="write every field's maps: which pixels speak for a class, and which class")


class SelfTrainingSection(Section):
    """A second training on single cells that the network is sure of."""

    cells: Literal["nuclei", "parts"] = Field(
        "nuclei", description="nuclei (needs a channel that shows them), or bright parts of the image that stand alone"
    )
    within_label: bool = Field(
        False, description="take a cell for one of its image's label or of none, never of another class"
    )
    rounds: Count = Field(1, description="times that the cells are looked at anew and learned from")
    fields: Count = Field(64, description="training images whose cells are looked at, at most")
    steps: Annotated[int, Field(ge=0)] = Field(80, description="optimiser steps; 0 = no second training")
    windows: Annotated[int, Field(ge=2)] = Field(96, description="windows of cells per step")
    rate: Positive = Field(1e-3, description="highest learning rate of the one-cycle schedule")
    sure: Share = Field(0.9, description="probability above which a cell is surely of a class")
    rejected: Share = Field(0.1, description="probability below which it is surely not")
    alone: Share = Field(0.5, description="share of windows in which other cells are blanked out")
    mix: Share = Field(1, description="share of windows that are mixtures of two cells")
    jitter: float = Field(3, ge=0, description="sd of a window's shift, in rescaled pixels")


class CallsSection(Section):
    """From scores to calls."""

    threshold: Share = Field(0.5, description="mil_probability from which a class counts as present")
    confidence: Share = Field(0.6, description="probability below which a call is unsure")


class ComputeSection(Section):
    """Where and how the work is done; changes no result beyond rounding."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    threads: Annotated[int, Field(ge=0)] = Field(0, description="CPU threads; 0 = all")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the hardware has it; volumes are judged in fp32"
    )
    io_timeout: Positive = Field(120, description="seconds that reading one image may take")
    # Tiles of 8 elements round float32 by up to 1.4e-6 of the largest logit otherwise than the whole; of 16, .8e-6.
    tile: Annotated[int, Field(ge=16)] = Field(
        64, description="images: class-map elements per side of a tile when scoring"
    )
    max_failures: Share = Field(0.1, description="share of failing rows (and more than 10) at which scoring stops")
