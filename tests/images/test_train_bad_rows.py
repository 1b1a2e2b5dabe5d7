"""What becomes of a training when some of its images cannot be read, at whatever moment that shows?"""

import shutil

import numpy as np
import pytest
import tifffile

import toys
from bagscope.engine import states
from bagscope.engine.card_file import load_card
from bagscope.engine.plan import Plan
from bagscope.errors import BagscopeError, ImageReadError, TableError
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_ome_tiff
from dangerous import let_drive_fail

# Long enough that every row is drawn, whatever the seed.
LONG = {"steps": 24, "training.patience": 24}


def image(table, well):
    return table.parent / f"images/T1_{well}_s1.ome.tif"


def spoil(table, well):
    """Damage the pixels of a well in a way that its header does not show."""
    path = image(table, well)
    tifffile.imwrite(path, tifffile.imread(path), compression="zlib", metadata={"axes": "CYX"}, ome=True)
    with tifffile.TiffFile(path) as opened:
        at = opened.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[at + 20 : at + 60] = bytes(40)
    path.write_bytes(content)


def without(table, well, out):
    """Copy a screen, and leave a well out of its table."""
    shutil.copytree(table.parent, out)
    return toys.rewrite(out / "screen.csv", lambda rows: [row for row in rows if row["well"] != well])


@pytest.fixture
def nothing_fits(monkeypatch):
    """No free memory: pixels are read whenever they are needed."""
    monkeypatch.setattr("bagscope.images.rows.free_memory", lambda: 0)


def refuse_reading(monkeypatch, path, when):
    """Let a file become unreadable as soon as `when` is true."""
    read = DecodingWorker.read

    def read_or_fail(self, field, window=None):
        if path in field.paths and when():
            cause = "the drive is gone"
            raise ImageReadError(cause, "Wait.", code="io", file=path)
        return read(self, field, window)

    monkeypatch.setattr(DecodingWorker, "read", read_or_fail)


def test_a_set_that_does_not_fit_into_memory_gives_the_same_model(toy, trained, tmp_path, nothing_fits):
    toys.quick(toy, tmp_path / "model")
    assert toys.weights(tmp_path / "model") == toys.weights(trained)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("well", ["A01", "D01"])
def test_a_broken_image_is_listed_and_the_model_is_the_one_without_it(well, held, tmp_path, request):
    table = toys.toy(tmp_path / "toy", wells_per_class=5)
    other = without(table, well, tmp_path / "other")
    spoil(table, well)
    if not held:
        request.getfixturevalue("nothing_fits")
    listener = toys.Listener()
    toys.quick(table, tmp_path / "model", events=listener)
    toys.quick(other, tmp_path / "clean")
    in_part = {row["well"]: row["split"] for row in toys.table_of(tmp_path / "model" / "split.csv")}
    (failed,) = toys.table_of(tmp_path / "model" / "failures.csv")
    assert (failed["well"], failed["plate"], failed["image"]) == (well, "T1", f"images/T1_{well}_s1.ome.tif")
    assert failed["cause"].startswith(f"T1_{well}_s1.ome.tif: ")
    assert failed["fix"]
    assert any("1 of 10 failed" in said for said in listener.warned)
    if well not in in_part:  # found before the split
        assert failed["stage"] == "read"
        assert toys.weights(tmp_path / "model") == toys.weights(tmp_path / "clean")
    else:  # it was to watch, and is opened only then
        assert (held, failed["stage"], in_part[well]) == (False, "train", "validation")


@pytest.mark.parametrize("held", [True, False])
def test_a_file_that_the_drive_does_not_give_is_listed_and_the_model_is_the_one_without_it(
    held, tmp_path, monkeypatch, request
):
    table = toys.toy(tmp_path / "toy", wells_per_class=5)
    other = without(table, "A01", tmp_path / "other")
    if not held:
        request.getfixturevalue("nothing_fits")
    toys.quick(other, tmp_path / "clean")
    let_drive_fail(monkeypatch, image(table, "A01").name)
    toys.quick(table, tmp_path / "model")
    (failed,) = toys.table_of(tmp_path / "model" / "failures.csv")
    assert (failed["well"], failed["stage"], failed["code"]) == ("A01", "read", "io")
    assert toys.weights(tmp_path / "model") == toys.weights(tmp_path / "clean")


def training_at(listener, step):
    """True from a step of the training on."""
    return lambda: any(what == "training" and done >= step for what, done, _ in listener.steps)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_an_image_that_breaks_late_is_replaced_and_listed(part, toy, trained, tmp_path, nothing_fits, monkeypatch):
    well = next(row["well"] for row in toys.table_of(trained / "split.csv") if row["split"] == part)
    listener = toys.Listener()
    # The validation part is looked at once, before the first step, and measured never.
    refuse_reading(monkeypatch, image(toy, well), training_at(listener, 2) if part == "train" else lambda: True)
    toys.quick(toy, tmp_path / "model", events=listener, **LONG)
    (failed,) = toys.table_of(tmp_path / "model" / "failures.csv")
    assert (failed["well"], failed["stage"], failed["code"]) == (well, "train", "io")
    assert "the drive is gone" in failed["cause"]
    assert len(toys.table_of(tmp_path / "model" / "history.csv")) == LONG["steps"]


