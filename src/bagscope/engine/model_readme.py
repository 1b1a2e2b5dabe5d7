"""The README.md of a model folder: the model card for people and for model hubs."""

from __future__ import annotations

from bagscope.engine.card import Card


def model_readme(card: Card) -> str:
    """Return the model card as Markdown: a YAML head for model hubs, then sentences."""
    lines = [
        "---",
        "library_name: bagscope",
        f"tags: [microscopy, multiple-instance-learning, {card.task}]",
        "---",
        f"# {card.heading}: {', '.join(card.classes)}",
        "",
        card.purpose,
        "",
        *(f"- {line}" for line in card.summary_lines()),
        "",
        "## What it is not for",
        "",
        card.scope,
        "",
        "## How to use it",
        "",
        "```",
        "bagscope score THIS_FOLDER screen.csv -o scores",
        "```",
        "",
    ]
    return "\n".join(lines)
