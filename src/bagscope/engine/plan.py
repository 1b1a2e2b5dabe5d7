"""What decides a run's result, written down so that a later run can tell what has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bagscope import __version__
from bagscope.errors import ModelError
from bagscope.files.writer import read_json, write_json
from bagscope.settings.jobs import ReadJob

LARGEST_PLAN = 100_000_000
_SHOWN = 5
# Where the work is done changes no result beyond rounding.
_NO_RESULT = ("compute",)
_PLANE = ("page", "z", "t")


@dataclass(frozen=True)
class Plan:
    """Settings, and one text per row (its keys, label, part and the content of its files)."""

    settings: dict[str, Any]
    rows: dict[str, str]
    version: str = __version__

    @property
    def fingerprint(self) -> str:
        """Equal for equal rows, files and settings, whatever the version."""
        text = json.dumps([self.settings, self.rows], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the plan."""
        write_json(path, {"version": self.version, "settings": self.settings, "rows": self.rows})


def plan_of(job: ReadJob, rows: pd.DataFrame, parts: Sequence[str], signatures: Sequence[str]) -> Plan:
    """Write down a training run.

    Parameters
    ----------
    rows : of the screen that take part.
    parts, signatures : per row its part and what stands for its files.
    """
    tree = json.loads(job.model_dump_json())
    settings = {name: value for name, value in _flat(tree).items() if not name.startswith(_NO_RESULT)}
    described = {}
    for at, (record, part, sign) in enumerate(
        zip(rows[["plate", "well", "site", "label", *_PLANE]].to_dict("records"), parts, signatures, strict=True)
    ):
        plane = "".join(f", {name} {record[name]}" for name in _PLANE if record[name])
        key = f"{at} {record['plate']}/{record['well']}/{record['site']}"
        described[key] = f"label {record['label']!r}, part {part!r}, file {sign}{plane}"
    return Plan(settings, described)


def refuse_other(path: Path, plan: Plan) -> None:
    """Refuse to go on with a run that was begun by another plan; a plan that is not there refuses nothing.

    Raises
    ------
    ModelError : with the first five things that changed.
    """
    if not path.is_file():
        return
    old = read_json(path, LARGEST_PLAN)
    if not isinstance(old, dict) or not all(isinstance(old.get(name), dict) for name in ("settings", "rows")):
        cause = "not the plan of a training"
        raise ModelError(cause, "Start again with --overwrite.", code="bad_plan", file=path)
    changed = [f"bagscope {old.get('version')} -> {plan.version}"] if old.get("version") != plan.version else []
    for word, before, now in (("setting", old["settings"], plan.settings), ("row", old["rows"], plan.rows)):
        for name in dict.fromkeys((*before, *now)):
            if before.get(name) != now.get(name):
                changed.append(f"{word} {name}: {before.get(name, 'absent')} -> {now.get(name, 'absent')}")
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        cause = f"this training was begun with something else: {'; '.join(changed[:_SHOWN])}{more}"
        fix = "Restore it, or start again with --overwrite."
        raise ModelError(cause, fix, code="changed", file=path.parent)


def _flat(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat
