"""Do folders, file names and LoadData tables become the screen that they describe?"""

import sys

import numpy as np
import pytest

import bagscope
from bagscope.errors import SettingsError, TableError
from bagscope.files.writer import write_ome_tiff
from bagscope.importers import IMPORTERS, import_screen, write_screen
from bagscope.tables.table import read_screen

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs links")


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


def cells(screen, *names):
    return screen.rows[list(names)].to_numpy().tolist()


def codes(screen):
    return [problem.code for problem in screen.warnings]


def test_folders_label_their_images_and_none_stays_none(folder):
    source = folder("none/a.tif", "pos/slide 1/b.PNG", "pos/slide 2/deep/c.tif", "pos/notes.txt", ".hidden/d.tif")
    screen = bagscope.import_screen("folders", source)
    assert cells(screen, "image", "label", "folder") == [
        ["none/a.tif", "none", ""],
        ["pos/slide 1/b.PNG", "pos", "slide 1"],
        ["pos/slide 2/deep/c.tif", "pos", "slide 2/deep"],
    ]
    assert screen.warnings == ()
    assert all(screen.files(at)[0].is_file() for at in range(3))


def test_images_beside_the_class_folders_have_no_label_and_are_said(folder):
    screen = import_screen("folders", folder("loose.tif", "x/a.tif"))
    assert cells(screen, "image", "label") == [["loose.tif", ""], ["x/a.tif", "x"]]
    assert codes(screen) == ["no_class_folder"]


@posix
def test_a_folder_reached_twice_gives_its_images_once_and_a_circle_ends(folder):
    source = folder("x/a.tif", "y/b.tif")
    (source / "x" / "loop").symlink_to(source)
    assert sorted(import_screen("folders", source).rows["image"]) == ["x/a.tif", "y/b.tif"]


def test_a_source_without_images_is_refused(folder, tmp_path):
    with pytest.raises(TableError, match="no image files"):
        import_screen("folders", folder("x/readme.txt"))
    with pytest.raises(TableError, match="there is nothing"):
        import_screen("folders", tmp_path / "gone")


def test_unknown_formats_and_options_are_refused_with_the_nearest(folder):
    with pytest.raises(SettingsError, match="did you mean 'folders'"):
        import_screen("folder", folder("x/a.tif"))
    with pytest.raises(SettingsError, match="did you mean 'pattern'"):
        import_screen("pattern", folder("x/a.tif"), patern="{well}.tif")
    assert set(IMPORTERS.names()) >= {"folders", "pattern", "loaddata", "bbbc013"}


TEMPLATE = "{plate}_{well}_s{site}_w{channel}.tif"
EXPRESSION = r"(?P<plate>[^_]+)_(?P<well>[A-P]\d+)_s(?P<site>\d)_w(?P<channel>\d)\.(tif|TIF)"


@pytest.mark.parametrize("pattern", [TEMPLATE, EXPRESSION])
def test_a_template_and_its_expression_give_the_same_fields(folder, pattern):
    first = ["day 1/P1_A01_s1_w1.tif", "day 1/P1_A01_s1_w2.tif"]
    source = folder(*first, "P1_A1_s2_w1.TIF", "P1_A1_s2_w2.tif", "P1_B02_s1_w1.tif", "x.tif")
    screen = import_screen("pattern", source, pattern=pattern, channels="1=dna")
    assert screen.channels == ("dna", "2")
    assert cells(screen, "image_dna", "image_2", "plate", "well", "site") == [
        ["P1_A1_s2_w1.TIF", "P1_A1_s2_w2.tif", "P1", "A01", "2"],
        ["P1_B02_s1_w1.tif", "", "P1", "B02", "1"],
        ["day 1/P1_A01_s1_w1.tif", "day 1/P1_A01_s1_w2.tif", "P1", "A01", "1"],
    ]
    assert set(codes(screen)) == {"not_matched", "missing_channel", "wells_joined"}


def test_a_pattern_with_a_slash_reads_the_folders_too(folder):
    source = folder("P1/r01c02f3-ch1.tif", "P2/r16c24f1-ch1.tif")
    screen = import_screen("pattern", source, pattern="{plate}/r{row}c{column}f{site}-ch{channel}.tif")
    assert cells(screen, "plate", "well", "site", "image_1") == [
        ["P1", "A02", "3", "P1/r01c02f3-ch1.tif"],
        ["P2", "P24", "1", "P2/r16c24f1-ch1.tif"],
    ]


def test_a_file_per_plane_is_no_plane_of_a_stack(folder):
    screen = import_screen("pattern", folder("A01_z1.tif", "A01_z2.tif"), pattern="{well}_z{z}.tif")
    assert cells(screen, "z", "file_z") == [["", "1"], ["", "2"]]


def test_names_of_a_template_are_taken_literally(folder):
    screen = import_screen("pattern", folder("a+b(1).tif", "aab1.tif"), pattern="{plate}+b({site}).tif")
    assert cells(screen, "image", "plate", "site") == [["a+b(1).tif", "a", "1"]]


def test_two_files_for_one_channel_of_one_field_are_refused_with_both_names(folder):
    with pytest.raises(TableError, match=r"(?s)x/A01_w1.tif.*y/A01_w1.tif"):
        import_screen("pattern", folder("x/A01_w1.tif", "y/A01_w1.tif"), pattern="{well}_w{channel}.tif")


