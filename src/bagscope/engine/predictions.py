"""What scoring a screen gives, row by row, and when so many rows fail that it stops."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bagscope.engine.failures import Failure
from bagscope.engine.inputs import field_signature
from bagscope.engine.parts import FieldPart
from bagscope.errors import BagscopeError, ImageReadError
from bagscope.files.field import FieldFiles
from bagscope.settings.jobs import ReadJob

# Below so many failed rows a table is small, not its drive gone.
LEAST_FAILURES = 10


@dataclass
class JudgedFields:
    """What came out: parts by position in the screen, failures, and what the model was trained on among them.

    known : part of the training (`train`, `validation`) by position. unlike : fields unlike the training
    images. megapixels : read and scored in this run.
    wells : log-odds and last layer of the bag of all that is in a well, by position of each of its rows; empty where
    a well is the mean of its fields.
    """

    parts: dict[int, FieldPart] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    known: dict[int, str] = field(default_factory=dict)
    unlike: int = 0
    megapixels: float = 0.0
    wells: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


def gone(field: FieldFiles, error: OSError) -> ImageReadError:
    """Say that the drive failed."""
    cause = f"it cannot be read ({error.strerror})"
    return ImageReadError(cause, "Check the drive, then use --resume.", code="io", file=field.paths[0])


def refuse_changed(field: FieldFiles, sign: str) -> None:
    """What is kept under a file's signature must come from that very file."""
    try:
        is_same = field_signature(field) == sign
    except OSError as error:
        raise gone(field, error) from None
    if not is_same:
        cause = "changed while it was read"
        fix = "Let no program write to the images meanwhile."
        raise ImageReadError(cause, fix, code="changed", file=field.paths[0])


def stop_when_too_many(judged: JudgedFields, job: ReadJob, total: int) -> None:
    """Stop when more rows have failed than the settings allow.

    Raises
    ------
    BagscopeError : what was scored stays.
    """
    failed = len(judged.failures)
    if failed <= max(LEAST_FAILURES, job.compute.max_failures * total):
        return
    last = judged.failures[-1].problem
    cause = f"{failed} of {total} fields have failed already, the last one: {last.cause}"
    fix = "Mend the cause and use --resume, or allow more with --set compute.max_failures=1."
    raise BagscopeError(cause, fix, code="too_many_failures")
