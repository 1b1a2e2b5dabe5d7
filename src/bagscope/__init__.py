"""bagscope learns from well labels alone which images, wells and treatments show a phenotype.

Names are resolved on first use, so that importing bagscope loads none of its heavy dependencies.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "BagscopeError": "bagscope.errors",
    "Model": "bagscope.images.predict",
    "check": "bagscope.api",
    "import_screen": "bagscope.importers",
    "load": "bagscope.api",
    "poolings": "",
    "read_screen": "bagscope.tables.table",
    "report": "",
    "train": "bagscope.api",
}

__all__ = ["BagscopeError", "Model", "check", "import_screen", "load", "poolings", "read_screen", "report", "train"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        message = f"module 'bagscope' has no attribute {name!r}"
        raise AttributeError(message)
    place = _PLACES[name]
    found = getattr(import_module(place), name) if place else import_module(f"bagscope.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
