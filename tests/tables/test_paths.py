"""Is the right file found, and no file outside, whatever a cell says?"""

import os
import sys
import unicodedata

import pytest

from bagscope.tables.paths import ImageFolder

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs links, pipes and case-sensitive names")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("B 1.TIF", "plain.tif", "sub/B 1.TIF"):
        (root / name).write_bytes(b"")
    (tmp_path / "outside.tif").write_bytes(b"")
    return root


def test_an_exact_name_is_found_without_a_word(root):
    found = ImageFolder(root).locate("plain.tif")
    assert (found.path, found.severity) == (root / "plain.tif", None)


@posix
@pytest.mark.parametrize(
    ("text", "file"), [("b 1.tif", "B 1.TIF"), ("sub\\B 1.TIF", "sub/B 1.TIF"), (" plain.tif\u00a0", "plain.tif")]
)
def test_one_near_name_is_taken_with_a_warning(root, text, file):
    found = ImageFolder(root).locate(text)
    assert (found.path, found.severity, found.code) == (root / file, "warn", "other_spelling")
    assert found.real == os.path.realpath(root / file)


@posix
def test_an_exact_name_wins_and_two_near_ones_are_refused(root):
    (root / "b 1.tif").write_bytes(b"")
    folder = ImageFolder(root)
    assert folder.locate("b 1.tif").severity is None
    assert folder.locate("B 1.tif").code == "ambiguous_file"


@posix
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_a_name_is_found_in_either_unicode_form(root, on_disk):
    (root / unicodedata.normalize(on_disk, "é.tif")).write_bytes(b"")
    for form in ("NFC", "NFD"):
        found = ImageFolder(root).locate(unicodedata.normalize(form, "é.tif"))
        assert (found.usable, found.severity) == (True, None)


def test_a_missing_file_is_listed_with_the_folder_and_the_nearest_name(root):
    found = ImageFolder(root).locate("B 1.tiff")
    assert (found.severity, found.code) == ("list", "missing_file")
    assert str(root) in found.cause
    assert "'B 1.TIF'" in found.cause
    assert ImageFolder(root).locate("gone/x.tif").code == "missing_file"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("../outside.tif", "outside"),
        ("sub/../../outside.tif", "outside"),
        ("..\\outside.tif", "outside"),
        ("http://127.0.0.1:9/x.tif", "url"),
        ("file:///etc/hosts", "url"),
        ("\\\\host\\share\\x.tif", "outside"),
        (".", "folder"),
    ],
)
def test_what_leads_out_or_is_no_file_is_refused(root, text, code):
    found = ImageFolder(root).locate(text)
    assert (found.severity, found.code) == ("refuse", code)
    assert found.fix


@posix
@pytest.mark.parametrize("text", ["/dev/zero", "/proc/self/environ", "/sys/kernel", "//dev/zero", "/tmp/../dev/zero"])
def test_devices_and_system_files_are_refused_even_when_outside_is_allowed(root, text):
    assert ImageFolder(root, allow_outside=True).locate(text).code == "not_a_file"


@posix
def test_a_pipe_is_refused_without_opening_it(root):
    os.mkfifo(root / "pipe.tif")
    assert ImageFolder(root).locate("pipe.tif").code == "not_a_file"


@posix
def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(root, tmp_path):
    (root / "up").symlink_to(tmp_path)
    (root / "out.tif").symlink_to(tmp_path / "outside.tif")
    (root / "in.tif").symlink_to(root / "plain.tif")
    folder = ImageFolder(root)
    assert folder.locate("up/outside.tif").code == "outside"
    assert folder.locate("out.tif").code == "outside"
    assert folder.locate("in.tif").real == os.path.realpath(root / "plain.tif")
    assert ImageFolder(root, allow_outside=True).locate("up/outside.tif").usable


@posix
def test_links_in_a_circle_end(root):
    (root / "loop").symlink_to(".")
    (root / "self.tif").symlink_to("self.tif")
    assert ImageFolder(root).locate("loop/loop/plain.tif").usable
    assert ImageFolder(root).locate("self.tif").severity == "list"


def test_a_way_that_comes_back_inside_is_allowed(root):
    assert ImageFolder(root).locate("ok/../plain.tif").usable
    assert ImageFolder(root).locate("sub/../plain.tif").usable


def test_an_absolute_path_to_a_file_is_allowed(root, tmp_path):
    assert ImageFolder(root).locate(str(tmp_path / "outside.tif")).usable


def test_a_folder_named_like_an_image_is_listed(root):
    (root / "x.tif").mkdir()
    found = ImageFolder(root).locate("x.tif")
    assert (found.severity, found.code) == ("list", "folder")


@posix
@pytest.mark.parametrize("text", ["C:/plates/a.tif", "C:\\plates\\a.tif", "z:/a.tif"])
def test_a_file_on_a_drive_of_windows_is_missing_and_no_url(root, text):
    found = ImageFolder(root).locate(text)
    assert (found.severity, found.code) == ("list", "missing_file")


@pytest.mark.parametrize("text", ["https://h/a.tif", "s3://bucket/a.tif", "file:///a.tif", "http:/a.tif"])
def test_a_url_is_refused_as_one(root, text):
    found = ImageFolder(root).locate(text)
    assert (found.severity, found.code) == ("refuse", "url")
