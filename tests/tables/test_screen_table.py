"""Does a screen table say what was written in it, and everything that is wrong with it?"""

import numpy as np
import pandas as pd
import pytest

import bagscope
from bagscope.errors import TableError
from bagscope.tables.table import make_screen, parse_screen, read_screen


@pytest.fixture
def table(tmp_path):
    """Write a table, and an empty file for each name in its first columns; give back screen and problems."""

    def write(text, files=("a.tif", "b.tif", "c.tif", "d.tif", "e.tif", "f.tif", "g.tif"), encoding="utf-8", **options):
        for name in files:
            (tmp_path / name).write_bytes(b"")
        path = tmp_path / "screen.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return parse_screen(path, **options)

    return write


def codes(problems, severity=None):
    return [problem.code for problem in problems if severity in (None, problem.severity)]


def test_texts_that_look_like_numbers_or_gaps_stay_text(table):
    screen, problems = table(
        "image,plate,well,label\na.tif,1E05,E05,NA\nb.tif,0012,E06,None\nc.tif,1e999,A05,null\n"
        "d.tif,00012,A01,1\ne.tif,12,A1,True\nf.tif,12345678901234567890,A02,nan\ng.tif,100000,A03,\n"
    )
    assert codes(problems) == []
    assert screen.rows["label"].tolist() == ["NA", "None", "null", "1", "True", "nan", ""]
    assert screen.rows["plate"].tolist() == ["1E05", "0012", "1e999", "00012", "12", "12345678901234567890", "100000"]
    assert screen.rows["well"].tolist()[:2] == ["E05", "E06"]
    assert screen.rows["row"].tolist() == list(range(2, 9))


def test_a_parquet_table_is_read_like_the_same_csv(table, tmp_path):
    text, _ = table("image,plate,well,label,concentration,extra\na.tif,007,A1,NA,0.5,x\nb.tif,12,A2,,,1\n")
    frame = pd.DataFrame(
        {
            "image": ["a.tif", "b.tif"],
            "plate": ["007", "12"],
            "well": ["A1", "A2"],
            "label": ["NA", None],
            "concentration": [0.5, np.nan],
            "extra": ["x", "1"],
        }
    )
    frame.to_parquet(tmp_path / "screen.parquet")
    same, problems = parse_screen(tmp_path / "screen.parquet")
    assert codes(problems) == []
    pd.testing.assert_frame_equal(same.rows, text.rows)


def test_whole_numbers_of_a_parquet_table_have_no_point(table, tmp_path):
    table("image\na.tif\n")
    pd.DataFrame({"image": ["a.tif", "b.tif"], "plate": [7, 8], "site": [3.0, np.nan]}).to_parquet(
        tmp_path / "s.parquet"
    )
    screen, _ = parse_screen(tmp_path / "s.parquet")
    assert screen.rows["plate"].tolist() == ["7", "8"]
    assert screen.rows["site"].tolist() == ["3", "1"]


def test_a_damaged_parquet_table_is_refused(tmp_path):
    (tmp_path / "s.parquet").write_bytes(b"PAR1" + bytes(40))
    screen, problems = parse_screen(tmp_path / "s.parquet")
    assert (screen, codes(problems, "refuse")) == (None, ["not_a_table"])


def test_decimal_commas_are_read_in_concentration_alone(table):
    screen, problems = table("image;dose;concentration\na.tif;0,5;0,5\nb.tif;1,5;\n", encoding="utf-8-sig")
    assert codes(problems) == []
    assert screen.rows["dose"].tolist() == ["0,5", "1,5"]
    assert screen.rows["concentration"].tolist()[0] == 0.5
    assert np.isnan(screen.rows["concentration"][1])
    assert screen.delimiter == "';'"


@pytest.mark.parametrize("value", ["high", "1e999", "nan", "1 uM", "0x10", "1_0"])
def test_a_concentration_that_is_no_finite_number_is_refused(table, value):
    _, problems = table(f"image,concentration\na.tif,{value}\nb.tif,1\n")
    (problem,) = problems
    assert (problem.code, problem.row, problem.column) == ("bad_number", 2, "concentration")


def test_a_comma_beside_decimal_points_is_refused_not_guessed(table):
    _, problems = table('image,concentration\na.tif,"1,000"\nb.tif,0.5\n')
    assert codes(problems, "refuse") == ["bad_number"]


