"""Is a source that is not what its format says refused by name, and are odd cells read as they are meant?"""

import sys
from pathlib import Path

import pandas as pd
import pytest

from bagscope.errors import FolderError, SettingsError, TableError
from bagscope.importers import import_screen, write_screen
from bagscope.importers.layout import image_files

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs links and the rights of POSIX")


@pytest.fixture
def folder(tmp_path):
    """Make empty files below a folder."""

    def make(*names):
        for name in names:
            path = tmp_path / "screen" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return tmp_path / "screen"

    return make


def refused(*source, **options):
    with pytest.raises(TableError) as error:
        import_screen(*source, **options)
    return error.value.problems[0]


@pytest.mark.parametrize(
    ("source", "files", "code", "words"),
    [
        (("folders", "a.tif"), ["a.tif"], "no_source", "not a folder"),
        (("folders", ""), ["x/notes.txt"], "no_images", "no image files"),
        (("loaddata", "im"), ["im/a.tif"], "no_source", "not a file"),
        (("bbbc013", ""), ["x/a.txt"], "no_images", "no image files"),
    ],
)
def test_a_source_of_another_kind_is_refused_by_name(folder, source, files, code, words):
    kind, below = source
    problem = refused(kind, folder(*files) / below)
    assert problem.code == code
    assert words in problem.cause
    assert problem.file
    assert problem.fix


@posix
def test_a_folder_that_cannot_be_read_is_refused_by_name(folder, monkeypatch):
    source = folder("x/a.tif", "y/b.tif")
    listed = Path.iterdir

    def no_rights(path):
        if path.name == "y":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", no_rights)
    with pytest.raises(TableError, match="cannot read the folder: Permission denied") as error:
        image_files(source)
    assert error.value.problem.file == str(source / "y")


def test_only_image_files_are_found_in_the_order_of_their_names(folder):
    source = folder("b.PNG", "a/c.tif", "a/.hidden.tif", "a/notes.txt", "a/d.ome.tiff", ".cache/e.tif", "f.tif/g.jpg")
    assert [path.relative_to(source).as_posix() for path in image_files(source)] == [
        "a/c.tif",
        "a/d.ome.tiff",
        "b.PNG",
        "f.tif/g.jpg",
    ]


@pytest.mark.parametrize("names", ["1", "1=", "1=dna,2", "=dna,x"])
def test_names_of_channels_without_a_sign_are_refused(folder, names):
    with pytest.raises(SettingsError) as error:
        import_screen("pattern", folder("A01_w1.tif"), pattern="{well}_w{channel}.tif", channels=names)
    assert error.value.problem.code == "bad_channels"


def test_names_of_channels_may_be_a_table_or_a_text(folder):
    source = folder("A01_w1.tif", "A01_w2.tif")
    text = import_screen("pattern", source, pattern="{well}_w{channel}.tif", channels=" 1 = dna , 2=gfp,")
    table = import_screen("pattern", source, pattern="{well}_w{channel}.tif", channels={1: "dna", "2": "gfp"})
    assert text.channels == table.channels == ("dna", "gfp")


def test_a_place_without_a_name_fits_anything_and_a_name_twice_the_same_twice(folder):
    source = folder("P1/P1_A01_junk.tif", "P1/P1_A02_.tif", "P1/P2_A03_x.tif")
    screen = import_screen("pattern", source, pattern="{plate}/{plate}_{well}_{}.tif")
    assert screen.rows[["plate", "well"]].to_numpy().tolist() == [["P1", "A01"], ["P1", "A02"]]
    assert [problem.code for problem in screen.warnings] == ["not_matched"]


def test_a_pattern_may_name_the_label_and_columns_of_ones_own(folder):
    screen = import_screen("pattern", folder("none_A01_d3.tif"), pattern="{label}_{well}_d{day}.tif")
    assert screen.rows[["label", "well", "day"]].to_numpy().tolist() == [["none", "A01", "3"]]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("{plate}_{wel}.tif", ["no_well"]), ("{plate}_{well}.tif", []), ("{plate}_{row}{column}.tif", [])],
)
def test_a_pattern_without_a_well_is_warned_of_with_the_names_it_has(folder, pattern, told):
    screen = import_screen("pattern", folder("P1_A1.tif", "P1_A2.tif"), pattern=pattern)
    assert [problem.code for problem in screen.warnings] == told
    assert all("plate, wel, but no well" in problem.cause for problem in screen.warnings)


def test_a_pattern_without_images_is_refused_with_the_pattern(folder):
    assert "{well}.tif" in refused("pattern", folder("notes.txt"), pattern="{well}.tif").cause


def test_a_loaddata_table_that_is_no_table_is_refused_with_the_line(folder):
    table = folder("a.tif") / "load.csv"
    table.write_text("FileName_DNA,Metadata_Well\na.tif\n")
    problem = refused("loaddata", table)
    assert problem.row == 2


def test_loaddata_rows_without_a_file_of_a_channel_have_an_empty_cell(folder):
    table = folder("a.tif") / "load.csv"
    table.write_text("FileName_DNA,FileName_GFP,Metadata_Well\na.tif,,A01\na.tif, ,A02\n")
    assert import_screen("loaddata", table).rows["image_GFP"].tolist() == ["", ""]


def test_loaddata_urls_may_lie_in_another_folder_or_on_a_windows_drive(folder):
    source = folder("im/a b.tif")
    table = source / "load.csv"
    table.write_text("URL_DNA,Metadata_Well\nfile:///C:/plates/a%20b.tif,A01\n")
    elsewhere = import_screen("loaddata", table)
    assert elsewhere.rows["image_DNA"].tolist() == ["C:/plates/a b.tif"]
    assert [problem.code for problem in elsewhere.warnings] == ["missing_file"]
    screen = import_screen("loaddata", table, images=source / "im")
    assert screen.files(0)[0] == source / "im" / "a b.tif"
    assert screen.files(0)[0].is_file()


@pytest.mark.parametrize("name", ["screen.csv", "screen.parquet"])
def test_a_screen_that_cannot_be_written_is_an_error_with_the_place(folder, tmp_path, name):
    screen = import_screen("folders", folder("x/a.tif"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FolderError, match="cannot write") as error:
        write_screen(screen, tmp_path / "file" / name)
    assert error.value.problem.code == "cannot_write"
    assert str(tmp_path / "file" / name) in str(error.value)


def test_an_empty_cell_of_a_channel_is_written_empty(folder):
    source = folder("A01_w1.tif", "A01_w2.tif", "A02_w1.tif")
    screen = import_screen("pattern", source, pattern="{well}_w{channel}.tif")
    write_screen(screen, source / "screen.csv")
    back = pd.read_csv(source / "screen.csv", dtype=str, keep_default_na=False)
    assert back["image_2"].tolist() == ["A01_w2.tif", ""]


def test_a_bbbc013_plate_map_with_a_well_that_is_none_is_refused_with_the_line(folder):
    source = folder("images/Channel1-01-A-01.png", "images/Channel2-01-A-01.png")
    header = "well,role,series,dose,dose_unit,replicate,dose_rank\n"
    (source / "platemap.csv").write_text(header + "A01,negative,x,0,nM,1,0\nZ99x,positive,x,1,nM,1,1\n")
    problem = refused("bbbc013", source)
    assert (problem.code, problem.row, problem.column) == ("bad_well", 3, "well")
