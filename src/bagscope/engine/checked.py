"""What of a card may reach a network: only what a user could have set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bagscope.errors import ModelError
from bagscope.settings.sections import Section


def checked_options(kind: type[Section], options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Options from a card are strangers' text: only what a user could have set reaches a network.

    Raises
    ------
    ModelError : anything else.
    """
    try:
        return kind.model_validate(options).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        cause = f"{name}.{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ModelError(cause, "The card was changed or damaged; train again.", code="bad_card") from None
