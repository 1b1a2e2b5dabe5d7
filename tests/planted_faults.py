"""Do the tests see mistakes? Plant each fault of tests/planted in a copy of the package and run the tests for it.

    python tests/planted_faults.py [--only PACKAGE or WORDS] [--jobs N]

tests/planted has a file per package. A fault has a `name` (what is wrong), the `file` below src/bagscope, the text
`old` that occurs exactly once in it, the text `new` in its place, and `tests`, of which at least one must fail.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "bagscope"
FAULTS = ROOT / "tests" / "planted"
CAUGHT, MISSED, NOT_APPLICABLE = "caught", "MISSED", "does not apply"
# Exit code of pytest where tests ran and failed. Others mean that nothing ran, or that the fault broke an import, which
# any test would have seen.
TESTS_FAILED = 1
# The slowest named test takes a minute on a busy machine; a fault may make a loop endless.
LIMIT_S = 600


@dataclass(frozen=True)
class Fault:
    """A plausible mistake, and the tests that must fail because of it."""

    package: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def plant(self, source: str) -> str:
        """Return the source with the fault in it.

        Raises
        ------
        ValueError : the text to be replaced does not occur exactly once.
        """
        count = source.count(self.old)
        if count != 1:
            message = f"{self.file}: {count} places with {self.old!r}, 1 is needed"
            raise ValueError(message)
        return source.replace(self.old, self.new)


def read_faults(folder: Path = FAULTS) -> list[Fault]:
    """Return all faults, package by package."""
    faults = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text("utf-8"))["fault"]:
            faults.append(Fault(path.stem, **(entry | {"tests": tuple(entry["tests"])})))
    return faults


def chosen_faults(faults: Sequence[Fault], only: str) -> list[Fault]:
    """Return the faults of a package, or those whose name or file contains some words; all without words."""
    of_package = [fault for fault in faults if fault.package == only]
    return of_package or [fault for fault in faults if only.casefold() in f"{fault.name} {fault.file}".casefold()]


@dataclass(frozen=True)
class Copy:
    """A copy of the package, in a folder of its own, in which one fault at a time is planted.

    folder : holds the copy. root : working directory of the tests, from which their paths count.
    """

    folder: Path
    root: Path = ROOT

    @classmethod
    def make(cls, folder: Path, package: Path = PACKAGE, root: Path = ROOT) -> Copy:
        """Copy the package."""
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        # By default a compiled file counts as current when time and size of its source are the same, as they are when
        # two faults of one length are planted within a second.
        compileall.compile_dir(folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        return cls(folder, root)

    def run(self, tests: Sequence[str], *options: str) -> tuple[int | None, str]:
        """Run tests on the copy; return pytest's exit code, None where it came to no end, and what it wrote."""
        more = {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *options, *tests]
        try:
            ended = subprocess.run(
                command, cwd=self.root, env=os.environ | more, capture_output=True, text=True, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return None, f"no end after {LIMIT_S} s"
        return ended.returncode, ended.stdout + ended.stderr

    def outcome(self, fault: Fault, package: str = PACKAGE.name) -> str:
        """Say whether the named tests see a fault, and take it out again."""
        path = self.folder / package / fault.file
        source = path.read_text("utf-8")
        try:
            path.write_text(fault.plant(source), "utf-8")
        except ValueError as error:
            return f"{NOT_APPLICABLE} ({error})"
        try:
            code, _ = self.run(fault.tests, "-x")
        finally:
            path.write_text(source, "utf-8")
        return CAUGHT if code == TESTS_FAILED else f"{MISSED} (exit code {code})"


def outcomes(faults: Sequence[Fault], jobs: int) -> int:
    """Plant faults one by one, report each in the order of the list, and return how many were caught."""
    copies: SimpleQueue[Copy] = SimpleQueue()

    def try_fault(fault: Fault) -> str:
        copy = copies.get()
        try:
            return copy.outcome(fault)
        finally:
            copies.put(copy)

    caught = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        for number in range(jobs):
            copies.put(Copy.make(Path(folder, str(number))))
        for fault, outcome in zip(faults, pool.map(try_fault, faults), strict=True):
            report(f"{outcome:8} {fault.package}: {fault.name}")
            caught += outcome == CAUGHT
    return caught


def baseline(faults: Sequence[Fault]) -> str:
    """Run the named tests without any fault; return what pytest wrote where one of them fails anyway."""
    tests = list(dict.fromkeys(test for fault in faults for test in fault.tests))
    with tempfile.TemporaryDirectory() as folder:
        code, text = Copy.make(Path(folder)).run(tests)
    return "" if code == 0 else text


def report(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 when every fault was caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", default="", metavar="PACKAGE or WORDS", help="faults of a package, or with these words"
    )
    parser.add_argument("--jobs", type=int, default=2, help="faults tried at a time, each in a copy of its own")
    parser.add_argument("--baseline", action=argparse.BooleanOptionalAction, default=True,
                        help="run the named tests without a fault first: they must pass")  # fmt: skip
    asked = parser.parse_args(arguments)
    faults = chosen_faults(read_faults(), asked.only)
    if not faults:
        parser.error(f"no fault of the package or with the words {asked.only!r}")
    failing = baseline(faults) if asked.baseline else ""
    if failing:
        report(f"{failing}\nThe named tests do not pass without a fault, so that they show nothing.")
        return 1
    caught = outcomes(faults, max(1, asked.jobs))
    report(f"{caught} of {len(faults)} planted faults caught")
    return 0 if caught == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
