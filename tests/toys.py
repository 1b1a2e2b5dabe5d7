"""Which tiny screens, trainings and programs the tests of the stages work with."""

import contextlib
import csv
import io
import multiprocessing
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

import bagscope
from specimens import toy_screen

# The least that goes through every stage: one element per image, a look at the validation part, two states, and
# a self-training wherever the network is confident of some cells.
QUICK = {
    "cell_diameter": "off",
    "device": "cpu",
    "threads": 1,
    "steps": 4,
    "batch": 4,
    "training.crop": 63,
    "training.check_every": 2,
    "training.save_every": 2,
    "self_training.steps": 4,
    "self_training.windows": 16,
}
_STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
_FILES = ("model.json", "model.safetensors", "history.csv", "split.csv", "README.md")


def toy(folder, **options):
    """Write a toy screen of 2 x 4 wells and return its table's path."""
    return toy_screen(folder, **{"px": 72, "blob_px": 24, **options})


def quick(table, out, **choices):
    """Train for a moment."""
    return bagscope.train(table, out, **{**QUICK, **choices})


def speaking_net(channels=2, classes=2):
    """Return an untrained network whose maps differ from place to place and from class to class."""
    # Here, since programs that import this file for its other parts do without torch.
    import torch

    from bagscope.nets.bagnet import BagNet
    from bagscope.nets.kraus import KrausNet
    from bagscope.nets.pool import make_pooling

    torch.manual_seed(0)
    body = KrausNet(channels, classes, bias=0.0)
    torch.nn.init.normal_(body.classifier.weight, std=0.2)
    return BagNet(body, make_pooling("noisy_and", classes), classes, none_output=True).eval()


def words(**choices):
    """The quick settings as a person types them."""
    short = {"cell_diameter": "--cell-diameter", "device": "--device", "threads": "--threads", "steps": "--steps"}
    typed = []
    for name, value in {**QUICK, **choices}.items():
        if name in short:
            typed += [short[name], str(value)]
        else:
            typed += ["--set", f"{'training.batch' if name == 'batch' else name}={value}"]
    return typed


def weights(folder):
    """All bytes of a model's weights."""
    return (Path(folder) / "model.safetensors").read_bytes()


def table_of(path):
    """Rows of a CSV file as dictionaries of text."""
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def rewrite(path, change):
    """Write a table anew with its rows changed; `change` takes and returns the list of rows."""
    rows = change(table_of(path))
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def copied(model, out):
    """Copy the files of a model folder, which a test may then damage."""
    out.mkdir()
    for name in _FILES:
        shutil.copy(model / name, out / name)
    return out


class Listener:
    """Keeps what a stage tells."""

    def __init__(self):
        self.said, self.warned, self.steps = [], [], []

    def say(self, text):
        self.said.append(text)

    def warn(self, text):
        self.warned.append(text)

    def progress(self, what, done, total, detail=""):
        self.steps.append((what, done, total))


def command(*arguments, cwd=None):
    """Run the command line in this process; return exit code, stdout and stderr.

    A process of its own costs seconds of imports. `Program` and a shell are for signals, terminals and broken pipes.
    """
    from bagscope.cli import main

    texts = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in _STOPS}
    # As wide as a program without a terminal is, whatever terminal the tests were started from.
    words = mock.patch.object(sys, "argv", ["bagscope", *map(str, arguments)])
    narrow = mock.patch.dict(os.environ, {"COLUMNS": "80"})
    streams = contextlib.redirect_stdout(texts[0]), contextlib.redirect_stderr(texts[1])
    try:
        with contextlib.chdir(cwd or Path.cwd()), words, narrow, streams[0], streams[1]:
            main()
    except SystemExit as leaving:
        return leaving.code or 0, *(text.getvalue() for text in texts)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0, *(text.getvalue() for text in texts)


class Program:
    """The command line in a process of its own, with what it wrote; imports are paid for once per test run.

    A server forks each process when torch and lightning are loaded already; all else is as in a shell.
    """

    def __init__(self, *arguments, cwd):
        self.cwd = Path(cwd)
        self._streams = [self.cwd / f".{name}-{time.monotonic_ns()}" for name in ("out", "err")]
        if "forkserver" not in multiprocessing.get_all_start_methods():
            pytest.skip("this system has no fork server")
        # "fork" in the test's own process would copy its threads' locks; the server has no threads.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["bagscope.cli.app", "bagscope.cli.stages", "bagscope.engine.loop"])
        self._process = context.Process(target=_run, args=([str(a) for a in arguments], self.cwd, *self._streams))
        self._process.start()
        self.pid = self._process.pid

    def kill(self, number):
        """Send a signal, if it still runs."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def is_alive(self):
        return self._process.is_alive()

    def wait_for(self, happens, limit_s=120):
        """Wait until something is true, or the process ends; say whether it was true."""
        until = time.monotonic() + limit_s
        while self.is_alive() and time.monotonic() < until:
            if happens():
                return True
            time.sleep(0.005)
        return happens()

    def ended(self, limit_s=300):
        """Wait for its end; return exit code, stdout and stderr."""
        self._process.join(limit_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        texts = [stream.read_text("utf-8") if stream.exists() else "" for stream in self._streams]
        for stream in self._streams:
            stream.unlink(missing_ok=True)
        return self._process.exitcode, *texts


def _run(arguments, cwd, out, err):
    os.chdir(cwd)
    # Whoever runs the tests in the background has had Ctrl-C taken away; a user at a prompt has not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in ((1, out), (2, err)):
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    sys.argv = ["bagscope", *arguments]
    from bagscope.cli import main

    main()
