"""How options, a TOML file and defaults become one checked job."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError

from bagscope.errors import SettingsError, nearest
from bagscope.settings.block_sections import (
    BlockNetworkSection,
    BlocksSection,
    BlockTrainingSection,
    BlockViewSection,
    MapsSection,
    SecondSection,
)
from bagscope.settings.sections import (
    AugmentSection,
    CallsSection,
    CellsSection,
    ComputeSection,
    ImagesSection,
    NetworkSection,
    PoolingSection,
    ScaleSection,
    Section,
    SelfTrainingSection,
    SplitSection,
    TableSection,
    TrainingSection,
)
from bagscope.settings.shape_sections import (
    BagsSection,
    MeasuresSection,
    ShapeNetworkSection,
    ShapePoolingSection,
    ShapeTrainingSection,
    TurnsSection,
    VolumesSection,
)


class ReadJob(Section):
    """What checking and scoring need to know: how to read, how to call, where to compute.

    without_effect : settings that change nothing here (one value alone: "name=value"); choosing one is refused.
    """

    # A model scores in fp32 whatever it was trained in.
    without_effect: ClassVar[tuple[str, ...]] = ("table.max_missing", "compute.precision=bf16")

    table: TableSection = TableSection()
    images: ImagesSection = ImagesSection()
    cells: CellsSection = CellsSection()
    calls: CallsSection = CallsSection()
    compute: ComputeSection = ComputeSection()
    seed: int = Field(0, ge=0, lt=2**63)


class ImagesJob(ReadJob):
    """Training a network on whole images with the labels of their wells."""

    without_effect = ("images.rescale",)

    task: Literal["images"] = "images"
    scale: ScaleSection = ScaleSection()
    split: SplitSection = SplitSection()
    network: NetworkSection = NetworkSection()
    pooling: PoolingSection = PoolingSection()
    augment: AugmentSection = AugmentSection()
    training: TrainingSection = TrainingSection()
    self_training: SelfTrainingSection = SelfTrainingSection()


# Cells are outlined and scored in images alone; every task writes maps.
_OF_CELLS = ("cells.source", "cells.score", "cells.nuclei", "cells.masks")
_OF_TRAINING = ("table.max_missing", "table.force")
# Volumes are read and cut by settings of their own, and scored in fp32.
_NOT_OF_VOLUMES = (
    *_OF_CELLS,
    *(f"images.{name}" for name in ImagesSection.model_fields),
    "compute.tile",
    "compute.precision=bf16",
)
# Blocks have pixels and regions, but neither cells nor calls, and maps have the pixels of their images.
_NOT_OF_BLOCKS = (*_OF_CELLS, "images.pad", "images.rescale", "calls.threshold", "compute.tile")
_BLOCKS_OF_TRAINING = tuple(
    f"blocks.{name}" for name in BlocksSection.model_fields if name not in ("size", "nodata", "truth")
)
_OF_MAPS = tuple(f"maps.{name}" for name in MapsSection.model_fields if name != "threshold")


class ShapesReadJob(ReadJob):
    """Scoring volumes: how to read, to call, to turn, and where to compute."""

    without_effect = (*_NOT_OF_VOLUMES, *_OF_TRAINING, "turns.scale", "turns.shear")

    volumes: VolumesSection = VolumesSection()
    turns: TurnsSection = TurnsSection()


class VolumesJob(ShapesReadJob):
    """Training a network on the shapes of volumes."""

    # No property of a volume's file is refused for telling the classes apart.
    without_effect = (*_NOT_OF_VOLUMES, "table.force")

    task: Literal["volumes"] = "volumes"
    split: SplitSection = SplitSection()
    network: ShapeNetworkSection = ShapeNetworkSection()
    pooling: ShapePoolingSection = ShapePoolingSection()
    bags: BagsSection = BagsSection()
    measures: MeasuresSection = MeasuresSection()
    training: ShapeTrainingSection = ShapeTrainingSection()


class BlocksReadJob(ReadJob):
    """Making maps: how to read, to outline, and where to compute."""

    # Of what was stated of blocks, maps need the place of coarse labels and the true classes.
    without_effect = (
        *_NOT_OF_BLOCKS,
        *_OF_TRAINING,
        *_BLOCKS_OF_TRAINING,
        "images.channels",
        "compute.precision=bf16",
    )

    blocks: BlocksSection = BlocksSection()
    maps: MapsSection = MapsSection()


class BlockSampleJob(BlocksReadJob):
    """Drawing blocks for an expert: how images and coarse labels are read."""

    without_effect = (
        *_NOT_OF_BLOCKS,
        *_OF_TRAINING,
        *_BLOCKS_OF_TRAINING,
        *_OF_MAPS,
        "blocks.truth",
        "maps.threshold",
        "cells.maps",
        "calls.confidence",
        "compute.precision=bf16",
        "compute.max_failures",
    )


class BlocksJob(BlocksReadJob):
    """Training a network that judges pixels on what is known of blocks."""

    # No rows validate, so training takes all its steps; maps are made, and held against the truth, by scoring.
    without_effect = (
        *_NOT_OF_BLOCKS,
        "split.by",
        "split.validation",
        "training.threshold_rate",
        "training.check_every",
        "training.patience",
        "blocks.truth",
        *_OF_MAPS,
        "compute.max_failures",
    )

    task: Literal["blocks"] = "blocks"
    split: SplitSection = SplitSection()
    network: BlockNetworkSection = BlockNetworkSection()
    view: BlockViewSection = BlockViewSection()
    training: BlockTrainingSection = BlockTrainingSection()
    second: SecondSection = SecondSection()


JOBS: dict[str, type[ReadJob]] = {"images": ImagesJob, "blocks": BlocksJob, "volumes": VolumesJob}
# What may be chosen when a model of a task scores.
READ_JOBS: dict[str, type[ReadJob]] = {"images": ReadJob, "blocks": BlocksReadJob, "volumes": ShapesReadJob}
# Task and stage of each class of jobs, for messages.
_PURPOSE: dict[type[ReadJob], tuple[str, str]] = {
    **{kind: (task, "training") for task, kind in JOBS.items()},
    **{kind: (task, "scoring") for task, kind in READ_JOBS.items()},
    BlockSampleJob: ("blocks", "sampling"),
}

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
    "cells": "cells.source",
    "cell_score": "cells.score",
    "masks": "cells.masks",
    "maps": "cells.maps",
    "spacing": "volumes.spacing",
    "views": "turns.views",
    "proportions": "blocks.proportions",
    "device": "compute.device",
    "threads": "compute.threads",
}


_ALL_NAMES = "The settings page of the docs lists them all."


def make_job(kind: type[ReadJob], config: Path | None = None, choices: Mapping[str, Any] | None = None) -> ReadJob:
    """Defaults, overruled by a TOML file, overruled by single choices.

    Parameters
    ----------
    kind : the class of the job.
    config : a TOML file with a table per section.
    choices : "section.key", a short name of `SHORT`, or "seed" -> value; None values are left out.

    Raises
    ------
    SettingsError : an unknown section or key (with the nearest known one), a value out of range, or a setting that the
        task ignores.
    """
    tree: dict[str, Any] = _read_toml(config) if config else {}
    for name, value in (choices or {}).items():
        if value is not None:
            _place(tree, kind, name, value)
    _refuse_unknown(tree, kind)
    try:
        job = kind.model_validate(tree)
    except ValidationError as error:
        raise _refused(error, tree) from None
    _refuse_without_effect(job)
    return job


def _refuse_without_effect(job: ReadJob) -> None:
    """Refuse settings that the task ignores: whoever chose one expects an effect.

    Raises
    ------
    SettingsError : such settings have other values than by default.
    """
    default, chosen = type(job)(), []
    for entry in job.without_effect:
        name, _, only = entry.partition("=")
        section, _, key = name.partition(".")
        value = getattr(getattr(job, section), key)
        if value != getattr(getattr(default, section), key) and (not only or value == only):
            chosen.append(name)
    if chosen:
        task, stage = _PURPOSE[type(job)]
        cause = f"{', '.join(sorted(chosen))}: of no effect for {task} in {stage}"
        raise SettingsError(cause, f"Leave it out; the docs have a page on {task}.", code="unknown_setting")


def _refused(error: ValidationError, tree: Mapping[str, Any]) -> SettingsError:
    """Name every setting that is wrong; one that may be of several types has one message for each."""
    messages: dict[tuple[str, ...], list[str]] = {}
    for one in error.errors():
        place = tuple(map(str, one["loc"][:2]))
        messages.setdefault(place, []).append(one["msg"].removeprefix("Value error, "))
    causes = []
    for place, said in messages.items():
        value = tree[place[0]][place[1]] if len(place) > 1 else tree[place[0]]
        causes.append(f"setting {'.'.join(place)} = {value!r}: {'; or: '.join(said)}")
    names = ", ".join(".".join(place) for place in messages)
    return SettingsError(" · ".join(causes), f"See the settings page of the docs for {names}.", code="bad_setting")


def parse_set(items: Sequence[str]) -> dict[str, Any]:
    """Turn `section.key=value` items into a mapping of texts; a list or a quoted text is read as TOML.

    Numbers and truth values stay texts until it is known that the setting is one: a column or a folder may be
    called 1E05, true or 2024-01-01.

    Raises
    ------
    SettingsError : an item without '='.
    """
    choices: dict[str, Any] = {}
    for item in items:
        name, sign, text = item.partition("=")
        if not sign or not name.strip():
            cause = f"--set {item!r} has no '='"
            raise SettingsError(cause, "Write --set section.key=value, e.g. --set training.steps=200.", code="bad_set")
        choices[name.strip()] = _value(text.strip())
    return choices


def _value(text: str) -> Any:
    if not text.startswith(("[", '"', "'")):
        return text
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
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
            cause = _unknown(name, [*SHORT, "seed", *_all_keys(kind)])
            raise SettingsError(cause, _ALL_NAMES, code="unknown_setting")
        tree[section] = value
        return
    inner = tree.setdefault(section, {})
    # What is no section is refused with all else, by its own name.
    if isinstance(inner, dict):
        inner[key] = value


def _keys(kind: type[ReadJob], section: str) -> list[str]:
    field = kind.model_fields.get(section)
    inner = field.annotation if field else None
    return list(inner.model_fields) if isinstance(inner, type) and issubclass(inner, Section) else []


def _all_keys(kind: type[ReadJob]) -> list[str]:
    return [f"{s}.{k}" for s in kind.model_fields for k in _keys(kind, s)]


def _refuse_unknown(tree: Mapping[str, Any], kind: type[ReadJob]) -> None:
    causes = []
    for section, inner in tree.items():
        if section not in kind.model_fields:
            if any(section in job.model_fields for job in JOBS.values()):
                cause = f"'{section}' is a section for training; this command has no such setting"
                raise SettingsError(cause, "Leave it out.", code="unknown_setting")
            causes.append(_unknown(section, kind.model_fields, SHORT.get(section, "")))
        keys = _keys(kind, section)
        if keys and not isinstance(inner, Mapping):
            cause = f"'{section}' is a section of settings, not a setting"
            fix = f"Write [{section}] and below it, for instance, {keys[0]} = …"
            raise SettingsError(cause, fix, code="bad_setting")
        unknown = [key for key in inner if key not in keys] if keys else []
        causes += [_unknown(f"{section}.{key}", _all_keys(kind)) for key in unknown]
    if causes:
        raise SettingsError(" · ".join(causes), _ALL_NAMES, code="unknown_setting")


def _unknown(name: str, known: Sequence[str] | Mapping[str, Any], full: str = "") -> str:
    return f"unknown setting '{name}'{f' (did you mean {full!r}?)' if full else nearest(name, known)}"
