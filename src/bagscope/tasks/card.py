"""What a trained model has to say about itself: all that prediction needs, as checked JSON."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bagscope.ops.likeness import WORDS

FORMAT_VERSION: Final = 1
Share = Annotated[float, Field(ge=0, le=1)]


class CardPart(BaseModel):
    """A part of a card: unknown keys are refused, values are fixed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


class ReadingCard(CardPart):
    """Which pixels of a file were meant, as in the settings of images; rows of a table may say otherwise."""

    page: int | None = None
    z: int | Literal["max", "mid"] | None = None
    t: int | None = None
    level: int = 0
    gray: bool = False


class LikenessCard(CardPart):
    """Least and largest of what an image like the training ones looks like, (C, 7) each, see ops.likeness."""

    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]


class CallCard(CardPart):
    """Thresholds of the call rule."""

    threshold: Share
    confidence: Share


class CalibrationCard(CardPart):
    """By what the last layer's logits are divided, from how many wells that is known, or why it is not."""

    method: Literal["none", "temperature"] = "none"
    temperature: Annotated[float, Field(ge=0.2, le=10)] = 1.0
    wells: Annotated[int, Field(ge=0)] = 0
    why: str = "not tried"


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


class ModelCard(CardPart):
    """A model folder's model.json."""

    format_version: Literal[1] = FORMAT_VERSION
    task: str
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    several_labels: bool
    none_trained: bool
    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    network: dict[str, Any]
    pooling: dict[str, Any]
    thresholds: tuple[Share, ...] | None = None
    grid: dict[str, float]
    intensity: IntensityCard
    likeness: LikenessCard | None = None
    reading: ReadingCard | None = None
    scale: ScaleCard
    calls: CallCard
    cells: CellCard | None = None
    calibration: CalibrationCard = CalibrationCard()
    training: dict[str, Any]
    created: dict[str, Any]
    weights_sha256: str = ""

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        """Lists per channel or class that are too short would be stretched in silence."""
        channels, classes = len(self.channels), len(self.classes)
        counts = {
            "classes": (len(set(self.classes)), classes),
            "thresholds": (len(self.thresholds or self.classes), classes),
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
