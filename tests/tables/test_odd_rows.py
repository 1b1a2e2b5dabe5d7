"""Are rows and tables at the edge of what a table is read, or refused by name?"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bagscope.errors import TableError
from bagscope.tables.confounding import predictability, problems
from bagscope.tables.frames import csv_bytes, parquet_bytes, read_parquet
from bagscope.tables.labels import Vocabulary, vocabulary_of
from bagscope.tables.paths import ImageFolder
from bagscope.tables.table import make_screen, parse_screen

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs the rights of POSIX")


@pytest.fixture
def table(tmp_path):
    """Write a table and its images; give back screen and problems."""

    def write(text):
        for name in "abcd":
            (tmp_path / f"{name}.tif").write_bytes(b"")
        (tmp_path / "screen.csv").write_text(text)
        return parse_screen(tmp_path / "screen.csv")

    return write


def codes(found):
    return [problem.code for problem in found]


def test_a_column_of_ones_own_that_is_there_twice_is_handed_through_once(table):
    screen, found = table("image,label,note,note\na.tif,x,one,two\n")
    assert codes(found) == ["column_twice"]
    assert found[0].severity == "warn"
    assert screen.rows["note"].tolist() == ["one"]


def test_a_header_alone_is_refused(table):
    screen, found = table("image,label\n")
    assert screen is None
    assert codes(found) == ["empty_table"]


def test_a_screen_made_of_columns_without_images_is_refused(tmp_path):
    with pytest.raises(TableError) as refused:
        make_screen({"label": ["x"], "well": ["A01"]}, tmp_path)
    assert refused.value.problem.code == "no_image_column"


def test_two_rows_of_one_well_that_name_one_picture_are_refused_whatever_else_they_say(table):
    _, found = table("image,plate,well,site,label\na.tif,P1,A01,1,x\na.tif,P1,A01,2,x\n")
    assert codes(found) == ["picture_twice"]
    assert "in two rows of one well (rows 2 and 3)" in found[0].cause


def test_a_site_twice_in_a_well_is_said_with_the_row(table):
    _, found = table("image,plate,well,site,label\na.tif,P1,A01,1,x\nb.tif,P1,A01,1,x\nc.tif,P1,A01,2,x\n")
    assert codes(found) == ["site_twice"]
    assert (found[0].severity, found[0].row) == ("warn", 3)
    assert "P1/A01/1" in found[0].cause


def test_a_part_of_a_screen_keeps_its_files(table):
    screen, _ = table("image,well,label\na.tif,A01,x\nb.tif,A02,y\nc.tif,A03,x\n")
    for chosen in ([2, 0], np.array([2, 0])):
        some = screen.take(chosen)
        assert some.rows["image"].tolist() == ["c.tif", "a.tif"]
        assert [some.files(at)[0].name for at in range(2)] == ["c.tif", "a.tif"]
    assert screen.take(np.array([False, True, False])).rows["well"].tolist() == ["A02"]
    assert len(screen.take([])) == 0


def test_a_property_of_one_well_of_one_class_or_of_none_predicts_nothing():
    assert predictability("plate", ["x"], ["P1"], ["w"]).accuracy == 0  # nobody else to learn it from
    for labels in ([], [""], ["x"], ["x", ""], ["x", "x"]):
        found = predictability("plate", labels, ["P1"] * len(labels), [f"w{i}" for i in range(len(labels))])
        assert not found.telling
        assert not found.separates
        assert problems([found]) == []


def test_truth_values_and_missing_texts_of_a_frame_are_written_as_such(tmp_path):
    frame = pd.DataFrame({"held": [True, False], "text": ["a", None], "number": [1.5, np.nan], "count": [2, 3]})
    assert csv_bytes(frame) == b"held,text,number,count\ntrue,a,1.5,2\nfalse,,,3\n"
    (tmp_path / "f.parquet").write_bytes(parquet_bytes(frame))
    back = read_parquet(tmp_path / "f.parquet")
    assert back["held"].tolist() == [True, False]
    assert back["text"].tolist() == ["a", ""]


def test_labels_say_between_them_which_classes_there_are():
    assert vocabulary_of(["b;a", "none", ""]) == Vocabulary(("a", "b"), True, True)
    assert vocabulary_of(["a", "b"]) == Vocabulary(("a", "b"), False, False)


@posix
def test_a_folder_that_may_not_be_listed_or_looked_at_lists_the_row_and_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "A.tif").write_bytes(b"")
    listed, looked = os.listdir, os.lstat

    def no_rights(path, *more, **options):
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return listed(path, *more, **options)

    def no_look(path, *more, **options):
        if Path(path).name == "locked.tif":
            raise PermissionError(13, "Permission denied")
        return looked(path, *more, **options)

    monkeypatch.setattr(os, "listdir", no_rights)
    monkeypatch.setattr(os, "lstat", no_look)
    folder = ImageFolder(tmp_path)
    assert (folder.locate("sub/a.tif").severity, folder.locate("sub/a.tif").code) == ("list", "missing_file")
    found = folder.locate("sub/locked.tif")
    assert (found.severity, found.code) == ("list", "unreadable")
    assert "Permission denied" in found.cause
    assert folder.locate("sub/A.tif").usable
