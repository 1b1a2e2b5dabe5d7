"""What the tests of blocks share: one screen and one tiny model, trained once."""

import pytest

from tissue import screen_of, trained


@pytest.fixture(scope="session")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tissue")
    screen_of(folder)
    return folder


@pytest.fixture(scope="session")
def model(screen, tmp_path_factory):
    return trained(screen, tmp_path_factory.mktemp("model") / "m")
