"""Do the planted faults still fit the code and the tests, and is a fault that no test sees reported as missed?"""

import ast
from collections import Counter
from pathlib import Path

import pytest

from planted_faults import (
    CAUGHT,
    FAULTS,
    MISSED,
    NOT_APPLICABLE,
    PACKAGE,
    ROOT,
    Copy,
    Fault,
    chosen_faults,
    read_faults,
)

ALL = read_faults()
# Of these, faults are caught by everything else.
WITHOUT_FAULTS = {"errors", "registry", "api", "poolings"}
LEAST_PER_PACKAGE, LEAST = 2, 60


def packages():
    names = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")}
    return {name for name in names if not name.startswith("__")} - WITHOUT_FAULTS


def functions_of(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: f"{fault.package}: {fault.name}")
def test_a_fault_changes_one_place_of_its_package_and_the_code_still_compiles(fault):
    assert fault.old != fault.new
    assert fault.file.split("/")[0].removesuffix(".py") == fault.package
    changed = fault.plant((PACKAGE / fault.file).read_text("utf-8"))
    compile(changed, fault.file, "exec")


def test_every_named_test_exists():
    known = {}
    for fault in ALL:
        assert 1 <= len(fault.tests) <= 2, fault.name
        for test in fault.tests:
            file, _, name = test.partition("::")
            if file not in known:
                known[file] = functions_of(ROOT / file)
            assert name.partition("[")[0] in known[file], test


def test_every_package_has_two_faults_and_all_together_have_sixty():
    counts = Counter(fault.package for fault in ALL)
    assert set(counts) == {path.stem for path in FAULTS.glob("*.toml")} == packages()
    assert min(counts.values()) >= LEAST_PER_PACKAGE
    assert len(ALL) >= LEAST


def test_no_two_faults_are_the_same():
    assert len({fault.name for fault in ALL}) == len(ALL)
    assert len({(fault.file, fault.old, fault.new) for fault in ALL}) == len(ALL)


def test_faults_are_chosen_by_package_or_by_words():
    assert {fault.package for fault in chosen_faults(ALL, "ops")} == {"ops"}
    assert chosen_faults(ALL, ALL[0].name.upper()) == [ALL[0]]
    assert chosen_faults(ALL, "") == ALL
    assert chosen_faults(ALL, "no fault has these words") == []


@pytest.fixture
def copy(tmp_path: Path):
    """A copy of a package of one function, with a test of it and one that cannot run."""
    package, tests = tmp_path / "src" / "toypackage", tmp_path / "tests"
    package.mkdir(parents=True)
    tests.mkdir()
    (package / "__init__.py").write_text("def double(x):\n    return 2 * x\n")
    (tests / "test_toy.py").write_text(
        "from toypackage import double\n\ndef test_double():\n    assert double(3) == 6\n"
    )
    (tests / "test_broken.py").write_text("import no_such_module\n\ndef test_anything():\n    pass\n")
    return Copy.make(tmp_path / "copy", package, tmp_path)


def outcome_of(copy, new, test, old="2 * x"):
    outcome = copy.outcome(Fault("toypackage", "", "__init__.py", old, new, (f"tests/{test}",)), "toypackage")
    return outcome.partition(" (")[0]


def test_a_fault_is_caught_by_failing_tests_alone_and_taken_out_again(copy):
    source = copy.folder / "toypackage" / "__init__.py"
    before = source.read_text()
    assert outcome_of(copy, "3 * x", "test_toy.py::test_double") == CAUGHT
    assert source.read_text() == before
    # As long as the one before, within the same second: what was compiled for that must not be run for this.
    assert outcome_of(copy, "x + x", "test_toy.py::test_double") == MISSED
    assert outcome_of(copy, "3 * x", "test_toy.py::test_double", old="5 * x") == NOT_APPLICABLE


@pytest.mark.parametrize("test", ["test_toy.py::test_that_is_not_there", "test_broken.py"])
def test_a_test_that_does_not_run_catches_nothing(copy, test):
    assert outcome_of(copy, "3 * x", test) == MISSED
