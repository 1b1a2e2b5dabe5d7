"""What tests of several rooms share: a toy screen, a model trained on it for a moment, and a browser."""

import os
import shutil
import signal

import pytest

# Set before NumPy and torch are loaded, also for the programs that tests start: workers that share the cores would
# wait for one another. A number that is set already is respected, and no test depends on it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell takes Ctrl-C away from what it runs in the background; tests that send it rely on it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Table of a toy screen of 2 x 4 wells; read it, never write to it."""
    import toys

    return toys.toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def trained(toy, tmp_path_factory):
    """Folder of a model trained on `toy` for a moment; read it, never write to it."""
    import toys

    folder = tmp_path_factory.mktemp("trained") / "model"
    toys.quick(toy, folder)
    return folder


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser():
    """A Chromium without a window, driven by playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's chromium to have pages clicked through")
    with sync_api.sync_playwright() as player:
        started = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
