"""What scoring a screen gives, row by row, and when so many rows fail that it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from bagscope.engine.card import Card
from bagscope.engine.failures import Failure, of_error
from bagscope.engine.inputs import field_signature
from bagscope.engine.parts import FieldPart
from bagscope.errors import BagscopeError, ImageReadError
from bagscope.files.field import FieldFiles
from bagscope.settings.jobs import ReadJob
from bagscope.tables.splits import TRAIN, VALIDATION

# With fewer failed rows the table is small; the drive is not gone.
LEAST_FAILURES = 10


@dataclass
class Predictions:
    """The scores of a screen's rows, by position in the screen.

    parts : scores of the rows that could be scored. failures : the other rows.
    training_split : `train` or `validation` for the rows that the model has seen.
    unlike : number of fields that differ from the training images. megapixels : read and scored in this run.
    wells : log-odds and last layer of a well's bag, by position of each of its rows; empty where a well is the mean of
    its fields.
    warnings : what became known during scoring.
    """

    parts: dict[int, FieldPart] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    training_split: dict[int, str] = field(default_factory=dict)
    unlike: int = 0
    megapixels: float = 0.0
    wells: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def scored(self) -> int:
        """Number of rows that have scores."""
        return len(self.parts)

    def fail(self, position: int, stage: str, error: ImageReadError) -> None:
        """List a row that could not be scored."""
        self.failures.append(of_error(position, stage, error))

    def add(self, other: Predictions) -> None:
        """Add the rows that another model scored."""
        self.parts |= other.parts
        self.failures += other.failures
        self.wells |= other.wells
        self.unlike += other.unlike
        self.megapixels += other.megapixels


@dataclass(frozen=True)
class RowLimit:
    """When scoring stops because too many rows fail.

    job : whose `compute.max_failures` is the largest fraction. total : rows of the screen, or of the fold.
    """

    job: ReadJob
    total: int

    def refuse(self, failures: list[Failure]) -> None:
        """Stop when more rows have failed than the settings allow.

        Raises
        ------
        BagscopeError : scores that are written already stay.
        """
        failed = len(failures)
        if failed <= max(LEAST_FAILURES, self.job.compute.max_failures * self.total):
            return
        cause = f"{failed} of {self.total} fields have failed already, the last one: {failures[-1].problem.cause}"
        fix = "Mend the cause and use --resume, or allow more with --set compute.max_failures=1."
        raise BagscopeError(cause, fix, code="too_many_failures")


def score_each(
    rows: Iterable[tuple[int, Callable[[], None]]],
    predictions: Predictions,
    limit: RowLimit,
    progress: Callable[[int], None],
) -> None:
    """Score rows one by one; a row that cannot be read is listed, and the others go on.

    Parameters
    ----------
    rows : position of each row in the screen, and the function that scores it into `predictions`.
    progress : called with the number of rows that are done.

    Raises
    ------
    BagscopeError : more rows fail than `limit` allows, those that failed before included.
    """
    limit.refuse(predictions.failures)
    for done, (position, score_row) in enumerate(rows, start=1):
        failed = len(predictions.failures)
        try:
            score_row()
        except ImageReadError as error:
            predictions.fail(position, "score", error)
        if len(predictions.failures) > failed:
            limit.refuse(predictions.failures)
        progress(done)


def training_splits(card: Card) -> dict[str, str]:
    """Return the part, `train` or `validation`, of each row that a model has seen, by the signature of its files."""
    rows = card.training.get("rows", {})
    return {signature: part for part in (TRAIN, VALIDATION) for signature in rows.get(part, ())}


def drive_error(field: FieldFiles, error: OSError) -> ImageReadError:
    """Turn an error of the drive into one that names the file and the fix."""
    cause = f"it cannot be read ({error.strerror})"
    return ImageReadError(cause, "Check the drive, then use --resume.", code="io", file=field.paths[0])


def refuse_changed(field: FieldFiles, signature: str) -> None:
    """Refuse scores that would be stored under a signature that the files no longer have.

    Raises
    ------
    ImageReadError : the files changed while they were read, or cannot be read any more.
    """
    if field_signature(field) != signature:
        cause = "changed while it was read"
        fix = "Let no program write to the images meanwhile."
        raise ImageReadError(cause, fix, code="changed", file=field.paths[0])
