"""Is memory that was freed while computing there for the next tensor, and given back in the end?"""

import platform

import psutil
import pytest
import torch

from bagscope.engine.compute import memory_kept

MB = 1 << 20
# A page may have up to 2 MiB.
LEAST_PAGES = 256 // 2
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")


def pages_brought(megabytes):
    """Pages that the system had to bring for one large tensor."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(megabytes * MB // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_the_second_of_two_large_tensors_takes_the_pages_of_the_first():
    with memory_kept():
        # A little smaller, since glibc before 2.38 finds no aligned place in a gap of the very same size.
        first, second = pages_brought(256), pages_brought(255)
    assert first >= LEAST_PAGES
    assert second < first / 4


@glibc
def test_memory_is_given_back_when_the_work_ends_or_fails():
    def work():
        with memory_kept():
            torch.ones(256 * MB // 4)
            kept.append(resident().rss)
            raise RuntimeError

    kept, resident = [], psutil.Process().memory_info
    with pytest.raises(RuntimeError):
        work()
    assert resident().rss < kept[0] - 128 * MB


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("no other library has mallopt"))
    with memory_kept():
        pass