def test_missing_keys_are_filled(table):
    screen, problems = table("image,plate,well,site\na.tif,,,\nb.tif,,,\nc.tif,P,A1,\nd.tif,P,A1,1\ne.tif,P,A1,\n")
    assert codes(problems) == []
    keys = screen.rows[["plate", "well", "site"]].to_numpy().tolist()
    assert keys == [["plate", "-", "1"], ["plate", "-", "2"], ["P", "A01", "2"], ["P", "A01", "1"], ["P", "A01", "3"]]


def test_spellings_of_one_well_are_joined_and_said_and_kept_beside(table):
    screen, problems = table("image,plate,well\na.tif,P1,A1\nb.tif,P1,A01\nc.tif,P1,a1\nd.tif,P1,AA12\n")
    assert screen.rows["well"].tolist() == ["A01", "A01", "A01", "AA12"]
    assert screen.rows["well_written"].tolist() == ["A1", "A01", "a1", "AA12"]
    assert codes(problems) == ["wells_joined"]


def test_names_that_are_no_wells_are_refused_unless_free_text_is_asked_for(table):
    text = "image,plate,well\na.tif,P1,1E5\nb.tif,P1,A0\nc.tif,P1,A49\n"
    _, problems = table(text)
    assert [(problem.code, problem.row) for problem in problems] == [("bad_well", 2), ("bad_well", 3), ("bad_well", 4)]
    assert "letter(s) A-AF, number 1-48" in problems[0].cause
    screen, problems = table(text, well_free_text=True)
    assert codes(problems) == []
    assert screen.rows["well"].tolist() == ["1E5", "A0", "A49"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("picture,plate", "no_image_column"),
        ("a.tif,P1,A01,x", "no_image_column"),
        ("image,label,label", "column_twice"),
        ("image,image_dna", "two_kinds_of_image"),
    ],
)
def test_a_header_without_what_is_needed_is_refused(table, header, code):
    _, problems = table(f"{header}\n{','.join('b' * len(header.split(',')))}\n")
    assert code in codes(problems, "refuse")


def test_the_columns_found_and_the_nearest_name_are_said(table):
    _, problems = table("Image,plate\na.tif,P1\n")
    assert "found: 'Image', 'plate'" in problems[-1].cause
    assert "Rename 'Image' to 'image'" in problems[-1].fix or "ename 'Image' to 'image'" in problems[-1].fix


def test_unknown_columns_are_handed_through_and_nameless_ones_are_not(table):
    screen, problems = table("image,,compound,row,call\na.tif,,007,A,x\n")
    assert codes(problems) == ["reserved_column", "reserved_column"]
    assert screen.rows["compound"].tolist() == ["007"]
    assert screen.rows["table_row"].tolist() == ["A"]
    assert screen.rows["row"].tolist() == [2]
    assert "" not in screen.rows


def test_a_column_that_differs_in_case_only_is_said(table):
    _, problems = table("image,Label\na.tif,x\n")
    assert codes(problems) == ["nearly_a_column"]


def test_outer_spaces_and_invisible_characters_are_removed_and_said(table):
    screen, problems = table("image,label\na.tif,DMSO\nb.tif, DMSO\nc.tif,DMSO\u00a0\nd.tif,DM\u200bSO\ne.tif,dmso\n")
    assert screen.rows["label"].tolist() == ["DMSO"] * 4 + ["dmso"]
    assert codes(problems) == ["spaces", "case_twins"]
    assert "rows 3, 4, 5" in problems[0].cause


def test_look_alike_letters_are_one_class_in_the_first_spelling(table):
    screen, problems = table("image,label,unit\na.tif,1 \u00b5M,\u03bcM\nb.tif,1 \u03bcM,\u00b5M\n")
    assert screen.rows["label"].tolist() == ["1 \u00b5M"] * 2
    assert screen.rows["unit"].tolist() == ["\u03bcM"] * 2
    assert codes(problems) == ["look_alike", "look_alike"]


def test_equal_rows_are_one_row(table):
    screen, problems = table("image,well,label\na.tif,A1,x\nb.tif,A2,y\n./a.tif,A01,x\n")
    assert screen.rows["image"].tolist() == ["a.tif", "b.tif"]
    assert "row_twice" in codes(problems, "warn")
    assert len(screen.found) == 2


@pytest.mark.parametrize("second", ["a.tif,P1,A01,y", "./a.tif,P1,A02,x", "sub/../a.tif,P2,A01,x"])
def test_one_picture_under_two_labels_or_wells_is_refused_with_both_rows(table, second):
    _, problems = table(f"image,plate,well,label\na.tif,P1,A01,x\n{second}\n")
    (problem,) = [problem for problem in problems if problem.code == "picture_twice"]
    assert problem.severity == "refuse"
    assert "rows 2 and 3" in problem.cause


