"""Is the plate of BBBC013 laid out as published, under each of the names its files go by?"""

import os
from pathlib import Path

import pytest

from bagscope.errors import TableError
from bagscope.importers import import_screen

DATA = Path(os.environ.get("BAGSCOPE_DATA", ""), "bbbc013")
WELLS = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]


@pytest.fixture(params=["images/{}.png", "{}.BMP", "images/{}.tif"])
def source(request, tmp_path):
    for number, well in enumerate(WELLS, start=1):
        for channel in (1, 2):
            name = f"Channel{channel}-{number:02d}-{well[0]}-{well[1:]}"
            path = tmp_path / request.param.format(name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"")
    return tmp_path


def test_each_well_has_its_channels_dose_and_control(source):
    screen = import_screen("bbbc013", source)
    rows = screen.rows.set_index("well")
    assert screen.rows["well"].tolist() == WELLS
    assert screen.channels == ("gfp", "dna")
    for at, well in enumerate(WELLS):
        assert [path.name[:8] for path in screen.files(at)] == ["Channel1", "Channel2"]
        assert all(f"-{well[0]}-{well[1:]}." in path.name for path in screen.files(at))
    positive = {f"{row}12" for row in "ABCD"} | {f"{row}01" for row in "EFGH"}
    negative = {f"{r}{c}" for r in "ABCD" for c in ("01", "02")} | {f"{r}{c}" for r in "EFGH" for c in ("02", "12")}
    assert set(rows.index[rows["label"] == "positive"]) == positive
    assert set(rows.index[rows["label"] == "negative"]) == negative
    assert set(rows["label"]) == {"positive", "negative", ""}
    doses = rows.loc[[f"A{c:02d}" for c in range(1, 13)], "concentration"].tolist()
    assert doses == [0, 0, 0.98, 1.95, 3.91, 7.81, 15.63, 31.25, 62.5, 125, 250, 150]
    doses = rows.loc[[f"H{c:02d}" for c in range(1, 13)], "concentration"].tolist()
    assert doses == [80, 0, 0.31, 0.63, 1.25, 2.5, 5, 10, 20, 40, 80, 0]
    assert set(zip(rows["treatment"], rows["unit"], strict=True)) == {("Wortmannin", "nM"), ("LY294002", "uM")}
    assert rows.loc[["A03", "A11", "A12", "E01", "E03", "E12"], "dose_rank"].tolist() == [
        "1",
        "9",
        "10",
        "10",
        "1",
        "0",
    ]


def test_a_plate_map_beside_the_images_is_believed(source):
    header = "well,role,series,dose,dose_unit,replicate,dose_rank\n"
    body = "".join(f"{well},{'negative' if well == 'A01' else 'dose'},S,{i},pM,1,{i}\n" for i, well in enumerate(WELLS))
    (source / "platemap.csv").write_text(header + body)
    rows = import_screen("bbbc013", source).rows
    assert rows["label"].tolist() == ["negative", *[""] * 95]
    assert rows["concentration"].tolist() == list(range(96))
    (source / "platemap.csv").write_text("well,role\nA01,negative\n")
    with pytest.raises(TableError, match="no column 'series'"):
        import_screen("bbbc013", source)


def test_a_well_without_a_channel_is_listed_and_one_with_two_is_refused(source):
    gone = next(path for path in source.rglob("Channel2-14-B-02.*"))
    again = gone.with_name("Channel2-15-B-03" + (".png" if gone.suffix != ".png" else ".bmp"))
    gone.unlink()
    (problem,) = import_screen("bbbc013", source).warnings
    assert (problem.code, problem.column, problem.row) == ("missing_channel", "image_dna", WELLS.index("B02") + 2)
    again.write_bytes(b"")
    with pytest.raises(TableError, match="B03 has image_dna twice"):
        import_screen("bbbc013", source)


def test_a_folder_of_other_images_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(TableError, match=r"Channel1-01-A-01\.png"):
        import_screen("bbbc013", tmp_path)


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="BAGSCOPE_DATA names no folder with bbbc013")
def test_the_real_plate_map_is_the_published_one(tmp_path):
    for path in (DATA / "images").iterdir():
        (tmp_path / path.name).write_bytes(b"")
    published = import_screen("bbbc013", tmp_path).rows
    real = import_screen("bbbc013", DATA).rows
    for column in ("well", "label", "treatment", "concentration", "unit", "replicate", "dose_rank"):
        assert real[column].tolist() == published[column].tolist()
