"""The model card of the task `blocks`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from bagscope.engine.card import Card, CardPart, ReadingCard, Share


class ScalingCard(CardPart):
    """Mean and sd of grey values per channel, of the training set, or of each image by itself; and what is white."""

    mean: tuple[float, ...]
    sd: tuple[Annotated[float, Field(gt=0)], ...]
    each: bool
    full: Annotated[float, Field(gt=0)]


class BlocksCard(Card):
    """The card of a model that judges pixels.

    classes : fine ones. coarse : names of the coarse classes; mean, sd : the expert's table, (L, C) each.
    shares : mean share of each fine class over training blocks.
    limits : per class, probability from which a pixel is of it, by the table; None: the most probable class.
    blocks : settings by which it was trained. block_px : edge of most training blocks.
    """

    heading: ClassVar[str] = "A bagscope model of pixels"
    purpose: ClassVar[str] = (
        "It maps the class of each pixel of an image. It was trained on what an expert estimated for whole blocks; no "
        "pixel was labelled, unless the command below names pixel labels."
    )
    scope: ClassVar[str] = (
        "Images of other tissue, stains, magnifications or scanners than the training images; decisions on patients."
    )

    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    scaling: ScalingCard
    coarse: tuple[str, ...]
    mean: tuple[tuple[float, ...], ...]
    sd: tuple[tuple[float, ...], ...]
    shares: tuple[Share, ...]
    limits: tuple[Share, ...] | None = None
    blocks: dict[str, Any]
    reading: ReadingCard | None = None
    block_px: int
    pixel_um: float | None = None

    def facts(self) -> dict[str, Any]:
        """Return channels, coarse classes and the number of blocks of each."""
        return {
            "channels": list(self.channels),
            "coarse": list(self.coarse),
            "blocks": self.training.get("blocks"),
        }

    def _task_lines(self) -> list[str]:
        method = str(self.blocks.get("method"))
        if method == "counts":
            method += f", {self.blocks.get('grouping')} {self.blocks.get('distance')}"
        return [
            f"channels: {', '.join(self.channels)}",
            f"coarse classes: {', '.join(self.coarse)}; blocks of {self.block_px} px",
            f"method: {method}; mean shares {', '.join(f'{s:.2f}' for s in self.shares)}",
            *([f"a pixel is {self.classes[1]} from {self.limits[1]:.2f} on, by the table"] if self.limits else []),
            f"pixel size of the training images: {self.pixel_um or 'unknown'} um",
        ]
