"""Which choices there are for blocks: what is known of them, what is learned from it, what maps become."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bagscope.settings.sections import Count, LoopSection, Positive, Section, Share


class BlocksSection(Section):
    """What is known of blocks, and how it is learned from."""

    proportions: str = Field("", description="table of an expert's shares: coarse,fine,mean,sd,n")
    method: Literal["counts", "llp", "qr", "hard", "soft", "pixels"] = Field(
        "counts",
        description="counts: mean and variance of shares matched with the table; llp: mean shares alone; qr: implicit "
        "posterior; hard, soft: every pixel takes its block's class or shares; pixels: pixel labels alone",
    )
    recipe: Literal["own", "published"] = Field(
        "own",
        description="published: sampled intra+inter loss, RMSprop at 1e-3, 30 blocks a step, 15 of each of two coarse "
        "classes, each seen alone, one training; what is set beside it stays as it is set",
    )
    grouping: Literal["intra", "inter", "intra+inter", "sampled"] = Field(
        "intra+inter", description="whose mean and variance: each block's, the blocks' of a class, or both together"
    )
    distance: Literal["overlap", "kl", "w2"] = Field("overlap", description="distance of two normal distributions")
    effective: Positive = Field(16, description="pixels of a block that are as good as independent")
    least_sd: Positive = Field(0.02, description="standard deviations of the table below this are set to it")
    size: int = Field(0, ge=0, description="edge of a block in pixels, for coarse label images of full resolution")
    nodata: int = Field(-1, description="number of a coarse label image that means: no label")
    unknown: Literal["refuse", "leave"] = Field(
        "refuse", description="blocks of a coarse class without a row in the table: refuse to train, or leave them out"
    )
    truth: str = Field("", description="column of label images that maps are judged by when they are scored")
    pixels: str = Field("", description="column of sparse pixel labels (0 = unknown, k = k-th fine class) to mix in")
    pixel_weight: Positive = Field(1.0, description="weight of the pixel labels' loss")


class BlockNetworkSection(Section):
    """The network that judges every pixel."""

    widths: Annotated[tuple[Count, ...], Field(min_length=2, max_length=6)] = Field(
        (8, 16, 32, 64), description="features on each level of the U-Net, the finest first"
    )


class BlockViewSection(Section):
    """What a training step sees of an image."""

    context: int = Field(128, ge=0, description="edge of a crop in pixels, of several blocks; 0 = one block alone")
    groups: int = Field(
        0, ge=0, description="coarse classes per step, as many blocks of each; 0 = drawn by the root of their frequency"
    )
    standardise: Literal["auto", "image", "set"] = Field(
        "auto", description="by each image's own mean and sd, or the training set's; auto: its own for RGB"
    )
    dihedral: bool = Field(True, description="turns by 90 degrees and mirrorings")
    gain: float = Field(0.2, ge=0, description="sd of the logarithm of each channel's gain, where there are no stains")
    offset: float = Field(0.05, ge=0, description="sd of an offset, in standard deviations")
    stain: float = Field(0.3, ge=0, description="RGB: sd of the gain of haematoxylin, eosin and residue")
    stain_offset: float = Field(0.05, ge=0, description="RGB: sd of their offset")


class BlockTrainingSection(LoopSection):
    """The optimiser's run on blocks."""

    steps: Count = Field(500, description="optimiser steps")
    batch: Annotated[int, Field(ge=1)] = Field(4, description="crops per step")
    rate: Positive = Field(1e-2, description="highest learning rate of the one-cycle schedule")
    clip: Positive = Field(1, description="largest norm of the gradient")
    save_every: Count = Field(100, description="steps between states that --resume can go on from")
    patience: Count = Field(1000, description="looks without improvement before training stops early")


class SecondSection(Section):
    """Self-training on the most confident pixels of the map."""

    steps: int = Field(250, ge=0, description="optimiser steps; 0 = no self-training")
    rate: Positive = Field(5e-3, description="highest learning rate")
    share: Share = Field(
        0.75, description="fraction of the expected pixels of a class that become pseudo-labels, the most probable ones"
    )
    counts: bool = Field(True, description="keep the loss of blocks beside that of the pseudo-labels")
    beyond: Annotated[float, Field(ge=1)] = Field(
        1.3,
        description="for a class that is expected on nearly all pixels: label all that remain when the other classes "
        "have this many times their expected fraction",
    )


class MapsSection(Section):
    """What maps become."""

    threshold: Literal["auto", "largest", "table"] = Field(
        "auto",
        description="largest: a pixel is of its most probable class; table: by the threshold at which training "
        "blocks have the table's mean shares (two classes); auto: table where the table explains less than 0.7",
    )
    tile: Annotated[int, Field(ge=64)] = Field(512, description="edge of a tile in pixels")
    simplify: float = Field(0.5, ge=0, description="how far an outline may be from the pixels' edges, in pixels")
    area: Literal["auto", "um2", "px"] = Field(
        "auto", description="unit of areas; auto: square micrometres where the pixel size is known, else pixels"
    )
    least_area: int = Field(10, ge=0, description="regions of fewer pixels have no outline")
    background: str = Field("", description="fine class without outlines; default: the first")
