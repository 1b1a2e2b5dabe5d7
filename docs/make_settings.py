"""Writes docs/settings.md, the page of all settings, from the classes that check them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bagscope.settings.jobs import JOBS, READ_JOBS, SHORT, ReadJob

PAGE = Path(__file__).with_name("settings.md")
HEAD = """\
# Settings

<!-- Made by docs/make_settings.py from src/bagscope/settings; edit the text there. -->

Every choice has one name, `section.key`, and one default, stated here. A TOML file (`--config`, a table per
section) overrules the default, a short option of the command line the file, and `--set section.key=value`
all of them. In Python a choice is a keyword, `bs.train(screen, "model", steps=200)`, or
`**{"training.steps": 200}`. An unknown name is refused, with the nearest known one.

```toml
seed = 3

[training]
steps = 200

[pooling]
name = "noisy_and"
a = 7.5
```

`seed` (a whole number from 0, default 0) decides everything that chance decides: with one seed and
one number of threads a CPU gives one result. The short names are {short}.
"""

TASKS = {
    "images": "# Images\n",
    "blocks": "# Blocks\n\nSections that are not named here are those of images.\n",
    "volumes": "# Volumes\n\nSections that are not named here are those of images.\n",
}


def page() -> str:
    """Return the text of the page."""
    short = ", ".join(f"`{name}` ({full})" for name, full in SHORT.items())
    parts = [HEAD.replace("{short}", short)]
    told: set[str] = set()
    for task, kind in JOBS.items():
        schema = kind.model_json_schema()
        sections = {
            name: schema["$defs"].get(entry.get("$ref", "").rpartition("/")[2])
            for name, entry in schema["properties"].items()
        }
        parts += [TASKS[task], _refused(kind, "training"), _refused(READ_JOBS[task], "scoring")]
        for name, section in sections.items():
            key = f"{name} {section}"
            if section and key not in told:  # what tasks share is told once
                told.add(key)
                parts.append(_section(name, section))
    return "\n".join(parts)


def _refused(kind: type[ReadJob], stage: str) -> str:
    """Return what a stage refuses because it would change nothing: whole sections, then single settings."""
    names = list(kind.without_effect)
    for name, field in kind.model_fields.items():
        section = {f"{name}.{key}" for key in getattr(type(field.default), "model_fields", {})}
        if section and section <= set(names):
            names = [f"{name}.*", *(entry for entry in names if entry not in section)]
    return f"Of no effect and refused in {stage}: {', '.join(f'`{entry}`' for entry in names)}.\n"


def _section(name: str, section: dict[str, Any]) -> str:
    lines = [f"## {name}", "", section["description"], "", "| setting | values | default | what it is |"]
    lines.append("| --- | --- | --- | --- |")
    for key, entry in section["properties"].items():
        about = entry.get("description", "").replace("|", "\\|")
        lines.append(f"| `{name}.{key}` | {_values(entry)} | {_default(entry['default'])} | {about} |")
    return "\n".join([*lines, ""])


def _default(value: Any) -> str:
    if value in ("", None) or value == []:
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(entry: dict[str, Any]) -> str:
    if "anyOf" in entry:
        kinds = [_values(part) for part in entry["anyOf"] if part.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    kind = {
        "boolean": "`true`, `false`",
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "array": "list of texts",
    }[entry["type"]]
    limits = [
        f"{sign} {entry[name]:g}"
        for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if name in entry
    ]
    return " ".join([kind, ", ".join(limits)]).strip()


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(PAGE.read_text("utf-8") != page())
    PAGE.write_text(page(), "utf-8")
