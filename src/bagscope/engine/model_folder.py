"""A model on disk: weights as safetensors, all else as checked JSON; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from bagscope.engine.card_file import Of, is_pickle, load_card_as
from bagscope.engine.compute import placed
from bagscope.errors import BagscopeError, ModelError, shown
from bagscope.files.run_names import CARD, WEIGHTS
from bagscope.files.writer import write_atomic, write_json

LARGEST_HEADER = 100_000_000


def save_model(folder: Path, network: nn.Module, card: Of) -> Of:
    """Write weights, then the card that names their hash; without its card a model does not exist."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    payload = save_tensors(tensors, {"format": "bagscope"})
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(payload).hexdigest()})
    write_atomic(folder / WEIGHTS, payload)
    write_json(folder / CARD, json.loads(card.model_dump_json()))
    return card


def load_network(
    folder: Path, device: torch.device, kind: type[Of], build: Callable[[Of], nn.Module]
) -> tuple[nn.Module, Of]:
    """Read a model whose card is of a kind, and put it on a device, in evaluation mode.

    Parameters
    ----------
    build : makes the network of a card.

    Raises
    ------
    ModelError : damaged, foreign, or weights that do not fit the card.
    """
    card = load_card_as(folder, kind)
    path = folder / WEIGHTS
    if not path.is_file():
        cause = "the weights are missing"
        raise ModelError(cause, "Copy the whole folder.", code="no_weights", file=path)
    tensors = _read_tensors(path, card.weights_sha256)
    try:
        with torch.random.fork_rng(devices=[]):
            network = build(card)
    except BagscopeError as error:
        said = error.problem
        raise ModelError(said.cause, said.fix, code=said.code, file=folder / CARD) from None
    _refuse_misfit(network, tensors, path)
    network.load_state_dict(tensors)
    return placed(network, device).eval(), card


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
    if is_pickle(path):
        cause = "a zip or pickle, not a bagscope model"
        raise ModelError(cause, "Use a folder that `bagscope train` made.", code="pickle", file=path)
    with path.open("rb") as stream:
        head = stream.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 0 < length <= min(LARGEST_HEADER, path.stat().st_size - 8):
        cause = "no safetensors file (header)"
        raise ModelError(cause, "Copy it again, or train again.", code="damaged", file=path)


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
