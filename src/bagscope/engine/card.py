"""What a trained model has to say about itself: all that prediction needs, as checked JSON."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bagscope.ops.likeness import WORDS
from bagscope.settings.shape_sections import BagsSection, TurnsSection, VolumesSection

FORMAT_VERSION: Final = 1
# Raised whenever shapes are laid on the grid, described, measured or judged otherwise: a model judges only what is
# described as in its training.
SHAPES_VERSION: Final = 3
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

    def told(self) -> str:
        """Say it for people."""
        return (
            f"none: {self.why}" if self.method == "none" else f"temperature {self.temperature:.2f}, {self.wells} wells"
        )


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

    def told(self) -> str:
        """Say it for people."""
        seeds = f"nuclei in {self.nuclei}" if self.nuclei else "no channel of nuclei"
        count = sum(self.own_labels)
        return f"{seeds}; " + (f"second training on {count:,} cells" if self.self_trained else "no second training")


class Card(CardPart):
    """A model folder's model.json: what all models have to say."""

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

    def told(self) -> list[str]:
        """Say for people what the model is."""
        rows, kept = self.training.get("rows", {}), self.training.get("kept_step")
        return [
            f"classes: {', '.join(self.classes)}" + ("; none where no class applies" if self.none_trained else ""),
            *self._own(),
            f"trained on {len(rows.get('train', []))} images, watched on {len(rows.get('validation', []))}; "
            f"step {kept} of {self.training.get('steps')} was kept",
            f"calls: present from {self.calls.threshold:g} on, unsure below {self.calls.confidence:g}",
            f"calibration: {self.calibration.told()}",
            f"made by bagscope {self.created.get('bagscope')}, torch {self.created.get('torch')}, "
            f"seed {self.created.get('seed')}, {self.created.get('time')}",
            f"command: {self.created.get('command') or 'from Python'}",
        ]

    def _own(self) -> list[str]:
        """What only this kind of model has to say."""
        shares = zip(self.classes, self.thresholds or (), strict=False)
        return [
            f"network: {self.network['name']}, pooling: {self.pooling['name']}",
            f"learned shares b: {', '.join(f'{name} {b:.3f}' for name, b in shares) or 'none'}",
        ]


class ModelCard(Card):
    """The card of a model for images."""

    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    grid: dict[str, float]
    intensity: IntensityCard
    likeness: LikenessCard | None = None
    reading: ReadingCard | None = None
    scale: ScaleCard
    cells: CellCard | None = None

    def _own(self) -> list[str]:
        scale = self.scale
        size = "off" if scale.cell_diameter_px is None else f"{scale.cell_diameter_px:.1f} px, {scale.source}"
        return [
            f"channels: {', '.join(self.channels)}",
            *super()._own(),
            f"cell diameter: {size}; images rescaled by {scale.factor:.3g}",
            f"pixel size of the training images: {scale.pixel_um or 'unknown'} um",
            f"single cells: {self.cells.told() if self.cells else 'unknown to this model'}",
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


class VoxelGridCard(CardPart):
    """The grid that shapes are laid on, see tasks.volumes.shapes: edge of a cell, mean depth and mean thickness."""

    cell: Annotated[float, Field(gt=0)]
    depth: Annotated[float, Field(gt=0)]
    thickness: Annotated[float, Field(gt=0)]


class ShapesCard(Card):
    """The card of a model for volumes.

    described : by which version of the description.
    volumes, turns, bags : settings by which volumes became shapes, shapes were turned and labels shared.
    measures : names of the measures beside the network, in their order; use : what scores rest on.
    spacings : what the training volumes' voxels measured, from the finest to the coarsest, z, y, x in um.
    """

    described: Literal[3]
    volumes: VolumesSection
    turns: TurnsSection
    bags: BagsSection
    lattice: VoxelGridCard
    measures: tuple[str, ...]
    use: Literal["both", "network", "measures"]
    spacings: tuple[tuple[float, float, float], ...] = ()

    @model_validator(mode="after")
    def _says_all(self) -> Self:
        """What a card leaves out would be filled in by defaults, which may not be what was trained with."""
        for name in ("turns", "bags"):
            section = getattr(self, name)
            if left := set(type(section).model_fields) - section.model_fields_set:
                message = f"{name} says nothing of {', '.join(sorted(left))}"
                raise ValueError(message)
        return self

    def _own(self) -> list[str]:
        turned = {"full": "any rotation", "small": f"rotations of sd {self.turns.sd}", "none": "no rotation"}
        size = "sizes count" if self.volumes.size == "absolute" else "every shape is brought to one volume"
        return [
            *super()._own(),
            f"grid: cells of {self.lattice.cell:.3g}; {size}",
            f"turned by {turned[self.turns.range]}, {self.turns.views} views of each shape",
            f"a label belongs to each {self.bags.by}",
            f"scores rest on {self.use if self.use != 'both' else f'the network and {len(self.measures)} measures'}",
        ]


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

    def _own(self) -> list[str]:
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


CARDS: dict[str, type[Card]] = {"images": ModelCard, "blocks": BlocksCard, "volumes": ShapesCard}