@pytest.mark.parametrize("pattern", ["", "no names.tif", "(?P<well>[A-"])
def test_a_pattern_that_is_none_is_refused(folder, pattern):
    with pytest.raises(SettingsError):
        import_screen("pattern", folder("A01.tif"), pattern=pattern)


def test_a_pattern_that_fits_no_file_is_refused_with_a_name(folder):
    with pytest.raises(TableError, match=r"the first is 'A01.tif'"):
        import_screen("pattern", folder("A01.tif"), pattern="{plate}_{well}.tif")


LOADDATA = (
    "Image_FileName_DNA,Image_PathName_DNA,FileName_GFP,PathName_GFP,Metadata_Plate,Metadata_Well,Metadata_Site,"
    "Metadata_Compound,Metadata_Concentration,Metadata_Batch\n"
)


def test_loaddata_becomes_channels_and_keys(folder):
    source = folder("im/a 1.tif", "im/a 2.tif")
    table = source / "load.csv"
    table.write_text(LOADDATA + f"a 1.tif,{source / 'im'},a 2.tif,im,0012,A1,2,drug,0.5,b7\n")
    screen = import_screen("loaddata", table)
    assert screen.channels == ("DNA", "GFP")
    assert [path.name for path in screen.files(0)] == ["a 1.tif", "a 2.tif"]
    assert all(path.is_file() for path in screen.files(0))
    names = ("plate", "well", "site", "treatment", "concentration", "Metadata_Batch")
    assert cells(screen, *names) == [["0012", "A01", "2", "drug", 0.5, "b7"]]


def test_loaddata_takes_file_urls_rows_with_columns_and_another_folder(folder, tmp_path):
    source = folder("im/a 1.tif")
    table = source / "load.csv"
    url = (source / "im" / "a 1.tif").absolute().as_uri()
    table.write_text(f"URL_DNA,Metadata_Row,Metadata_Col\n{url},3,7\n")
    screen = import_screen("loaddata", table)
    assert screen.files(0)[0].is_file()
    assert screen.rows["well"].tolist() == ["C07"]
    table.write_text("FileName_DNA,PathName_DNA\na 1.tif,/another/machine\n")
    assert codes(import_screen("loaddata", table)) == ["missing_file"]
    assert codes(import_screen("loaddata", table, images=source / "im")) == []


@pytest.mark.parametrize(("url", "code"), [("https://h/x.tif", "url"), ("file://host/x.tif", "url")])
def test_loaddata_on_other_machines_is_refused(folder, url, code):
    table = folder("a.tif") / "load.csv"
    table.write_text(f"URL_DNA,Metadata_Well\n{url},A01\n")
    with pytest.raises(TableError) as caught:
        import_screen("loaddata", table)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_a_table_that_is_no_loaddata_is_refused_with_its_columns(folder):
    table = folder("a.tif") / "load.csv"
    table.write_text("image,well\na.tif,A01\n")
    with pytest.raises(TableError, match="found 'image', 'well'"):
        import_screen("loaddata", table)


@pytest.mark.parametrize("name", ["screen.csv", "screen.tsv", "screen.parquet"])
def test_a_written_screen_is_read_back_the_same(folder, name):
    source = folder("=1/a.tif", "-x/b.tif", "none/c.tif")
    screen = import_screen("folders", source)
    screen.rows["concentration"] = [-0.5, np.nan, 1e-12]
    write_screen(screen, source / name)
    back = read_screen(source / name)
    for column in ("image", "plate", "well", "site", "label", "concentration"):
        assert back.rows[column].tolist() == screen.rows[column].tolist() or column == "concentration"
    np.testing.assert_array_equal(back.rows["concentration"], screen.rows["concentration"])
    assert back.found == screen.found


def test_paths_are_relative_to_the_table_below_it_and_full_elsewhere(folder, tmp_path):
    source = folder("x/a.tif", "y/b.tif")
    screen = import_screen("folders", source)
    write_screen(screen, tmp_path / "screen.csv")
    assert read_screen(tmp_path / "screen.csv").rows["image"].tolist() == ["screen/x/a.tif", "screen/y/b.tif"]
    (tmp_path / "elsewhere").mkdir()
    write_screen(screen, tmp_path / "elsewhere" / "screen.csv")
    back = read_screen(tmp_path / "elsewhere" / "screen.csv")
    assert back.rows["image"][0] == str(source / "x" / "a.tif")
    assert back.files(0)[0].is_file()


def test_a_table_that_was_there_is_kept_beside_when_the_new_one_says_something_else(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    write_ome_tiff(tmp_path / "images" / "a" / "1.tif", np.zeros((1, 4, 4), np.uint8), channel_names=["x"])
    screen = import_screen("folders", tmp_path / "images")
    assert write_screen(screen, tmp_path / "screen.csv") is None
    assert write_screen(screen, tmp_path / "screen.csv") is None  # the same again
    mine = (tmp_path / "screen.csv").read_bytes().replace(b",1,a", b",1,by hand")
    (tmp_path / "screen.csv").write_bytes(mine)
    kept = write_screen(screen, tmp_path / "screen.csv")
    assert kept == tmp_path / "screen.csv~"
    assert kept.read_bytes() == mine


def test_a_template_takes_names_in_capitals_and_in_small_letters_alike(folder):
    source = folder("P1_A01_W1.TIF", "p1_a02_w1.tif")
    assert cells(import_screen("pattern", source, pattern="{plate}_{well}_w1.tif"), "well") == [["A01"], ["A02"]]
