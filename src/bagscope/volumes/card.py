"""The model card of the task `volumes`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from bagscope.engine.card import Card, CardPart
from bagscope.settings.shape_sections import BagsSection, TurnsSection, VolumesSection

# Raised whenever shapes are laid on the grid, described, measured or judged otherwise: a model judges only what is
# described as in its training.
SHAPES_VERSION: Final = 3


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

    heading: ClassVar[str] = "A bagscope model of 3D shapes"
    purpose: ClassVar[str] = (
        "It predicts the class of nuclei or other solids, given as masks or label images of a stack."
    )
    scope: ClassVar[str] = (
        "Shapes from another microscope, segmentation or plane spacing than the training volumes; "
        "decisions on patients."
    )

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

    def facts(self) -> dict[str, Any]:
        """Return the number of training shapes and the edge of a grid cell."""
        return {"shapes": self.training.get("shapes"), "cell_um": self.lattice.cell}

    def _task_lines(self) -> list[str]:
        turned = {"full": "any rotation", "small": f"rotations of sd {self.turns.sd}", "none": "no rotation"}
        size = "sizes count" if self.volumes.size == "absolute" else "every shape is brought to one volume"
        return [
            *super()._task_lines(),
            f"grid: cells of {self.lattice.cell:.3g}; {size}",
            f"turned by {turned[self.turns.range]}, {self.turns.views} views of each shape",
            f"a label belongs to each {self.bags.by}",
            f"scores rest on {self.use if self.use != 'both' else f'the network and {len(self.measures)} measures'}",
        ]
