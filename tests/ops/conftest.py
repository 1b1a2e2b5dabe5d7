"""How many threads these tests take."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """A second thread gains nothing on a few numbers, and waits for a core that other programs have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
