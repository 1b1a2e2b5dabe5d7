"""Is everything public found under its name, and nothing heavy loaded before it is needed?"""

import importlib
import subprocess
import sys

import pytest

import bagscope

HEAVY = ("torch", "lightning", "pandas", "skimage", "numpy", "scipy", "matplotlib", "tifffile", "pyarrow")

# Runs code in a fresh interpreter, whatever it prints, and tells which modules it has loaded.
ASK = """
import contextlib, io, sys
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    try:
        {code}
    except SystemExit as leaving:
        code = leaving.code
    else:
        code = 0
print(code or 0, *sorted({{name.split('.')[0] for name in sys.modules}}))
"""


def loaded(code):
    """Exit code and top-level modules after `code` has run alone."""
    done = subprocess.run([sys.executable, "-c", ASK.format(code=code)], capture_output=True, text=True, check=True)
    exit_code, *names = done.stdout.split()
    return int(exit_code), set(names)


def help_of(*words):
    return f"sys.argv = {['bagscope', *words]!r}; from bagscope.cli import main; main()"


def test_importing_bagscope_loads_nothing_heavy():
    _, modules = loaded("import bagscope")
    assert "bagscope" in modules
    assert not modules & {*HEAVY, "pydantic", "typer", "rich"}


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("proportions", "sample", "--help"),
        *((verb, "--help") for verb in ("demo", "import", "check", "train", "score", "info")),
    ],
)
def test_asking_for_help_loads_nothing_heavy(words):
    exit_code, modules = loaded(help_of(*words))
    assert exit_code == 0
    assert "typer" in modules  # the help was made
    assert not modules & set(HEAVY)


def test_a_look_at_a_table_or_a_models_card_needs_no_torch():
    exit_code, modules = loaded("import bagscope.cli.stages")
    assert exit_code == 0
    assert "pandas" in modules  # a table is looked at
    assert not modules & {"torch", "lightning", "skimage", "matplotlib"}


def test_the_question_sees_what_is_loaded():
    assert {"numpy"} <= loaded("import numpy")[1]
    assert loaded("sys.exit(3)")[0] == 3


def test_every_public_name_resolves_to_what_it_says():
    for name in bagscope.__all__:
        found = getattr(bagscope, name)
        assert found.__name__.split(".")[-1] == name
        assert found.__doc__, f"bagscope.{name} has no docstring"


def test_names_are_listed_once_and_in_order():
    assert list(bagscope.__all__) == sorted(set(bagscope.__all__), key=lambda name: (name.islower(), name))
    assert set(bagscope.__all__) == set(bagscope._PLACES)
    assert set(bagscope.__all__) <= set(dir(bagscope))


def test_what_the_contract_names_is_there():
    assert {"read_screen", "check", "train", "load", "import_screen", "poolings"} <= set(bagscope.__all__)
    assert set(bagscope.poolings.__all__) == {"noisy_and", "noisy_or", "isr", "gm", "lse", "mean", "max"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        bagscope.trian  # noqa: B018


def test_every_plug_in_that_a_registry_names_exists():
    from bagscope.importers import IMPORTERS
    from bagscope.nets import NETWORKS
    from bagscope.nets.pool import POOLINGS

    for registry in (IMPORTERS, NETWORKS, POOLINGS):
        assert registry.names()
        for name in registry.names():
            assert callable(registry.load(name))


def test_the_version_is_that_of_the_distribution():
    assert importlib.metadata.version("bagscope") == bagscope.__version__
