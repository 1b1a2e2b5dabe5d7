"""How the card of a model folder is read: without the weights, and so without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from bagscope import __version__
from bagscope.engine.card import FORMAT_VERSION, Card
from bagscope.engine.tasks import TASKS, check_of
from bagscope.errors import ModelError, shown
from bagscope.files.run_names import CARD
from bagscope.files.writer import read_json

Of = TypeVar("Of", bound=Card)
# A row that trained takes 36 bytes: five million rows.
LARGEST_CARD = 200_000_000


def load_card(folder: Path) -> Card:
    """Read and check a model's card.

    Raises
    ------
    ModelError : no model there, a newer format, or a card that does not fit the schema.
    """
    path = folder / CARD
    if folder.is_file():
        what = "a zip or pickle, not a bagscope model" if is_pickle(folder) else "a file, not a model folder"
        raise ModelError(what, "Give the folder that `bagscope train ... -o MODEL` made.", code="no_model", file=folder)
    if not path.is_file():
        cause = "no model.json there" if folder.is_dir() else "no such folder"
        fix = "Give the folder that `bagscope train ... -o MODEL` made; unfinished training: add --resume."
        raise ModelError(cause, fix, code="no_model", file=folder)
    raw = read_json(path, LARGEST_CARD)
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if type(version) is not int or version < 1:
        cause = f"format_version is {shown(version)}: not the card of a model"
        raise ModelError(cause, "Copy the whole folder again, or train again.", code="bad_card", file=path)
    if version > FORMAT_VERSION:
        made = raw.get("created")
        maker = shown(made.get("bagscope", "?"))[1:-1] if isinstance(made, dict) else "?"
        cause = f"made by bagscope {maker} (format {version}); this is {__version__} (format {FORMAT_VERSION})"
        raise ModelError(cause, "Update bagscope.", code="newer_format", file=path)
    task = raw.get("task")
    if not isinstance(task, str) or task not in TASKS:
        cause = f"a model for the task {shown(task)}, which this bagscope does not know"
        raise ModelError(cause, "Update bagscope, or copy the whole folder again.", code="bad_card", file=path)
    try:
        return check_of(task).CARD.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        cause = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        fix = "The card is of another version of bagscope, changed or damaged: train again."
        raise ModelError(cause, fix, code="bad_card", file=path) from None


def load_card_as(folder: Path, kind: type[Of]) -> Of:
    """Read the card of a model of one kind.

    Raises
    ------
    ModelError : as `load_card`, or a model for another task.
    """
    card = load_card(folder)
    if not isinstance(card, kind):
        cause = f"a model for the task '{card.task}'"
        raise ModelError(cause, "Give a model that was trained for this.", code="other_task", file=folder)
    return card


def is_pickle(path: Path) -> bool:
    """Tell whether a file begins like a zip or a pickle, as torch writes them, and is no safetensors file.

    A safetensors file begins with the length of its header in 8 bytes, the lowest first. One length in 32 has 0x80
    there, as a pickle, and some spell "PK", as a zip; the header behind them is JSON.
    """
    with path.open("rb") as stream:
        head = stream.read(9)
    length = int.from_bytes(head[:8], "little")
    if head[8:] == b"{" and length <= path.stat().st_size - 8:
        return False
    return head[:2] == b"PK" or head[:1] == b"\x80"
