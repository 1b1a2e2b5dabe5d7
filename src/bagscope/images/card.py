"""The model card of the task `images`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bagscope.engine.card import Card, CardPart, ReadingCard
from bagscope.ops.likeness import WORDS


class IntensityCard(CardPart):
    """Normalisation per channel, see ops.intensity."""

    dark: tuple[float, ...]
    background: tuple[float, ...]
    spread: tuple[Annotated[float, Field(gt=0)], ...]


class ScaleCard(CardPart):
    """Size of a cell and what was made of it: the image is rescaled by `factor` before the network."""

    cell_diameter_px: float | None
    source: Literal["given", "estimated", "off"]
    factor: Annotated[float, Field(gt=0, le=64)]
    pixel_um: float | None = None


class LikenessCard(CardPart):
    """Least and largest of what an image like the training ones looks like, (C, 7) each, see ops.likeness."""

    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]


class CellCard(CardPart):
    """What a model knows of single cells.

    nuclei : channel that shows them, "" for none. self_trained : cells have weights of their own.
    from_parts : which were learned from bright parts of the image that stand alone.
    background, foreground, coupling : see ops.seed_fit. blank_pixels : how many they rest on.
    """

    nuclei: str = ""
    self_trained: bool = False
    from_parts: bool = False
    own_labels: tuple[int, ...] = ()
    background: Annotated[float, Field(ge=0)]
    foreground: Annotated[float, Field(ge=0)]
    coupling: Annotated[float, Field(ge=0)]
    blank_pixels: Annotated[int, Field(ge=0)]

    def summary(self) -> str:
        """Describe in a few words how cells are found and classified."""
        seeds = f"nuclei in {self.nuclei}" if self.nuclei else "no nuclear channel"
        count = sum(self.own_labels)
        return f"{seeds}; " + (f"self-training on {count:,} cells" if self.self_trained else "no self-training")


class ModelCard(Card):
    """The card of a model for images."""

    purpose: ClassVar[str] = (
        "It predicts from whole microscopy images which of these classes they show. It was trained with one label per "
        "well; no cell was labelled."
    )
    scope: ClassVar[str] = (
        "Images of other cells, stains, magnifications or microscopes than the training images; decisions on patients. "
        "Scores of images that differ from the training images are unreliable."
    )

    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    grid: dict[str, float]
    intensity: IntensityCard
    likeness: LikenessCard | None = None
    reading: ReadingCard | None = None
    scale: ScaleCard
    cells: CellCard | None = None

    def facts(self) -> dict[str, Any]:
        """Return channels and the cell diameter."""
        return {"channels": list(self.channels), "cell_diameter_px": self.scale.cell_diameter_px}

    def _task_lines(self) -> list[str]:
        scale = self.scale
        size = "off" if scale.cell_diameter_px is None else f"{scale.cell_diameter_px:.1f} px, {scale.source}"
        return [
            f"channels: {', '.join(self.channels)}",
            *super()._task_lines(),
            f"cell diameter: {size}; images rescaled by {scale.factor:.3g}",
            f"pixel size of the training images: {scale.pixel_um or 'unknown'} um",
            f"single cells: {self.cells.summary() if self.cells else 'unknown to this model'}",
        ]

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        """Lists per channel that are too short would be stretched in silence."""
        channels = len(self.channels)
        counts = {
            "intensity.dark": (len(self.intensity.dark), channels),
            "intensity.background": (len(self.intensity.background), channels),
            "intensity.spread": (len(self.intensity.spread), channels),
        }
        if self.likeness is not None:
            for name, rows in (("low", self.likeness.low), ("high", self.likeness.high)):
                counts[f"likeness.{name}"] = (len(rows) if {len(row) for row in rows} == {len(WORDS)} else -1, channels)
        for name, (there, wanted) in counts.items():
            if there != wanted:
                message = f"{name} has {there} different values, {wanted} are needed"
                raise ValueError(message)
        return self
