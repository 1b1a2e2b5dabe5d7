"""What tests of files share."""

import psutil
import pytest


@pytest.fixture
def children():
    """Give a function: the processes that were started since the test began, with their own."""
    others = set(psutil.Process().children(recursive=True))
    return lambda: [child for child in psutil.Process().children(recursive=True) if child not in others]
