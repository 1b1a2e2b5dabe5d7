"""How a page is put together so that it needs no other place, and nothing it holds can become markup or script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2

_FILES = "bagscope.report.page_files"


def page_file(name: str) -> str:
    """Return the text of a template, style or script of ours."""
    return resources.files(_FILES).joinpath(name).read_text("utf-8")


def rendered(template: str, content: Mapping[str, Any], *, style: str, script: str) -> str:
    """Fill a template of ours, which may extend others: every value is escaped unless the template says it is ours.

    Parameters
    ----------
    style, script : of the page; its Content-Security-Policy allows no others.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(page_file), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(
        **content, style=style, script=script, style_hash=_hash_of(style), script_hash=_hash_of(script)
    )


def _hash_of(text: str) -> str:
    """Return what a Content-Security-Policy knows a style or script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def json_text(value: Any) -> str:
    """JSON that no browser takes for markup, whatever names it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign, spelled in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(sign, spelled)
    return text
