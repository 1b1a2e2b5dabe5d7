"""What a model says of itself to people: the README.md of a model folder."""

from __future__ import annotations

from bagscope.engine.card import BlocksCard, ModelCard, ShapesCard

_HEAD = """---
library_name: bagscope
tags: [microscopy, multiple-instance-learning, {task}]
---
"""


def model_readme(card: ModelCard) -> str:
    """Return the model card as Markdown: a YAML head for hubs of models, then sentences."""
    rows = {part: len(signs) for part, signs in card.training.get("rows", {}).items()}
    scale = card.scale
    size = "not rescaled" if scale.cell_diameter_px is None else (
        f"rescaled by {scale.factor:.3g}: a cell of {scale.cell_diameter_px:.1f} px ({scale.source}) fills an element"
    )  # fmt: skip
    um = f"{scale.pixel_um:g} um" if scale.pixel_um else "unknown"
    thresholds = ", ".join(
        f"{name} {b:.3f}" for name, b in zip(card.classes, card.thresholds or (), strict=False)
    ) or "none (the pooling has none)"  # fmt: skip
    lines = [
        f"# A bagscope model: {', '.join(card.classes)}",
        "",
        "It tells of whole microscopy images which of these classes they show. It was trained with one label "
        "per well; no cell was ever labelled.",
        "",
        f"- Classes: {', '.join(card.classes)}" + ("; `none` where no class applies" if card.none_trained else ""),
        f"- Channels, in this order: {', '.join(card.channels)}",
        f"- Pixel size of the training images: {um}; images are {size}",
        f"- Network `{card.network['name']}`, pooling `{card.pooling['name']}`; learned shares b: {thresholds}",
        f"- Training: {card.training.get('kept_step')} of {card.training.get('steps')} steps kept, "
        f"{rows.get('train', 0)} training and {rows.get('validation', 0)} validation images, "
        f"seed {card.created.get('seed')}",
        f"- A class counts as present from mil_probability {card.calls.threshold:g} on; a call below "
        f"{card.calls.confidence:g} is `unsure`",
        f"- Made by bagscope {card.created.get('bagscope')} with torch {card.created.get('torch')}, "
        f"{card.created.get('time')}",
        "",
        "## What it is not for",
        "",
        "Images of other cells, stains, magnifications or microscopes than those it was trained on; decisions "
        "on patients. What it says of images unlike its training images means little.",
        "",
        "## How to use it",
        "",
        "```",
        "bagscope score THIS_FOLDER screen.csv -o scores",
        "```",
        "",
    ]
    return _HEAD.format(task=card.task) + "\n".join(lines)


def shapes_readme(card: ShapesCard) -> str:
    """Return the card of a model for volumes as Markdown."""
    lines = [
        f"# A bagscope model of 3D shapes: {', '.join(card.classes)}",
        "",
        "It tells of nuclei or other solids, given as masks or labels of a stack, which of these classes they show.",
        "",
        *(f"- {line}" for line in card.told()),
        "",
        "## What it is not for",
        "",
        "Shapes from another microscope, segmentation or spacing of planes than those it was trained on; decisions on "
        "patients.",
        "",
        "## How to use it",
        "",
        "```",
        "bagscope score THIS_FOLDER screen.csv -o scores",
        "```",
        "",
    ]
    return _HEAD.format(task=card.task) + "\n".join(lines)


def blocks_readme(card: BlocksCard) -> str:
    """Return the card of a model that judges pixels as Markdown."""
    lines = [
        f"# A bagscope model of pixels: {', '.join(card.classes)}",
        "",
        "It maps which of these classes each pixel of an image is of. It was trained on what an expert said of whole "
        "blocks; no pixel was labelled, unless the command below names pixel labels.",
        "",
        *(f"- {line}" for line in card.told()),
        "",
        "## What it is not for",
        "",
        "Images of other tissue, stains, magnifications or scanners than those it was trained on; decisions on "
        "patients.",
        "",
        "## How to use it",
        "",
        "```",
        "bagscope score THIS_FOLDER screen.csv -o scores",
        "```",
        "",
    ]
    return _HEAD.format(task=card.task) + "\n".join(lines)
