"""How options, a TOML file and defaults become one checked job."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from bagscope.errors import SettingsError, nearest
from bagscope.settings.sections import (
    AugmentSection,
    CallsSection,
    ComputeSection,
    ImagesSection,
    NetworkSection,
    PoolingSection,
    ScaleSection,
    Section,
    SplitSection,
    TableSection,
    TrainingSection,
)


class ReadJob(Section):
    """What checking and scoring need to know: how to read, how to call, where to compute."""

    table: TableSection = TableSection()
    images: ImagesSection = ImagesSection()
    calls: CallsSection = CallsSection()
    compute: ComputeSection = ComputeSection()
    seed: int = Field(0, ge=0)


class ImagesJob(ReadJob):
    """Training a network on whole images with the labels of their wells."""

    task: Literal["images"] = "images"
    scale: ScaleSection = ScaleSection()
    split: SplitSection = SplitSection()
    network: NetworkSection = NetworkSection()
    pooling: PoolingSection = PoolingSection()
    augment: AugmentSection = AugmentSection()
    training: TrainingSection = TrainingSection()


JOBS: dict[str, type[ReadJob]] = {"images": ImagesJob}

# Short names that the command line and bs.train() know, and where they belong.
SHORT = {
    "pooling": "pooling.name",
    "network": "network.name",
    "steps": "training.steps",
    "batch": "training.batch",
    "channels": "images.channels",
    "cell_diameter": "scale.cell_diameter",
    "split_by": "split.by",
    "folds": "split.folds",
    "validation": "split.validation",
    "device": "compute.device",
    "threads": "compute.threads",
}


def make_job(kind: type[ReadJob], config: Path | None = None, choices: Mapping[str, Any] | None = None) -> ReadJob:
    """Defaults, overruled by a TOML file, overruled by single choices.

    Parameters
    ----------
    kind : the class of the job.
    config : a TOML file with a table per section.
    choices : "section.key", a short name of `SHORT`, or "seed" -> value; None values are left out.

    Raises
    ------
    SettingsError : an unknown section or key (with the nearest known one), or a value out of range.
    """
    tree: dict[str, Any] = _read_toml(config) if config else {}
    for name, value in (choices or {}).items():
        if value is not None:
            _place(tree, kind, name, value)
    _refuse_unknown(tree, kind)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"] if not str(p).startswith(("constrained", "literal")))
        cause = f"setting {where} = {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
        raise SettingsError(cause, f"See the settings page of the docs for {where}.", code="bad_setting") from None


def parse_set(items: Sequence[str]) -> dict[str, Any]:
    """Turn `section.key=value` items into a mapping; values are read as TOML, else as text.

    Raises
    ------
    SettingsError : an item without '='.
    """
    choices: dict[str, Any] = {}
    for item in items:
        name, sign, text = item.partition("=")
        if not sign or not name.strip():
            cause = f"--set {item!r} has no '='"
            raise SettingsError(cause, "Write --set section.key=value, e.g. --set training.steps=200.")
        choices[name.strip()] = _value(text.strip())
    return choices


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        cause = f"cannot read the settings: {error.strerror}"
        raise SettingsError(cause, "Check the path.", file=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        cause = f"no TOML: {error}"
        raise SettingsError(cause, "See the settings page of the docs.", file=path) from None


def _place(tree: dict[str, Any], kind: type[ReadJob], name: str, value: Any) -> None:
    full = SHORT.get(name, name)
    section, _, key = full.partition(".")
    if not key:
        if section not in kind.model_fields or _keys(kind, section):
            _unknown(name, [*SHORT, "seed", *_all_keys(kind)])
        tree[section] = value
        return
    if full == "scale.cell_diameter":
        value = str(value)
    if full == "images.channels" and isinstance(value, str):
        value = tuple(part.strip() for part in value.split(",") if part.strip())
    inner = tree.setdefault(section, {})
    if not isinstance(inner, dict):
        _unknown(full, _all_keys(kind))
    inner[key] = value


def _keys(kind: type[ReadJob], section: str) -> list[str]:
    field = kind.model_fields.get(section)
    inner = field.annotation if field else None
    return list(inner.model_fields) if isinstance(inner, type) and issubclass(inner, Section) else []


def _all_keys(kind: type[ReadJob]) -> list[str]:
    return [f"{s}.{k}" for s in kind.model_fields for k in _keys(kind, s)]


def _refuse_unknown(tree: Mapping[str, Any], kind: type[ReadJob]) -> None:
    for section, inner in tree.items():
        if section not in kind.model_fields:
            _unknown(section, kind.model_fields)
        if isinstance(inner, Mapping):
            for key in inner:
                if key not in _keys(kind, section):
                    _unknown(f"{section}.{key}", _all_keys(kind))


def _unknown(name: str, known: Sequence[str] | Mapping[str, Any]) -> None:
    cause = f"unknown setting '{name}'{nearest(name, known)}"
    raise SettingsError(cause, "`bagscope train --help` and the settings page list them all.", code="unknown_setting")
