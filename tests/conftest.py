"""What tests of several rooms share: a toy screen, and a model trained on it for a moment."""

import pytest

import toys


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Table of a toy screen of 2 x 4 wells; read it, never write to it."""
    return toys.toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def trained(toy, tmp_path_factory):
    """Folder of a model trained on `toy` for a moment; read it, never write to it."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    toys.quick(toy, folder)
    return folder
