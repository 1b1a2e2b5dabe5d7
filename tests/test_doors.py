"""Do the doors of the repository lead where they say: make, pinned versions, what a fresh clone must pass?"""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
TARGETS = {"setup", "demo", "test", "lint", "check", "bench", "docs"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M))
PINNED = {canonicalize_name(name): Version(version) for name, version in PINNED.items()}

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def wanted():
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *(text for extra in extras.values() for text in extra)]:
        requirement = Requirement(text)
        if requirement.name != "bagscope":
            yield requirement


def test_every_library_that_is_asked_for_is_pinned_within_its_range():
    asked = list(wanted())
    assert len(asked) > 20
    wrong = [str(one) for one in asked if PINNED.get(canonicalize_name(one.name), Version("0")) not in one.specifier]
    assert not wrong


def test_the_pins_are_exact_and_not_of_bagscope_itself():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) == len(PINNED)
    assert "bagscope" not in PINNED
    assert PINNED["torch"] == Version("2.13.0")
    assert PINNED["pandas"] < Version("3")


@needs_make
def test_make_alone_lists_every_target():
    make = ["make", "--no-print-directory", "-C", str(ROOT)]
    alone = subprocess.run(make, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"make (\w+)", alone)) >= TARGETS
    assert alone == subprocess.run([*make, "help"], capture_output=True, text=True, check=True).stdout


@needs_make
@pytest.mark.parametrize(("stamp", "is_made"), [(None, True), ("elsewhere", True), ("here", False)])
def test_an_environment_from_elsewhere_is_made_anew(stamp, is_made, tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    if stamp:
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv" / ".made-for").write_text(str(tmp_path) if stamp == "here" else "/" + stamp)
    plan = subprocess.run(["make", "-n", "setup"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert ("venv --clear" in plan) == is_made


@pytest.mark.parametrize(
    ("fails", "called", "code"), [("", ["lint", "test"], 0), ("lint", ["lint"], 7), ("test", ["lint", "test"], 7)]
)
def test_a_clone_passes_when_lint_and_tests_pass(fails, called, code, tmp_path):
    stand_in = tmp_path / "make"
    stand_in.write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/called"\n[ "$*" != "{fails}" ] || exit 7\n')
    stand_in.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", str(ROOT / ".ci" / "run")], env=environment, capture_output=True, check=False)
    assert done.returncode == code
    assert (tmp_path / "called").read_text().split() == called
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
