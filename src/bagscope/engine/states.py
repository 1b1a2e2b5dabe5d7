"""Training states on disk, written so that a kill at any moment costs steps, never the run."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bagscope.engine.events import Events
from bagscope.errors import BagscopeError, ModelError
from bagscope.files.writer import read_json, write_atomic, write_json

KEPT = 2
SMALL_JSON = 100_000
KEYS = {"fingerprint", "progress", "network", "optimiser", "schedule"}


@dataclass(frozen=True)
class Checkpoints:
    """Where a training stores its states, and what they belong to.

    fingerprint : of everything that decides the result; states with another one are refused.
    resume : go on from the newest undamaged state, if there is one.
    """

    folder: Path
    fingerprint: str
    resume: bool = False

    def below(self, name: str) -> Checkpoints:
        """Return the checkpoints of a further training of the same run, in a sub-folder."""
        return Checkpoints(self.folder / name, f"{self.fingerprint} {name}", self.resume)


def save(folder: Path, state: dict[str, Any], step: int) -> None:
    """Write a state and then its description; only a described state counts. Older states than two are deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    name = f"state-{step:08d}"
    write_atomic(folder / f"{name}.pt", payload)
    write_json(folder / f"{name}.json", {"step": step, "sha256": hashlib.sha256(payload).hexdigest()})
    for _, old in _described(folder)[KEPT:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".pt").unlink(missing_ok=True)


def newest(folder: Path, fingerprint: str, events: Events) -> dict[str, Any] | None:
    """Return the newest intact state, by the step in its description, or None; damaged ones are reported and skipped.

    Raises
    ------
    ModelError : the state belongs to other rows, files or settings.
    """
    for step, description in _described(folder):
        state = _intact(description, step, events)
        if state is None:
            continue
        if state["fingerprint"] != fingerprint:
            cause = "the table, the files or the settings have changed since this training began"
            raise ModelError(cause, "Restore them, or start again with --overwrite.", code="changed", file=folder)
        return state
    return None


def _intact(description: Path, step: int, events: Events) -> dict[str, Any] | None:
    """Return a state that is intact; of any other report why it is skipped."""
    path = description.with_suffix(".pt")
    try:
        payload = path.read_bytes()
        if hashlib.sha256(payload).hexdigest() == read_json(description, SMALL_JSON)["sha256"]:
            state = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
            if isinstance(state, dict) and state.keys() >= KEYS:
                return state
            why = "not a state of bagscope"
        else:
            why = "damaged (hash)"
    except OSError as error:
        why = f"unusable ({error.strerror})"
    except Exception as error:  # noqa: BLE001 - torch raises all kinds of errors on what it did not write itself
        why = f"not a state of bagscope ({type(error).__name__})"
    events.warn(f"{path}: {why}; trying an older state than step {step}")
    return None


def _described(folder: Path) -> list[tuple[int, Path]]:
    described = []
    for path in folder.glob("state-*.json"):
        try:
            described.append((int(read_json(path, SMALL_JSON)["step"]), path))
        except (BagscopeError, KeyError, TypeError, ValueError):
            continue  # a truncated description does not count
    return sorted(described, reverse=True)
