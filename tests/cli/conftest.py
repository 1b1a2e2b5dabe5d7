"""What tests of the command line start from: a folder as a user has one."""

import shutil

import pytest

import toys


@pytest.fixture
def place(toy, trained, tmp_path):
    """A folder with images, a table of them, and a model."""
    shutil.copytree(toy.parent / "images", tmp_path / "images")
    shutil.copy(toy, tmp_path / "screen.csv")
    toys.copied(trained, tmp_path / "model")
    return tmp_path
