"""Are plug-ins found by name, and imported no earlier than asked for?"""

import sys

import pytest

from bagscope.errors import SettingsError
from bagscope.registry import Registry


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A registry of two plug-ins in a module that nobody has imported yet."""
    (tmp_path / "made_up_shapes.py").write_text("def circle():\n    return 'round'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("shape", {"circle": "made_up_shapes:circle", "all": "made_up_shapes"})
    sys.modules.pop("made_up_shapes", None)


def test_a_plug_in_is_imported_on_first_use(shapes):
    assert shapes.names() == ["circle", "all"]
    assert "made_up_shapes" not in sys.modules
    assert shapes.load("circle")() == "round"
    assert shapes.load("circle") is sys.modules["made_up_shapes"].circle


def test_a_place_without_an_attribute_is_the_module(shapes):
    module = shapes.load("all")
    assert module is sys.modules["made_up_shapes"]


def test_an_unknown_name_is_refused_with_the_nearest_and_all_that_are_known(shapes):
    with pytest.raises(SettingsError, match=r"unknown shape 'circel' \(did you mean 'circle'\?\)") as refused:
        shapes.load("circel")
    assert refused.value.problem.fix == "Known: circle, all."
    assert refused.value.problem.code == "unknown_shape"
    assert "made_up_shapes" not in sys.modules


def test_a_registry_does_not_change_with_the_table_it_was_made_from():
    table = {"join": "os.path:join"}
    registry = Registry("word", table)
    table.clear()
    assert registry.names() == ["join"]
