"""Does a plate map reach the right fields, and never add or lose one?"""

import numpy as np
import pytest

from bagscope.errors import TableError
from bagscope.importers import import_screen


@pytest.fixture
def source(tmp_path):
    for name in ("P1_A01_1", "P1_A01_2", "P1_B02_1", "P2_A01_1"):
        (tmp_path / f"{name}.tif").write_bytes(b"")
    return tmp_path


def joined(source, text):
    (source / "map.csv").write_text(text)
    return import_screen("pattern", source, labels=source / "map.csv", pattern="{plate}_{well}_{site}.tif")


def test_what_a_map_says_of_a_well_reaches_all_its_fields(source):
    screen = joined(
        source, "plate;well;label;treatment;concentration;donor\nP1;a1;x;drug;0,5;007\nP1;B2;none;;;\nP2;A1;y;;1;\n"
    )
    names = ["label", "treatment", "concentration", "donor"]
    assert screen.rows[names].fillna(-1).to_numpy().tolist() == [
        ["x", "drug", 0.5, "007"],
        ["x", "drug", 0.5, "007"],
        ["none", "", -1, ""],
        ["y", "", 1, ""],
    ]
    assert screen.warnings == ()


def test_a_map_without_plates_holds_for_every_plate(source):
    screen = joined(source, "well,label\nA01,x\nB02,y\n")
    assert screen.rows["label"].tolist() == ["x", "x", "y", "x"]


def test_a_repeated_map_row_adds_no_field_and_a_contradiction_is_refused(source):
    assert len(joined(source, "well,label\nA01,x\nB02,y\nA1,x\n")) == 4
    with pytest.raises(TableError, match="also in row 2") as caught:
        joined(source, "well,label\nA01,x\nB02,y\nA1,z\n")
    assert caught.value.problems[0].row == 4


def test_wells_on_one_side_only_are_said(source):
    screen = joined(source, "plate,well,label\nP1,A01,x\nP9,H12,y\n")
    assert screen.rows["label"].tolist() == ["x", "x", "", ""]
    assert [problem.code for problem in screen.warnings] == ["not_in_map", "not_in_screen"]


def test_a_map_that_fits_no_well_is_refused_with_an_example_of_both(source):
    with pytest.raises(TableError, match=r"the screen has 'P1 / A01', the map 'P7 / A01'"):
        joined(source, "plate,well,label\nP7,A01,x\n")


def test_a_map_that_contradicts_the_layout_wins_and_is_said(tmp_path):
    (tmp_path / "s" / "x").mkdir(parents=True)
    (tmp_path / "s" / "x" / "A01.tif").write_bytes(b"")
    (tmp_path / "map.csv").write_text("well,class\nA01,y\n")
    screen = import_screen("pattern", tmp_path / "s", labels=tmp_path / "map.csv", pattern="{class}/{well}.tif")
    assert screen.rows["class"].tolist() == ["y"]
    assert [problem.code for problem in screen.warnings] == ["relabelled"]
    (tmp_path / "map.csv").write_text("well,class\nA01,\n")
    assert import_screen(
        "pattern", tmp_path / "s", labels=tmp_path / "map.csv", pattern="{class}/{well}.tif"
    ).rows["class"].tolist() == ["x"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Well,label\nA01,x\n", "no_well_column"),
        ("well,label,label\nA01,x,x\n", "column_twice"),
        ("well,label\nA99,x\n", "bad_well"),
        ("well,concentration\nA01,high\n", "bad_number"),
        ("well,label\nA01\n", "ragged_row"),
        ("well,label\n", "empty_table"),
    ],
)
def test_a_broken_map_is_refused(source, text, code):
    with pytest.raises(TableError) as caught:
        joined(source, text)
    assert code in [problem.code for problem in caught.value.problems]


def test_a_map_that_is_not_there_is_refused(source):
    with pytest.raises(TableError, match="cannot read the plate map"):
        import_screen("pattern", source, labels=source / "gone.csv", pattern="{plate}_{well}_{site}.tif")


def test_a_map_without_numbers_leaves_concentrations_empty(source):
    assert np.isnan(joined(source, "well,label\nA01,x\n").rows["concentration"]).all()
