"""Which training state is gone on with, and what becomes of those that are damaged or foreign?"""

import hashlib
import io
import json
import os
import zipfile

import pytest
import torch

import toys
from bagscope.engine import states
from bagscope.errors import ModelError


def state(step):
    network = {"w": torch.arange(1000.0) + step}
    return {"fingerprint": "plan", "progress": {"step": step}, "network": network, "optimiser": {}, "schedule": {}}


@pytest.fixture
def kept(tmp_path):
    for step in (2, 4):
        states.save(tmp_path, state(step), step)
    return tmp_path


def newest(folder, listener=None):
    found = states.newest(folder, "plan", listener or toys.Listener())
    return None if found is None else found["progress"]["step"]


def replaced(folder, payload, step=4):
    """Put other bytes in a state's place, and describe them as if they were ours."""
    (folder / f"state-{step:08d}.pt").write_bytes(payload)
    said = {"step": step, "sha256": hashlib.sha256(payload).hexdigest()}
    (folder / f"state-{step:08d}.json").write_text(json.dumps(said))


def test_the_two_newest_are_kept_and_the_newest_is_gone_on_with(kept):
    states.save(kept, state(6), 6)
    assert newest(kept) == 6
    assert sorted(path.name for path in kept.iterdir()) == [
        f"state-{step:08d}.{kind}" for step in (4, 6) for kind in ("json", "pt")
    ]
    found = states.newest(kept, "plan", toys.Listener())
    assert torch.equal(found["network"]["w"], state(6)["network"]["w"])


def test_an_empty_or_missing_folder_has_no_state(tmp_path):
    assert newest(tmp_path) is None
    assert newest(tmp_path / "gone") is None


def test_which_is_newest_is_told_by_its_step_not_by_name_or_date(kept):
    for path in kept.glob("*-00000004.*"):
        os.utime(path, (0, 0))
    for path in kept.glob("*-00000002.*"):
        os.utime(path, (4e9, 4e9))
    assert newest(kept) == 4
    for kind in ("json", "pt"):
        (kept / f"state-00000004.{kind}").rename(kept / f"state-00000001.{kind}")
    assert newest(kept) == 4


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.99])
def test_a_state_that_was_cut_is_passed_over_and_said(kept, share):
    path = kept / "state-00000004.pt"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    listener = toys.Listener()
    assert newest(kept, listener) == 2
    (said,) = listener.warned
    assert "state-00000004.pt" in said
    assert "damaged (hash)" in said


def test_one_flipped_bit_is_seen(kept):
    path = kept / "state-00000004.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert newest(kept) == 2


def test_a_state_without_its_file_or_with_a_cut_description_does_not_count(kept):
    (kept / "state-00000004.pt").unlink()
    assert newest(kept) == 2
    description = kept / "state-00000002.json"
    for text in (description.read_text()[:10], "[]", "7", "null", '"step"', '{"step": "x"}', "{}"):
        description.write_text(text)
        assert newest(kept) is None


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("EVIL_PICKLE_RAN",))


def foreign():
    import pickle

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("data.pkl", pickle.dumps(Evil()))
        zipped.writestr("../../escaped", b"x")
    ours = io.BytesIO()
    torch.save({"fingerprint": "plan", "network": Evil()}, ours)
    other = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, other)
    return {
        "pickle": pickle.dumps(Evil()),
        "zip": archive.getvalue(),
        "torch file with an object": ours.getvalue(),
        "torch file of another program": other.getvalue(),
        "text": b"hello",
        "nothing": b"",
    }


@pytest.mark.parametrize("name", foreign())
def test_what_is_no_state_of_ours_is_passed_over_and_nothing_of_it_runs(name, kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replaced(kept, foreign()[name])
    listener = toys.Listener()
    assert newest(kept, listener) == 2
    assert "not a state of bagscope" in listener.warned[0]
    assert not (tmp_path / "EVIL_PICKLE_RAN").exists()
    assert not (tmp_path.parent.parent / "escaped").exists()


def test_a_state_of_another_plan_is_refused(kept):
    with pytest.raises(ModelError, match="have changed since this training began"):
        states.newest(kept, "another plan", toys.Listener())
