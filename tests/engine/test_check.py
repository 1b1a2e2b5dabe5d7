"""Does a check tell everything that is wrong with a table and its files, before any work?"""

import time

import numpy as np
import pytest
import tifffile

import bagscope
from bagscope.engine.check import Checking, check_fields
from bagscope.settings.sections import ImagesSection, TableSection
from dangerous import LIMIT_S, let_names_be_dangerous


def check(screen, *, table=None, images=None, **how):
    """Check as for training with default settings, apart from those that are named."""
    return check_fields(screen, table or TableSection(), images or ImagesSection(), Checking(**how))


def picture(seed, dtype="uint16", shape=(64, 64), top=4000):
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


@pytest.fixture
def screen(tmp_path):
    """Write a table of 2 x 4 wells, a picture for each; rows and pictures may be replaced or left out."""

    def write(pictures=None, labels=None, columns=None, **save):
        wells = [f"{row}{column:02d}" for column in range(1, 5) for row in "AB"]
        labels = labels or ["x", "y", "y", "x", "x", "y", "y", "x"]
        extra = columns or {}
        lines = [",".join(["image", "plate", "well", "label", *extra])]
        for at, well in enumerate(wells):
            pixels = (pictures or {}).get(at, picture(at))
            name = f"{well}.tif"
            if isinstance(pixels, bytes):
                (tmp_path / name).write_bytes(pixels)
            elif pixels is not None:
                options = {"photometric": "minisblack"} | save.get(f"save_{at}", {})
                tifffile.imwrite(tmp_path / name, pixels, **options)
            lines.append(",".join([name, "P1", well, labels[at], *(column[at] for column in extra.values())]))
        (tmp_path / "screen.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "screen.csv"

    return write


def codes(report, severity=None):
    return [problem.code for problem in report if severity in (None, problem.severity)]


def test_a_clean_screen_has_no_problem_and_is_summed_up(screen):
    report = check(screen())
    assert codes(report) == []
    assert report.exit_code == 0
    assert report.classes() == {"x": (4, 4), "y": (4, 4)}
    summary = report.summary()
    for part in ("delimiter ','", "8 rows", "plates: 1", "wells: 8", "x 4 wells, 4 fields", "64x64 (8)", "uint16"):
        assert part in summary
    assert len(report.headers) == 8


def test_a_screen_that_was_read_before_is_checked_the_same(screen):
    path = screen({3: None, 4: b""})
    by_path = check(path, table=TableSection(max_missing=1))
    read = check(bagscope.read_screen(path), table=TableSection(max_missing=1))
    assert list(by_path) == list(read)
    assert by_path.listed == {3, 4}


def test_a_file_that_cannot_be_read_is_listed_with_its_row_and_the_others_go_on(screen):
    report = check(screen({2: b"<!doctype html>", 5: b""}))
    assert [(problem.severity, problem.row, problem.column) for problem in report] == [
        ("list", 4, "image"),
        ("list", 7, "image"),
    ]
    assert all(problem.fix for problem in report)
    assert report.exit_code == 3
    assert sorted(report.headers) == [0, 1, 3, 4, 6, 7]
    assert report.listed == {2, 5}


def test_a_missing_file_stops_training_but_not_scoring(screen):
    path = screen({2: None})
    assert (check(path).exit_code, codes(check(path), "refuse")) == (2, ["files_missing"])
    assert check(path, table=TableSection(max_missing=0.2)).exit_code == 3
    assert check(path, purpose="score").exit_code == 3


def test_a_missing_mask_costs_a_row_its_cells_and_stops_no_training(screen):
    report = check(screen(columns={"mask": ["gone.tif", *[""] * 7]}))
    assert report.exit_code == 0
    assert codes(report) == ["missing_file"]


def test_nothing_that_can_be_used_is_refused(screen):
    for purpose in ("train", "score"):
        report = check(screen(dict.fromkeys(range(8), b"")), purpose=purpose)
        assert "nothing_usable" in codes(report, "refuse")


def test_faults_of_the_table_and_of_the_files_are_told_in_one_run(screen, tmp_path):
    path = screen({0: b""}, columns={"concentration": ["high", *"1234567"]})
    path.write_text(path.read_text().replace("A02.tif,P1,A02", "A02.tif,P1,A99").replace("A03.tif", "gone.tif"))
    report = check(path)
    found = {(problem.severity, problem.row) for problem in report}
    assert found >= {("refuse", 2), ("list", 2), ("refuse", 4), ("list", 6)}
    assert report.exit_code == 2


def test_a_class_that_vanishes_with_its_files_is_refused(screen):
    labels = ["x"] * 6 + ["y"] * 2
    assert check(screen(labels=labels)).exit_code == 0
    report = check(screen({6: b"", 7: b""}, labels=labels))
    assert "one_class" in codes(report, "refuse")
    (problem,) = report.refused
    assert "2 rows that cannot be used" in problem.cause


def test_two_labels_in_a_well_stop_training_and_are_said_when_scoring(screen):
    path = screen()
    path.write_text(path.read_text() + "C01.tif,P1,A01,y\n")
    tifffile.imwrite(path.parent / "C01.tif", picture(99), photometric="minisblack")
    assert codes(check(path), "refuse") == ["two_labels"]
    assert codes(check(bagscope.read_screen(path)), "refuse") == ["two_labels"]
    assert codes(check(path, purpose="score")) == ["two_labels"]
    assert check(path, purpose="score").exit_code == 0
    assert check(path, table=TableSection(label_level="image")).exit_code == 0


@pytest.mark.parametrize("labels", [["x"] * 8, ["x"] * 7 + ["y"], [""] * 8])
def test_scoring_asks_nothing_of_the_labels(screen, labels):
    path = screen(labels=labels)
    assert check(path).exit_code == 2
    assert codes(check(path, purpose="score")) == []


def test_a_split_by_a_column_is_checked_with_its_groups(screen):
    donors = {"donor": ["ann", "bob", "ann", "bob", "ann", "bob", "ann", "bob"]}
    path = screen(labels=["x", "y"] * 4, columns=donors)
    assert codes(check(path, split_by="donor"), "refuse") == ["lonely_class", "lonely_class"]
    assert "donor" in check(path, split_by="donor").refused[0].cause
    assert codes(check(path, split_by="dnor"), "refuse") == ["bad_split_by"]


@pytest.mark.parametrize(("change", "refused"), [({"dtype": "uint8", "top": 255}, True), ({"shape": (80, 64)}, False)])
def test_what_the_files_tell_of_the_class_is_said_or_refused(screen, change, refused):
    labels = ["x", "y", "y", "x", "x", "y", "y", "x"]
    pictures = {at: picture(at, **change) for at, label in enumerate(labels) if label == "x"}
    report = check(screen(pictures, labels=labels))
    found = [problem for problem in report if problem.code == "confounded"]
    assert [problem.severity for problem in found] == ["refuse" if refused else "warn"]
    assert "alone predicts the label: 1.00 (majority 0.50)" in found[0].cause
    if refused:
        assert check(screen(pictures, labels=labels), table=TableSection(force=True)).exit_code == 0
        assert "mixed_dtype" in codes(report, "warn")


def test_a_small_image_is_listed_unless_it_is_padded(screen):
    path = screen({1: picture(1, shape=(31, 400))})
    report = check(path, minimum_px=63)
    (problem,) = [problem for problem in report if problem.severity == "list"]
    assert problem.row == 3
    assert "image 31x400, the model needs >= 63" in problem.cause
    assert "--set images.pad=reflect" in problem.fix
    assert check(path, minimum_px=63, images=ImagesSection(pad="reflect")).exit_code == 0
    assert check(path).exit_code == 0


def test_an_image_with_another_number_of_channels_is_listed(screen):
    report = check(screen({5: picture(5, shape=(2, 64, 64))}, save_5={"metadata": {"axes": "CYX"}, "ome": True}))
    assert [(problem.code, problem.row) for problem in report if problem.severity == "list"] == [("channel_count", 7)]


@pytest.mark.parametrize(
    ("channels", "code"), [("dna,foo", "no_channel"), ("dna,dna", "channel_twice"), ("gfp", None), ("gfp,dna", None)]
)
def test_channels_that_training_would_refuse_are_refused(toy, channels, code):
    report = check(toy, images=ImagesSection(channels=channels))
    assert [problem.code for problem in report if problem.severity == "refuse"] == [code] * (code is not None)
    assert report.exit_code == (2 if code else 0)


@pytest.mark.parametrize(("groups", "unit"), [(["d1"] * 4 + ["d2"] * 4, "group"), ([""] * 8, "well")])
def test_a_class_that_too_few_have_is_told_in_the_units_that_are_kept_together(screen, groups, unit):
    report = check(screen(labels=["x", "x", "x", "x", "y", "y", "", ""], columns={"group": groups}))
    told = [problem.cause for problem in report if problem.code == "lonely_class"]
    assert len(told) == (2 if unit == "group" else 0)
    assert all(f"has 1 {unit}, 'd" in cause for cause in told)


def test_pixel_sizes_that_differ_are_said(screen):
    size = {"resolution": (1 / 0.65e-4,) * 2, "resolutionunit": "CENTIMETER"}
    other = {"resolution": (1 / 0.325e-4,) * 2, "resolutionunit": "CENTIMETER"}
    report = check(screen(**{f"save_{at}": other if at == 3 else size for at in range(8)}))
    assert "pixel_size" in codes(report, "warn")
    assert "0.325" in next(problem.cause for problem in report if problem.code == "pixel_size")
    same = check(screen(**{f"save_{at}": size for at in range(8)}))
    assert codes(same) == []


@pytest.mark.parametrize("pixels", [False, True])
def test_one_file_under_two_names_in_two_wells_is_a_leak(screen, pixels):
    twins = {1: picture(1), 6: picture(1)}
    report = check(screen(twins), pixels=pixels)
    (problem,) = report.refused
    assert problem.code == "same_pixels"
    assert "'B01.tif' and 'A04.tif'" in problem.cause
    assert codes(check(screen(twins), pixels=pixels, purpose="score")) == ["same_pixels"]
    unlabelled = ["x", "", "y", "x", "x", "y", "y", "x"]
    assert check(screen(twins, labels=unlabelled), pixels=pixels).exit_code == 0


def test_files_that_end_the_process_that_decodes_them_stop_no_search_for_equal_files(screen, tmp_path, monkeypatch):
    let_names_be_dangerous(monkeypatch)
    path = screen({1: picture(1), 6: picture(1), 0: picture(0), 2: picture(0), 3: picture(3), 5: picture(3)})
    for name, dangerous in (("A01.tif", "crash.tif"), ("B02.tif", "hang.tif")):
        (tmp_path / name).rename(tmp_path / dangerous)
        path.write_text(path.read_text().replace(name, dangerous))
    began = time.monotonic()
    (problem,) = check(path, io_timeout=LIMIT_S).refused
    assert "'B01.tif' and 'A04.tif'" in problem.cause
    assert LIMIT_S < time.monotonic() - began < 20 * LIMIT_S


def test_a_check_that_decodes_nothing_starts_no_process(screen, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    assert check(screen()).exit_code == 0


@pytest.mark.parametrize("pixels", [False, True])
def test_equal_pictures_without_contrast_are_no_leak(screen, pixels):
    flat = np.full((64, 64), 7, np.uint16)
    assert "same_pixels" not in codes(check(screen({1: flat, 6: flat}), pixels=pixels))


def test_a_picture_saved_in_another_way_is_found_in_the_pixels_alone(screen):
    path = screen({1: picture(1), 6: picture(1)}, save_6={"compression": "zlib"})
    assert "same_pixels" not in codes(check(path))
    assert "same_pixels" in codes(check(path, pixels=True), "refuse")


def test_broken_pixels_are_found_only_when_they_are_looked_at(screen):
    bad = np.full((64, 64), np.nan, np.float32)
    pictures = {at: picture(at).astype(np.float32) for at in range(8)} | {4: bad}
    assert check(screen(pictures)).exit_code == 0
    report = check(screen(pictures), pixels=True)
    assert [(problem.severity, problem.row) for problem in report if problem.severity != "warn"] == [("list", 6)]


def test_pictures_without_contrast_and_saturated_ones_are_said(screen):
    bright = picture(1)
    bright[:40] = 65535
    report = check(screen({0: np.full((64, 64), 300, np.uint16), 1: bright}), pixels=True)
    assert set(codes(report, "warn")) == {"constant", "saturated", "brightness_jump"}
    assert {problem.code: problem.row for problem in report}["constant"] == 2
    assert report.exit_code == 0


def test_a_class_of_constant_pictures_is_refused(screen):
    labels = ["x", "y", "y", "x", "x", "y", "y", "x"]
    flat = {at: np.full((64, 64), at, np.uint16) for at, label in enumerate(labels) if label == "x"}
    assert "empty_class" in codes(check(screen(flat, labels=labels), pixels=True), "refuse")
    assert "empty_class" not in codes(check(screen(flat, labels=labels), pixels=True, purpose="score"))


def test_the_summary_stops_after_twenty_problems_of_a_kind(tmp_path):
    lines = ["image,well", *(f"gone{at}.tif,A01" for at in range(30))]
    (tmp_path / "screen.csv").write_text("\n".join(lines))
    summary = check(tmp_path / "screen.csv").summary().splitlines()
    assert len([line for line in summary if line.startswith("left out:")]) == 21
    assert "and 10 more" in "\n".join(summary)


def test_a_table_that_is_none_is_refused_without_a_screen(tmp_path):
    report = check(tmp_path / "gone.csv")
    assert (report.exit_code, report.screen, len(report)) == (2, None, 1)


def test_the_name_of_an_undecided_call_is_no_class(screen):
    path = screen(labels=["unsure"] * 4 + ["y"] * 4)
    assert set(codes(check(path), "refuse")) >= {"reserved_label"}
    assert codes(check(path, purpose="score"), "refuse") == []


def test_pages_of_one_file_are_pictures_of_their_own(tmp_path):
    pages = np.stack([picture(at) for at in range(8)])
    for name in ("stack.tif", "copy.tif"):
        tifffile.imwrite(tmp_path / name, pages, photometric="minisblack")
    lines = ["image,page,well,label", *(f"stack.tif,{at},A{at + 1:02d},{'xy'[at % 2]}" for at in range(8))]
    (tmp_path / "screen.csv").write_text("\n".join(lines) + "\n")
    assert codes(check(tmp_path / "screen.csv")) == []
    assert codes(check(tmp_path / "screen.csv", pixels=True)) == []
    # A copy of the file has the same page twice.
    (tmp_path / "screen.csv").write_text("\n".join([*lines, "copy.tif,3,B01,x"]) + "\n")
    (problem,) = check(tmp_path / "screen.csv").refused
    assert (problem.code, problem.row) == ("same_pixels", 10)
