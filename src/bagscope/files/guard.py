"""How whatever a decoder or a file system raises becomes one error that names file, cause and fix."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bagscope.errors import ImageReadError, shown

Result = TypeVar("Result")
# What a network drive says when it stalls for a moment. ESTALE is not known on Windows.
_PASSING = {errno.EIO, errno.ETIMEDOUT, getattr(errno, "ESTALE", errno.EIO)}
# Growing waits: a server that restarts needs seconds, a lost packet only a moment.
WAITS_S = (0.2, 1.0)


def guarded(path: Path, read: Callable[[], Result], waits_s: Sequence[float] | None = None) -> Result:
    """Call `read`; whatever it raises becomes an `ImageReadError` of this file.

    Errors that pass by themselves (EIO, ESTALE, ETIMEDOUT) are tried again after each of the waits.
    """
    waits = WAITS_S if waits_s is None else waits_s
    for wait in (*waits, None):
        try:
            return read()
        except ImageReadError as error:
            if error.problem.file:
                raise
            said = error.problem
            raise ImageReadError(said.cause, said.fix, code=said.code, file=path) from error
        except OSError as error:
            if error.errno is None:  # Pillow's word for pixels that it cannot decode
                raise _of_a_decoder(path, error) from error
            if error.errno in _PASSING and wait is not None:
                time.sleep(wait)
                continue
            raise _of_the_system(path, error, len(waits) + 1) from error
        except MemoryError as error:
            cause = "not enough memory to decode it"
            raise ImageReadError(cause, "Use a smaller image or more memory.", code="too_large", file=path) from error
        # Decoders raise what they like: ValueError, KeyError, struct.error, TiffFileError, ZstdError, ...
        except Exception as error:
            if isinstance(error, ImportError) or "imagecodecs" in str(error):
                cause = f"its compression needs imagecodecs ({shown(error)})"
                fix = "Run `pip install imagecodecs`."
                raise ImageReadError(cause, fix, code="codec", file=path) from error
            raise _of_a_decoder(path, error) from error
    raise AssertionError  # the loop always returns or raises


def _of_a_decoder(path: Path, error: Exception) -> ImageReadError:
    cause = f"it cannot be decoded ({type(error).__name__}: {shown(error)})"
    fix = "The file is damaged or unusual: copy it again, or save it anew as TIFF."
    return ImageReadError(cause, fix, code="broken", file=path)


def _of_the_system(path: Path, error: OSError, tries: int) -> ImageReadError:
    if error.errno in _PASSING:
        cause = f"I/O error after {tries} tries ({error.strerror})"
        return ImageReadError(cause, "Check the drive or the network, then use --resume.", code="io", file=path)
    if isinstance(error, FileNotFoundError):
        cause = "the file is not there any more"
        return ImageReadError(cause, "Do not move images during a run.", code="missing_file", file=path)
    if isinstance(error, PermissionError):
        return ImageReadError("no permission to read it", "Change the file's rights.", code="permission", file=path)
    cause = f"it cannot be read ({shown(error.strerror or error)})"
    return ImageReadError(cause, "Check the file and the drive.", code="io", file=path)


class _Records(logging.Handler):
    """Keeps what one thread logs at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.messages.append(record.getMessage())


# Text in an odd encoding (a date, a maker's name) says nothing against the pixels.
_HARMLESS = ("coercing invalid ASCII",)


@contextmanager
def no_complaints() -> Iterator[None]:
    """Raise what tifffile only logs: lost pages and broken tags would otherwise pass in silence.

    Raises
    ------
    ImageReadError : tifffile logged something at WARNING or above in this thread.
    """
    logger, records = logging.getLogger("tifffile"), _Records()
    logger.addHandler(records)
    try:
        yield
    finally:
        logger.removeHandler(records)
    serious = [text for text in records.messages if not any(words in text for words in _HARMLESS)]
    if serious:
        cause = f"tifffile complains: {shown(serious[0])}"
        raise ImageReadError(cause, "Copy the file again, or save it anew as TIFF.", code="odd_tiff")
