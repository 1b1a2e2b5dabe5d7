"""What the documentation tells people to type: its code blocks, in the order of the page."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

# A block that cannot be run says why, in a comment that no reader of the page sees.
_BLOCK = re.compile(r"(?P<why><!-- no-run: [^>]*-->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
_COMMAND = re.compile(r"^\$ (bagscope (?:.*\\\n)*.*)$", re.M)


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, and the line of the page where it begins."""

    kind: str
    text: str
    line: int

    def commands(self) -> list[list[str]]:
        """Words of each `$ bagscope ...` line, without the program's name."""
        return [shlex.split(found.replace("\\\n", " "))[1:] for found in _COMMAND.findall(self.text)]


def blocks_of(page: Path) -> list[Block]:
    """Blocks of a page that are meant to be run."""
    text = page.read_text("utf-8")
    return [
        Block(found["kind"], found["text"], text[: found.start("text")].count("\n") + 1)
        for found in _BLOCK.finditer(text)
        if not found["why"]
    ]
