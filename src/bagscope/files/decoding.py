"""What runs inside the decoding process: it answers what is asked on its input, until the input ends.

A question is a line of JSON. An answer is a line of JSON, followed by the bytes of the pixels it announces.
So nothing is unpickled on either side.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from bagscope.errors import ImageReadError
from bagscope.files.field import FieldFiles, read_field
from bagscope.files.guard import guarded
from bagscope.files.header import Selection, Window

READY = b'{"ready": true}\n'


def question_of(field: FieldFiles, window: Window | None) -> bytes:
    """Write a question down. Paths become absolute: the two processes may stand in different folders."""
    asked = {
        "paths": [str(path.absolute()) for path in field.paths],
        "channels": field.channels,
        "selection": asdict(field.selection),
        "window": None if window is None else [int(edge) for edge in window],
    }
    return json.dumps(asked).encode() + b"\n"


def asked_of(question: bytes) -> tuple[FieldFiles, Window | None]:
    """Read a question back."""
    asked = json.loads(question)
    paths = tuple(Path(path) for path in asked["paths"])
    field = FieldFiles(paths, tuple(asked["channels"]), Selection(**asked["selection"]))
    return field, None if asked["window"] is None else tuple(asked["window"])


def answer_of(question: bytes) -> tuple[dict[str, Any], np.ndarray | None]:
    """Decode what is asked for, or say why that cannot be."""
    field, window = asked_of(question)
    try:
        pixels = guarded(field.paths[0], lambda: read_field(field, window))
    except ImageReadError as error:
        return {"problem": asdict(error.problem)}, None
    return {"shape": pixels.shape, "dtype": pixels.dtype.str}, pixels


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
