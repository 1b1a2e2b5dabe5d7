"""Does any text table give its cells back exactly, or say on which line it is broken?"""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagscope.tables.csvfile import parse_csv


def only_problem(content: bytes):
    (problem,) = parse_csv(content, "s.csv").problems
    assert problem.severity == "refuse"
    return problem


# Cells as people have them; control characters, lone surrogates and NUL are refused or impossible in UTF-8.
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)


@given(
    st.lists(st.lists(texts, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_cells_come_back_exactly_for_every_delimiter_encoding_and_line_end(rows, delimiter, encoding, end):
    rows = [[f"image {i}", *row] for i, row in enumerate(rows)]
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=end).writerows([["image", "plate", "well", "label"], *rows])
    table = parse_csv(stream.getvalue().encode(encoding))
    assert table.problems == []
    assert table.header == ["image", "plate", "well", "label"]
    assert table.rows == rows
    assert table.delimiter == delimiter


def test_the_line_of_a_row_counts_the_lines_of_quoted_cells_and_empty_lines():
    table = parse_csv(b'image,note\n"a.tif","two\nlines"\n\n,\nb.tif,x\n')
    assert table.rows == [["a.tif", "two\nlines"], ["b.tif", "x"]]
    assert table.lines == [2, 6]


def test_labels_joined_by_semicolons_do_not_make_the_semicolon_a_delimiter():
    table = parse_csv(b"image,label\na.tif,x;y\nb.tif,x;z\n")
    assert (table.delimiter, table.rows[0]) == (",", ["a.tif", "x;y"])


def test_decimal_commas_do_not_make_the_comma_a_delimiter():
    table = parse_csv("image;dose_µM\na.tif;0,5\nb.tif;1,5\n".encode("utf-8-sig"))
    assert (table.delimiter, table.header, table.rows[0]) == (";", ["image", "dose_µM"], ["a.tif", "0,5"])


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"image,plate,label\na.tif,P1,x\nb.tif,P1\n", "ragged_row", 3),
        (b"image,label\na.tif,x,y\n", "ragged_row", 2),
        (b'image,label\na.tif,x\n"b.tif,x\nc.tif,x\n', "open_quote", 3),
        (b"image,label\na.tif,x\0y\n", "nul_character", 2),
        (b"", "empty_table", None),
        (b"\xef\xbb\xbf  \n", "empty_table", None),
        (b"PK\x03\x04" + bytes(30), "not_a_table", None),
        ("image,label\na.tif,10 µM\n".encode("cp1252"), "bad_encoding", 2),
        ("image,label\na.tif,x\n".encode("utf-16-le"), "nul_character", 1),
    ],
)
def test_a_broken_table_is_refused_with_its_line(content, code, line):
    problem = only_problem(content)
    assert (problem.code, problem.row) == (code, line)
    assert problem.fix


def test_an_excel_workbook_is_called_by_its_name():
    assert "Excel workbook" in only_problem(b"PK\x03\x04" + bytes(30)).cause


def test_a_bad_byte_is_named_with_its_place_in_the_line():
    assert "b5 4d 0a at character 10" in only_problem("image,label\na.tif,10 µM\n".encode("cp1252")).cause


def test_all_ragged_rows_are_told_at_once():
    table = parse_csv(b"image,label\na.tif\nb.tif,x\nc.tif,x,y\n")
    assert [problem.row for problem in table.problems] == [2, 4]
    assert table.rows == [["b.tif", "x"]]
