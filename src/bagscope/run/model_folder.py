"""A model on disk: weights as safetensors, all else as checked JSON; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from bagscope import __version__
from bagscope.errors import BagscopeError, ModelError, shown
from bagscope.files.writer import read_json, write_atomic, write_json
from bagscope.tasks import TASKS
from bagscope.tasks.card import FORMAT_VERSION, ModelCard

WEIGHTS = "model.safetensors"
CARD = "model.json"
LARGEST_CARD = 20_000_000
LARGEST_HEADER = 100_000_000


def save_model(folder: Path, network: nn.Module, card: ModelCard) -> ModelCard:
    """Write weights, then the card that names their hash; without its card a model does not exist."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    payload = save_tensors(tensors, {"format": "bagscope"})
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(payload).hexdigest()})
    write_atomic(folder / WEIGHTS, payload)
    write_json(folder / CARD, json.loads(card.model_dump_json()))
    return card


def load_card(folder: Path) -> ModelCard:
    """Read and check a model's card.

    Raises
    ------
    ModelError : no model there, a newer format, or a card that does not fit the schema.
    """
    path = folder / CARD
    if folder.is_file():
        what = "a zip or pickle, not a bagscope model" if _is_pickle(folder) else "a file, not a model folder"
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
    try:
        return ModelCard.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        cause = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ModelError(cause, "The card was changed or damaged; train again.", code="bad_card", file=path) from None


def load_model(folder: Path, device: torch.device) -> tuple[nn.Module, ModelCard]:
    """Read a model and put it on a device, in evaluation mode.

    Raises
    ------
    ModelError : damaged, foreign, or weights that do not fit the card.
    """
    card = load_card(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        cause = "the weights are missing"
        raise ModelError(cause, "Copy the whole folder.", code="no_weights", file=path)
    tensors = _read_tensors(path, card.weights_sha256)
    try:
        with torch.random.fork_rng(devices=[]):
            network = TASKS.load(card.task).build_network(card)
    except BagscopeError as error:
        said = error.problem
        raise ModelError(said.cause, said.fix, code=said.code, file=folder / CARD) from None
    _refuse_misfit(network, tensors, path)
    network.load_state_dict(tensors)
    network.to(device, memory_format=torch.channels_last)
    return network.eval(), card


def _read_tensors(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    try:
        _refuse_foreign(path)
        with path.open("rb") as stream:
            # Hashed before it is read: a foreign file may be larger than the memory.
            if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                cause = "the file is damaged (hash)"
                raise ModelError(cause, "Copy it again, or train again.", code="damaged", file=path)
            stream.seek(0)
            return load_tensors(stream.read())
    except (SafetensorError, ValueError) as error:
        cause = f"no safetensors file: {shown(error)[1:-1]}"
        raise ModelError(cause, "Train again.", code="damaged", file=path) from None
    except OSError as error:
        cause = f"it cannot be read ({error.strerror})"
        raise ModelError(cause, "Check the rights and the drive.", code="no_weights", file=path) from None


def _refuse_foreign(path: Path) -> None:
    if _is_pickle(path):
        cause = "a zip or pickle, not a bagscope model"
        raise ModelError(cause, "Use a folder that `bagscope train` made.", code="pickle", file=path)
    with path.open("rb") as stream:
        head = stream.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 0 < length <= min(LARGEST_HEADER, path.stat().st_size - 8):
        cause = "no safetensors file (header)"
        raise ModelError(cause, "Copy it again, or train again.", code="damaged", file=path)


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(2)
    return head == b"PK" or head[:1] == b"\x80"


def _refuse_misfit(network: nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    wanted = {k: (v.dtype, v.shape) for k, v in network.state_dict().items()}
    there = {k: (v.dtype, v.shape) for k, v in tensors.items()}
    if wanted != there:
        names = sorted(k for k in wanted.keys() | there.keys() if wanted.get(k) != there.get(k))[:5]
        cause = f"weights do not fit the card: {', '.join(names)}"
        raise ModelError(cause, "Keep weights and card of one model together.", code="misfit", file=path)
    bad = [k for k, v in tensors.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        cause = f"weights that are no numbers: {bad[0]}"
        raise ModelError(cause, "Train again.", code="nan_weights", file=path)