def test_a_drive_that_is_gone_for_good_ends_the_training(toy, tmp_path, nothing_fits, monkeypatch):
    listener = toys.Listener()
    for row in toys.table_of(toy):
        refuse_reading(monkeypatch, toy.parent / row["image"], training_at(listener, 2))
    with pytest.raises(BagscopeError, match="the drive is gone"):
        toys.quick(toy, tmp_path / "model", events=listener, steps=20)
    assert not (tmp_path / "model" / "model.json").exists()


def test_a_training_that_meets_broken_images_is_resumed_to_the_same_weights(tmp_path, nothing_fits, monkeypatch):
    table, all_train = toys.toy(tmp_path / "toy"), {"steps": 20, "validation": 0}
    # Broken from the moment on that the plan is written: after the measuring, before the first crop.
    begun = []
    keep_plan, keep_state = Plan.save, states.save
    monkeypatch.setattr(Plan, "save", lambda self, path: (begun.append(path), keep_plan(self, path)))
    # Half of a class, so that some is met before the cut and again after it, whatever the seed.
    for row in [row for row in toys.table_of(table) if row["label"] == "ring"][:2]:
        refuse_reading(monkeypatch, table.parent / row["image"], lambda: bool(begun))

    def save_and_fail(folder, state, step):
        keep_state(folder, state, step)
        if step == 8:
            message = "pulled the plug"
            raise RuntimeError(message)

    toys.quick(table, tmp_path / "whole", **all_train)
    begun.clear()
    with monkeypatch.context() as patch:
        patch.setattr(states, "save", save_and_fail)
        with pytest.raises(RuntimeError):
            toys.quick(table, tmp_path / "cut", **all_train)
    begun.clear()
    toys.quick(table, tmp_path / "cut", **all_train, resume=True)
    assert toys.weights(tmp_path / "cut") == toys.weights(tmp_path / "whole")
    assert [row["stage"] for row in toys.table_of(tmp_path / "whole" / "failures.csv")] == ["train"] * 2


def test_a_class_that_vanishes_with_its_broken_images_is_refused_and_nothing_is_left(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=2)
    for row in toys.table_of(table):
        if row["label"] == "ring":
            spoil(table, row["well"])
    with pytest.raises(TableError, match=r"1 class \(filled, 2 well\(s\)\); at least 2"):
        toys.quick(table, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_class_that_vanishes_from_the_training_part_is_refused(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=3)

    def change(rows):
        seen = {"filled": 0, "ring": 0}
        for row in rows:
            row["split"] = ("train", "validation", "test")[seen[row["label"]]]
            seen[row["label"]] += 1
        return rows

    rows = toys.table_of(toys.rewrite(table, change))
    spoil(table, next(row["well"] for row in rows if (row["label"], row["split"]) == ("ring", "train")))
    with pytest.raises(TableError, match=r"the rows that train have 1 class"):
        toys.quick(table, tmp_path / "model")


def test_missing_files_are_refused_unless_some_may_be_missing(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=5)
    other = without(table, "B02", tmp_path / "other")
    image(table, "B02").unlink()
    with pytest.raises(TableError, match="files of 1 of 10 rows are missing"):
        toys.quick(table, tmp_path / "model")
    toys.quick(table, tmp_path / "model", **{"table.max_missing": 0.1})
    (failed,) = toys.table_of(tmp_path / "model" / "failures.csv")
    assert (failed["well"], failed["stage"], failed["code"]) == ("B02", "check", "missing_file")
    toys.quick(other, tmp_path / "clean")
    assert toys.weights(tmp_path / "model") == toys.weights(tmp_path / "clean")
    assert load_card(tmp_path / "model").training["rows"] == load_card(tmp_path / "clean").training["rows"]


def test_a_class_that_shows_nothing_at_all_is_refused_and_none_may(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=3)
    for at, row in enumerate(toys.table_of(table)):
        if row["label"] == "ring":
            flat = np.full((2, 72, 72), at, np.uint16)
            write_ome_tiff(table.parent / row["image"], flat, channel_names=("dna", "gfp"))
    with pytest.raises(TableError, match=r"every image of class 'ring' \(3\) is constant"):
        toys.quick(table, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    toys.rewrite(table, lambda rows: [row | {"label": row["label"].replace("ring", "none")} for row in rows])
    toys.quick(table, tmp_path / "model", steps=1)


def test_what_is_left_out_is_told_with_what_is_refused(tmp_path):
    table = toys.toy(tmp_path / "toy", wells_per_class=2)
    for row in toys.table_of(table):
        (table.parent / row["image"]).write_bytes(b"")
    with pytest.raises(TableError) as caught:
        toys.quick(table, tmp_path / "model")
    said = [str(problem) for problem in caught.value.problems]
    assert "none of the 4 rows can be used" in said[0] + said[1]
    assert sum("the file is empty" in text for text in said) == 4
