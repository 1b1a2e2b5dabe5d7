"""What a field's part on disk is worth after a machine lost its power."""

import json
import os

import numpy as np
import pytest

from bagscope.engine.parts import FieldPart, Parts, fingerprint

MARK = fingerprint("weights", 1.4)


@pytest.fixture
def saved(tmp_path):
    parts = Parts(tmp_path)
    parts.save(3, MARK, FieldPart(np.array([-1.25, 0.1]), np.array([3e-17, 2.0, -1.0])))
    return parts


def test_a_part_comes_back_to_the_last_digit(saved):
    part = saved.load(3, MARK)
    assert part.log_odds.tolist() == [-1.25, 0.1]
    assert part.logits.tolist() == [3e-17, 2.0, -1.0]
    assert part.unlike == ""


def test_a_part_keeps_by_what_its_field_differs(tmp_path):
    parts = Parts(tmp_path)
    parts.save(0, MARK, FieldPart(np.zeros(1), np.zeros(2), "dna: brighter"))
    assert parts.load(0, MARK).unlike == "dna: brighter"


def test_a_part_of_other_weights_or_another_field_is_none(saved):
    assert saved.load(3, fingerprint("weights", 1.5)) is None
    assert saved.load(4, MARK) is None


def test_a_part_that_was_cut_or_never_reached_the_disk_is_made_again(saved):
    path = saved.path(3)
    whole = path.read_bytes()
    # The newline at the end is the only byte without which it says the same.
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        assert saved.load(3, MARK) is None, length
        path.write_bytes(whole[:length].ljust(len(whole), b"\0"))
        assert saved.load(3, MARK) is None, length


def test_a_part_does_not_wait_for_the_disk_and_has_its_name_only_when_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("waits for the disk"))
    found = []
    right = type(tmp_path).replace

    def replace(self, target):
        found.append(self.read_bytes())
        return right(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", replace)
    parts = Parts(tmp_path)
    parts.save(0, MARK, FieldPart(np.zeros(1), np.zeros(2)))
    assert found == [parts.path(0).read_bytes()]
    assert [path.name for path in parts.path(0).parent.iterdir()] == ["00000000.json"]


@pytest.mark.parametrize("bad", ["1e999", "-1e999", "NaN"])
@pytest.mark.parametrize("name", ["log_odds", "logits"])
def test_a_part_with_a_score_that_is_no_finite_number_is_made_again(tmp_path, name, bad):
    scores = {"log_odds": np.zeros(2), "logits": np.zeros(2)}
    parts = Parts(tmp_path)
    parts.save(0, MARK, FieldPart(**scores))
    path = parts.path(0)
    assert parts.load(0, MARK) is not None
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {name: [0.0, "bad"]}).replace('"bad"', bad))
    assert parts.load(0, MARK) is None
