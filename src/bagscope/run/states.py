"""How a training state is kept so that a kill at any moment costs steps, never the run."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from bagscope.errors import BagscopeError, ModelError
from bagscope.files.writer import read_json, write_atomic, write_json
from bagscope.run.events import Events

KEPT = 2
SMALL_JSON = 100_000


def save(folder: Path, state: dict[str, Any], step: int) -> None:
    """Write a state and then its description; only a described state counts. The two newest are kept."""
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
    """Return the newest whole state, by the step in its description, or None; damaged ones are said and passed over.

    Raises
    ------
    ModelError : the state belongs to other rows, files or settings.
    """
    for step, description in _described(folder):
        try:
            payload = description.with_suffix(".pt").read_bytes()
        except OSError as error:
            events.warn(f"{description.with_suffix('.pt')}: unusable ({error.strerror}); trying an older state")
            continue
        if hashlib.sha256(payload).hexdigest() != read_json(description, SMALL_JSON).get("sha256"):
            events.warn(f"{description.with_suffix('.pt')}: damaged (hash); trying an older state than step {step}")
            continue
        state = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
        if state["fingerprint"] != fingerprint:
            cause = "the table, the files or the settings have changed since this training began"
            raise ModelError(cause, "Restore them, or start again with --overwrite.", code="changed", file=folder)
        return state
    return None


def _described(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob("state-*.json"):
        try:
            found.append((int(read_json(path, SMALL_JSON)["step"]), path))
        except (BagscopeError, KeyError, ValueError, OSError):
            continue  # a description that was cut is no description
    return sorted(found, reverse=True)
