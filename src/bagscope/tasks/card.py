"""What a trained model has to say about itself: all that prediction needs, as checked JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1


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


class CallCard(CardPart):
    """Thresholds of the call rule."""

    threshold: float
    confidence: float


class ModelCard(CardPart):
    """A model folder's model.json."""

    format_version: int = FORMAT_VERSION
    task: str
    classes: tuple[str, ...]
    several_labels: bool
    none_trained: bool
    channels: tuple[str, ...]
    network: dict[str, Any]
    pooling: dict[str, Any]
    thresholds: tuple[float, ...] | None = None
    grid: dict[str, float]
    intensity: IntensityCard
    pixel_range: tuple[tuple[float, float], ...] = ()
    scale: ScaleCard
    calls: CallCard
    calibration: dict[str, Any]
    training: dict[str, Any]
    created: dict[str, Any]
    weights_sha256: str = ""
