"""Named plug-ins: a name leads to a module, or to an attribute of one, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bagscope.errors import SettingsError, nearest


class Registry:
    """A table of names and of the places where the things live that they name.

    Parameters
    ----------
    kind : what the things are, for messages ("pooling").
    places : name -> "package.module:attribute", or "package.module" for the module itself.
    """

    def __init__(self, kind: str, places: dict[str, str]):
        self.kind = kind
        self._places = dict(places)

    def names(self) -> list[str]:
        """Return all known names, in the order of registration."""
        return list(self._places)

    def load(self, name: str) -> Any:
        """Import and return what `name` stands for.

        Raises
        ------
        SettingsError : the name is unknown; the message lists the known ones.
        """
        if name not in self._places:
            cause = f"unknown {self.kind} '{name}'{nearest(name, self._places)}"
            raise SettingsError(cause, f"Known: {', '.join(self._places)}.", code=f"unknown_{self.kind}")
        place, _, attribute = self._places[name].partition(":")
        module = import_module(place)
        return getattr(module, attribute) if attribute else module
