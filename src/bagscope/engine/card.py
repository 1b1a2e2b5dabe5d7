"""The part of a model card that all tasks share: what prediction needs, as checked JSON."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT_VERSION: Final = 1
Share = Annotated[float, Field(ge=0, le=1)]


class CardPart(BaseModel):
    """A part of a card: unknown keys are refused, values are fixed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReadingCard(CardPart):
    """Which pixels of a file were meant, as in the settings of images; rows of a table may say otherwise."""

    page: int | None = None
    z: int | Literal["max", "mid"] | None = None
    t: int | None = None
    level: int = 0
    gray: bool = False


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

    def summary(self) -> str:
        """Describe the calibration in a few words."""
        if self.method == "none":
            return f"none: {self.why}"
        return f"temperature {self.temperature:.2f}, {self.wells} wells"


class Card(CardPart):
    """A model folder's model.json: the fields that every task has.

    heading, purpose, scope : for README.md: its title, what the model does, and for what it was not made.
    """

    heading: ClassVar[str] = "A bagscope model"
    purpose: ClassVar[str] = ""
    scope: ClassVar[str] = ""

    format_version: Literal[1] = FORMAT_VERSION
    task: str
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    several_labels: bool
    none_trained: bool
    network: dict[str, Any]
    pooling: dict[str, Any]
    thresholds: tuple[Share, ...] | None = None
    calls: CallCard
    calibration: CalibrationCard = CalibrationCard()
    training: dict[str, Any]
    created: dict[str, Any]
    weights_sha256: str = ""

    @model_validator(mode="after")
    def _one_value_per_class(self) -> Self:
        """Lists per class that are too short would be stretched in silence."""
        classes = len(self.classes)
        for name, there in (("classes", len(set(self.classes))), ("thresholds", len(self.thresholds or self.classes))):
            if there != classes:
                message = f"{name} has {there} different values, {classes} are needed"
                raise ValueError(message)
        return self

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the last layer tells apart: the classes, and `none` where it has an output of its own."""
        return (*self.classes, "none") if self.none_trained and not self.several_labels else self.classes

    def summary_lines(self) -> list[str]:
        """Describe the model for people, a line per fact."""
        rows, best_step = self.training.get("rows", {}), self.training.get("kept_step")
        return [
            f"classes: {', '.join(self.classes)}" + ("; none where no class applies" if self.none_trained else ""),
            *self._task_lines(),
            f"trained on {len(rows.get('train', []))} images, validated on {len(rows.get('validation', []))}; "
            f"best step {best_step} of {self.training.get('steps')}",
            f"calls: present from {self.calls.threshold:g} on, unsure below {self.calls.confidence:g}",
            f"calibration: {self.calibration.summary()}",
            f"made by bagscope {self.created.get('bagscope')}, torch {self.created.get('torch')}, "
            f"seed {self.created.get('seed')}, {self.created.get('time')}",
            f"command: {self.created.get('command') or 'from Python'}",
        ]

    def facts(self) -> dict[str, Any]:
        """Return what `bagscope train --json` reports of this kind of model alone."""
        return {}

    def _task_lines(self) -> list[str]:
        """Describe what this kind of model alone has."""
        fractions = zip(self.classes, self.thresholds or (), strict=False)
        return [
            f"network: {self.network['name']}, pooling: {self.pooling['name']}",
            f"learned fractions b: {', '.join(f'{name} {b:.3f}' for name, b in fractions) or 'none'}",
        ]
