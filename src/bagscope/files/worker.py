"""How images are decoded in another process, so that a decoder that crashes or hangs costs one image, not the run."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVarTuple, cast

import numpy as np

from bagscope.errors import BagscopeError, ImageReadError, Problem, shown
from bagscope.files.decoding import READY, paths_in, question_of
from bagscope.files.field import FieldFiles, read_field
from bagscope.files.header import Window

Arguments = TypeVarTuple("Arguments")
# A machine under load needs seconds to start Python and NumPy; a minute means that it will not start.
START_LIMIT_S = 60.0
_TRIES = 2
# Linux gives a pipe 64 kB; with more, child and parent copy large images at the same time instead of in turns.
_PIPE_BYTES = 1 << 20
_END_LIMIT_S = 5.0
# The child decodes one segment after another; threads of its mathematics libraries would only take memory.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_PROGRAM = """\
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
import sys
sys.path[:] = {path}
from bagscope.files.decoding import main
main()
"""


class DecodingWorker:
    """Runs the functions that decode pixels in a disposable process.

    A call returns what the function returns here, or raises the same `ImageReadError`. A process that dies is
    replaced, one that takes too long is killed; neither harms the next file. Several threads may share a worker: it
    takes one call at a time, and the time limit of a call begins when its turn has come.

    In a `with` block the process starts at once; otherwise with the first call, and `close` ends it. It also ends by
    itself when this process ends, however that happens. It ignores Ctrl-C and SIGTERM, which go to the whole group
    of processes: this process decides what they mean.

    Parameters
    ----------
    time_limit_s : seconds that one call may take.
    """

    def __init__(self, time_limit_s: float):
        self.time_limit_s = time_limit_s
        self._child: _Child | None = None
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        # Python starts while the caller still looks at its table.
        self._child = _Child()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; the next call would start a new one."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def read(self, field: FieldFiles, window: Window | None = None) -> np.ndarray:
        """Read the pixels of a field, (C, H, W), or of a window (y0, y1, x0, x1) of it; see `run`."""
        return self.run(read_field, field, window)

    def run(self, reader: Callable[[*Arguments], np.ndarray], *arguments: *Arguments) -> np.ndarray:
        """Call a function that decodes pixels.

        Parameters
        ----------
        reader : one of `decoding.READERS`. arguments : see `decoding.question_of`; one of them names a file.

        Raises
        ------
        ImageReadError : as the function; also code "timeout", and "crashed" when the file killed two processes.
        BagscopeError : no process can be started.
        """
        question, paths = question_of(reader.__name__, arguments), paths_in(arguments)
        with self._turn:
            answer = self._answered(question, paths)
        if isinstance(answer, Problem):
            raise _as_asked(answer, paths)
        return answer

    def _answered(self, question: bytes, paths: Sequence[Path]) -> np.ndarray | Problem:
        how = ""
        for _ in range(_TRIES):
            try:
                return self._asked(question)
            except _Died as died:
                how = str(died)
            except TimeoutError:
                cause = f"reading it took longer than {self.time_limit_s:g} s"
                fix = "Check the drive or the network, or allow more with --set compute.io_timeout=600."
                raise ImageReadError(cause, fix, code="timeout", file=paths[0]) from None
        cause = f"it killed the decoding process {_TRIES} times ({how})"
        fix = "The file is damaged, or memory ran out: save it anew, or free memory."
        raise ImageReadError(cause, fix, code="crashed", file=paths[0])

    def _asked(self, question: bytes) -> np.ndarray | Problem:
        try:
            return self._started().ask(question, self.time_limit_s)
        except BaseException:  # also KeyboardInterrupt: the answer to this question would be taken for the next one's
            self.close()
            raise

    def _started(self) -> _Child:
        try:
            return self._ready()
        except BagscopeError:
            # Somebody ended it while it started, or memory was short for a moment.
            self.close()
            return self._ready()

    def _ready(self) -> _Child:
        if self._child is None or not self._child.is_alive():
            self.close()
            self._child = _Child()
        self._child.wait_until_ready()
        return self._child


class _Died(Exception):
    """The process ended before it answered; says how."""


class _Child:
    """One process and the thread that listens to it."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable or "python", "-P", "-c", _PROGRAM.format(path=ascii(_search_path()))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise _does_not_start(shown(error)) from None
        _widen(self._process.stdout)
        self._ready = False
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="decoding", daemon=True)
        self._listener.start()

    def is_alive(self) -> bool:
        return self._process.poll() is None and self._listener.is_alive()

    def wait_until_ready(self) -> None:
        """Wait for a process that was just started; this is no image's fault and counts for none."""
        if self._ready:
            return
        try:
            self._ready = self._next(START_LIMIT_S) == READY
        except (_Died, TimeoutError) as error:
            raise _does_not_start(self._last_words() or str(error) or "no answer") from None

    def ask(self, question: bytes, limit_s: float) -> np.ndarray | Problem:
        """Ask one question and wait for its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question)
            self._process.stdin.flush()
        except OSError:
            raise _Died(self._how_it_ended()) from None
        return self._next(limit_s)

    def end(self) -> None:
        """Kill the process, which has nothing to lose, and wait until it is gone."""
        self._process.kill()
        # One that waits for a broken drive cannot even be killed; it goes when the drive answers.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_LIMIT_S)
        self._listener.join(_END_LIMIT_S)
        streams = [self._process.stdin, self._process.stderr]
        streams += [] if self._listener.is_alive() else [self._process.stdout]
        for stream in filter(None, streams):
            with suppress(OSError):
                stream.close()

    def _next(self, limit_s: float) -> Any:
        try:
            answer = self._answers.get(timeout=min(limit_s, threading.TIMEOUT_MAX))
        except queue.Empty:
            raise TimeoutError from None
        if answer is None:
            raise _Died(self._how_it_ended())
        return answer

    def _listen(self) -> None:
        """Take answers off the pipe, in a thread: only so can the wait for one be given up everywhere."""
        stream = cast(BufferedReader, self._process.stdout)
        # What a site's own start-up prints comes before.
        while (line := stream.readline()) and not line.endswith(READY):
            continue
        self._answers.put(READY if line else None)
        while self._take(stream):
            continue
        self._answers.put(None)

    def _take(self, stream: BufferedReader) -> bool:
        """Take one answer; False when the process has ended."""
        line = stream.readline()
        if not line:
            return False
        said = json.loads(line)
        if "problem" in said:
            self._answers.put(Problem(**said["problem"]))
            return True
        try:
            pixels = np.empty(said["shape"], said["dtype"])
        except MemoryError:
            self._process.kill()  # what follows on the pipe are pixels that nobody takes
            cause, fix = "not enough memory for its pixels", "Use a smaller image or more memory."
            self._answers.put(Problem("refuse", "too_large", cause, fix))
            return False
        if stream.readinto(pixels.reshape(-1).view(np.uint8).data) < pixels.nbytes:
            return False
        self._answers.put(pixels)
        return True

    def _last_words(self) -> str:
        """What the process complained of before it ended."""
        assert self._process.stderr is not None
        self._process.kill()
        lines = self._process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        return shown(lines[-1]) if lines else ""

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_LIMIT_S)
        code = self._process.returncode
        if code is None or code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"signal {-code}, {signal.Signals(-code).name}"
        return f"signal {-code}"


def _does_not_start(why: str) -> BagscopeError:
    cause = f"the process that decodes images does not start ({why})"
    return BagscopeError(cause, "Free memory, or install bagscope anew.", code="no_worker")


def _as_asked(said: Problem, paths: Sequence[Path]) -> ImageReadError:
    """Name the file as the caller does, not by the absolute path that was sent."""
    names = {str(path.absolute()): str(path) for path in paths}
    file = names.get(said.file, said.file) or paths[0]
    return ImageReadError(said.cause, said.fix, code=said.code, file=file, column=said.column)


def _search_path() -> list[str]:
    """Return where this process finds its modules; the folder it happens to stand in is not one of the places."""
    package = str(Path(__file__).absolute().parents[2])
    found = [place for place in sys.path if isinstance(place, str) and place]
    return found if package in found else [package, *found]


def _environment() -> dict[str, str]:
    # PYTHONINSPECT would keep the process as a prompt.
    return {name: value for name, value in os.environ.items() if name != "PYTHONINSPECT"} | _ONE_THREAD


def _widen(pipe: Any) -> None:
    """Make a pipe larger where that is possible; without it all works the same, a little slower."""
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return
