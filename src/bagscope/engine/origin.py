"""Where a result comes from: versions, time, and the command that made it."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bagscope import __version__


def origin() -> dict[str, Any]:
    """Return what models and scores write down of their making."""
    return {
        "bagscope": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
    }


def _command() -> str:
    """The command line of this process when it is bagscope's own, "" when another program called."""
    program = Path(sys.argv[0])
    is_ours = program.stem == "bagscope" or (program.name == "__main__.py" and program.parent.name == "bagscope")
    return shlex.join(["bagscope", *sys.argv[1:]]) if is_ours else ""
