"""What runs inside the decoding process: it answers what is asked on its input, until the input ends.

A question is a line of JSON: the name of a function and its arguments. An answer is a line of JSON, followed by the
bytes of the pixels it announces. So nothing is unpickled on either side, and no function runs but those listed here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from bagscope.errors import ImageReadError
from bagscope.files.field import FieldFiles
from bagscope.files.guard import guarded
from bagscope.files.header import Selection
from bagscope.registry import Registry

READY = b'{"ready": true}\n'
READERS = Registry("reader", {
    "read_field": "bagscope.files.field:read_field",
    "read_labels": "bagscope.files.reader:read_labels",
    "read_array": "bagscope.files.npz:read_array",
})  # fmt: skip
_CLASSES = {"FieldFiles": FieldFiles, "Selection": Selection}
_PATH, _CLASS = "path", "class"


def question_of(reader: str, arguments: Sequence[object]) -> bytes:
    """Write a question down.

    Parameters
    ----------
    reader : a name in `READERS`. arguments : numbers, texts, paths, `FieldFiles`, or tuples of these.
    """
    if reader not in READERS.names():
        message = f"{reader} does not run in the decoding process, only {', '.join(READERS.names())}"
        raise ValueError(message)
    return json.dumps([reader, [_written(argument) for argument in arguments]]).encode() + b"\n"


def asked_of(question: bytes) -> tuple[str, tuple[Any, ...]]:
    """Read a question back: the name of the reader and its arguments."""
    reader, arguments = json.loads(question)
    return reader, tuple(_read(argument) for argument in arguments)


def paths_in(arguments: Sequence[object]) -> list[Path]:
    """Return the files that are asked for."""
    paths = [argument for argument in arguments if isinstance(argument, Path)]
    return paths + [path for argument in arguments if isinstance(argument, FieldFiles) for path in argument.paths]


def answer_of(question: bytes) -> tuple[dict[str, Any], np.ndarray | None]:
    """Decode what is asked for, or say why that cannot be."""
    reader, arguments = asked_of(question)
    try:
        pixels = guarded(paths_in(arguments)[0], lambda: READERS.load(reader)(*arguments))
    except ImageReadError as error:
        return {"problem": asdict(error.problem)}, None
    return {"shape": pixels.shape, "dtype": pixels.dtype.str}, pixels


def _written(value: object) -> object:
    """Paths become absolute: the two processes may stand in different folders."""
    if isinstance(value, Path):
        return {_PATH: str(value.absolute())}
    if isinstance(value, FieldFiles | Selection):
        written = {field.name: _written(getattr(value, field.name)) for field in fields(value)}
        return written | {_CLASS: type(value).__name__}
    if isinstance(value, tuple):
        return [_written(part) for part in value]
    return int(value) if isinstance(value, np.integer) else value


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read(part) for part in value)
    if not isinstance(value, dict):
        return value
    if _PATH in value:
        return Path(value[_PATH])
    return _CLASSES[value[_CLASS]](**{name: _read(part) for name, part in value.items() if name != _CLASS})


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # Decoders that print must not print into the answers, nor into the terminal of the person who waits.
    silence = os.open(os.devnull, os.O_WRONLY)
    answers.write(READY)
    answers.flush()
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    questions: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_listen, args=(questions,), daemon=True).start()
    while True:
        said, pixels = answer_of(questions.get())
        try:
            answers.write(json.dumps(said).encode() + b"\n")
            if pixels is not None:
                answers.write(pixels.data)
            answers.flush()
        except OSError:  # nobody listens any more
            os._exit(0)
        pixels = None  # let go of the pixels while waiting


def _listen(questions: SimpleQueue[bytes]) -> None:
    """Take questions while an image is being decoded, so that the end of the parent ends this process at once."""
    for question in sys.stdin.buffer:
        questions.put(question)
    os._exit(0)