def test_planes_of_one_file_are_different_pictures(table):
    _, problems = table("image,well,label,page\na.tif,A01,x,0\na.tif,A02,y,1\n")
    assert codes(problems) == []


def test_one_file_for_two_channels_is_refused(table):
    _, problems = table("image_dna,image_gfp\na.tif,a.tif\n")
    assert codes(problems) == ["channel_twice"]


def test_a_field_without_one_of_its_channels_is_listed_as_a_whole(table):
    screen, problems = table("image_dna,image_gfp\na.tif,\nb.tif,gone.tif\nc.tif,d.tif\n")
    listed = [(p.code, p.row, p.column) for p in problems]
    assert listed == [("missing_channel", 2, "image_gfp"), ("missing_file", 3, "image_gfp")]
    assert screen.channels == ("dna", "gfp")
    assert [path.name for path in screen.files(2)] == ["c.tif", "d.tif"]


def test_two_labels_in_a_well_are_refused_with_both_rows_unless_images_are_labelled(table):
    text = "image,plate,well,label\na.tif,P1,A01,x\nb.tif,P1,A01,\nc.tif,P1,A01,y\nd.tif,P2,A01,y\n"
    _, problems = table(text)
    (problem,) = problems
    assert (problem.code, problem.row) == ("two_labels", 4)
    assert "(row 2)" in problem.cause
    assert "table.label_level=image" in problem.fix
    assert table(text, label_level="image")[1] == []


def test_several_classes_are_the_same_label_in_any_order(table):
    assert table("image,well,label\na.tif,A01,x;y\nb.tif,A01,y; x\n")[1] == []


def test_none_beside_a_class_is_refused(table):
    assert codes(table("image,label\na.tif,none;x\n")[1], "refuse") == ["none_and_class"]


def test_values_of_split_and_planes_are_checked(table):
    screen, problems = table("image,split,page,z,t\na.tif,train,0,max,1\nb.tif,Train,-1,top,x\n")
    assert codes(problems) == ["bad_split", "bad_plane", "bad_plane", "bad_plane"]
    assert "'train'" in problems[0].cause
    assert screen.rows.loc[0, ["page", "z", "t"]].tolist() == ["0", "max", "1"]


def test_all_problems_are_told_in_one_run(table):
    _, problems = table(
        "image,plate,well,label,concentration\na.tif,P1,A0,x,1\ngone.tif,P1,A01,x,high\nhttp://h/x.tif,P1,A02,x,1\n"
        "b.tif,P1,A03\nc.tif,P1,A04,x,1\nd.tif,P1,A04,y,1\n"
    )
    found = {(problem.code, problem.row) for problem in problems}
    assert found >= {
        ("ragged_row", 5),
        ("bad_well", 2),
        ("bad_number", 3),
        ("missing_file", 3),
        ("url", 4),
        ("two_labels", 7),
    }
    assert all(problem.fix for problem in problems)


def test_reading_raises_with_every_refusal_and_keeps_the_rest_as_warnings(table, tmp_path):
    table("image,well\na.tif,A0\nb.tif,A1\nc.tif,A01\ngone.tif,A99\n")
    with pytest.raises(TableError) as caught:
        read_screen(tmp_path / "screen.csv")
    assert [problem.row for problem in caught.value.problems] == [2, 5]
    table("image,well\nb.tif,A1\nc.tif,A01\ngone.tif,A03\n")
    screen = bagscope.read_screen(tmp_path / "screen.csv")
    assert codes(screen.warnings) == ["wells_joined", "missing_file"]


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TableError, match="cannot read the table"):
        read_screen(tmp_path / "none.csv")


def test_rows_taken_keep_their_files_and_lines(table):
    screen, _ = table("image,label\na.tif,x\nb.tif,y\nc.tif,x\n")
    part = screen.take(np.array([False, False, True]))
    assert part.rows["row"].tolist() == [4]
    assert part.files(0)[0].name == "c.tif"
    assert [path.name for path in screen.take([2, 0]).found[1]] == ["a.tif"]


def test_a_screen_made_in_a_program_follows_the_same_rules(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"")
    screen, problems = make_screen({"image": ["a.tif"], "well": ["a1"], "label": ["NA"]}, tmp_path)
    assert problems == []
    assert screen.rows.loc[0, ["plate", "well", "site", "label"]].tolist() == ["plate", "A01", "1", "NA"]
