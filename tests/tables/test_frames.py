"""Do tables that bagscope writes come back exactly, and do nothing in a spreadsheet?"""

import errno
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagscope.errors import FolderError, Problem, TableError
from bagscope.tables.frames import (
    csv_bytes,
    mark_formula,
    parquet_bytes,
    read_csv,
    read_parquet,
    table_files,
    unmark_formula,
    write_parquet_of,
)

cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=10) | st.sampled_from(
    ["NA", "None", "nan", "1E05", "0012", "'=x", "''-1", "=1+1", "-0.5", "-a", "@x", "\tx", "'", "x;y", 'a"b', ""]
)


@given(cells)
def test_unmarking_undoes_marking_for_every_text(text):
    assert unmark_formula(mark_formula(text)) == text


@given(cells)
def test_no_marked_text_begins_like_a_formula_but_plain_numbers(text):
    marked = mark_formula(text)
    try:
        float(marked)
    except ValueError:
        assert not marked.startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.lists(st.tuples(cells, cells, st.floats(allow_infinity=False)), min_size=1, max_size=5))
def test_a_table_comes_back_from_csv_exactly(rows):
    frame = pd.DataFrame(rows, columns=["label", "plate", "probability:=x"])
    # A line of empty cells is no row; the key keeps it one, as in all our tables.
    frame.insert(0, "row", np.arange(2, len(rows) + 2))
    with TemporaryDirectory() as folder:
        Path(folder, "t.csv").write_bytes(csv_bytes(frame))
        back = read_csv(Path(folder, "t.csv"))
    assert back.columns.tolist() == frame.columns.tolist()
    assert back["label"].tolist() == frame["label"].tolist()
    assert back["plate"].tolist() == frame["plate"].tolist()
    np.testing.assert_array_equal(back["probability:=x"], frame["probability:=x"])
    assert back["row"].dtype == np.int64


def test_numbers_are_never_marked_and_text_is(tmp_path):
    frame = pd.DataFrame({"concentration": [-0.5, np.nan], "label": ["=cmd|' /C calc'!A0", "-control"]})
    (tmp_path / "t.csv").write_bytes(csv_bytes(frame))
    assert (tmp_path / "t.csv").read_text() == "concentration,label\n-0.5,'=cmd|' /C calc'!A0\n,'-control\n"
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv"), frame)


@pytest.mark.parametrize("labels", [["x", "y"], ["", ""], []])
def test_parts_of_a_table_have_one_schema_whatever_they_hold(labels):
    empty = pd.DataFrame(
        {
            "plate": np.array(labels, dtype=object),
            "concentration": np.full(len(labels), np.nan),
            "n_fields": np.zeros(len(labels), dtype=np.int64),
        }
    )
    schema = pq.read_schema(io.BytesIO(parquet_bytes(empty)))
    assert [str(kind) for kind in schema.types] == ["string", "double", "int64"]
    assert pq.read_table(io.BytesIO(parquet_bytes(empty))).num_rows == len(labels)


def test_parquet_keeps_text_and_numbers(tmp_path):
    frame = pd.DataFrame({"label": ["=x", "", "NA"], "n_fields": [1, 0, 2], "confidence": [0.1, np.nan, -1e-300]})
    (tmp_path / "t.parquet").write_bytes(parquet_bytes(frame))
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "t.parquet"), frame)


def test_a_table_is_written_for_programs_and_while_it_is_small_for_people(monkeypatch):
    frame = pd.DataFrame({"label": ["x", "y"]})
    assert set(table_files(frame, "wells")) == {"wells.parquet", "wells.csv"}
    monkeypatch.setattr("bagscope.tables.frames.CSV_ROWS", 1)
    assert set(table_files(frame, "wells")) == {"wells.parquet"}


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(TableError, match="no readable parquet"):
        read_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_bytes(b"a,b\n1\n")
    with pytest.raises(TableError, match="too few cells"):
        read_csv(tmp_path / "t.csv")


def test_frames_are_written_as_one_table_and_no_frame_as_no_file(tmp_path):
    frames = [pd.DataFrame({"label": [name], "n_fields": [at]}) for at, name in enumerate("abc")]
    write_parquet_of(iter(frames), tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "t.parquet"), pd.concat(frames, ignore_index=True))
    write_parquet_of(iter([]), tmp_path / "none.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize("fails_in", ["a frame", "the disk"])
def test_a_failed_write_leaves_the_old_table_and_nothing_else(tmp_path, monkeypatch, fails_in):
    old = pd.DataFrame({"label": ["old"]})
    write_parquet_of([old], tmp_path / "t.parquet")

    def frames():
        yield pd.DataFrame({"label": ["new"]})
        if fails_in == "a frame":
            raise TableError([Problem("refuse", "bad", "bad")])

    def no_room(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if fails_in == "the disk":
        monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(TableError if fails_in == "a frame" else FolderError):
        write_parquet_of(frames(), tmp_path / "t.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "t.parquet"), old)
