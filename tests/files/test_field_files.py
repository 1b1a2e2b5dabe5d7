"""Are the files of a field joined as they were named, and is nothing joined that does not belong together?"""

import errno

import nasty
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagscope.errors import ImageReadError
from bagscope.files import guard, reader
from bagscope.files.field import FieldFiles, read_field, read_field_header
from bagscope.files.reader import Selection, open_image, read_header, read_labels

GREY = nasty.ramp(20, 30)


@pytest.fixture
def field(tmp_path):
    """Write one file per channel and name them as a field."""

    def field(selection=None, **channels):
        paths = []
        for name, content in channels.items():
            paths.append(tmp_path / f"{name}.tif")
            if content is not None:
                paths[-1].write_bytes(content if isinstance(content, bytes) else nasty.tiff(content))
        return FieldFiles(tuple(paths), tuple(channels), selection or Selection())

    return field


def problem(found, read=None):
    for each in [read] if read else (read_field_header, read_field):
        with pytest.raises(ImageReadError) as raised:
            each(found)
    return raised.value.problem


# 26: channels in files of their own -------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.permutations(["dna", "actin", "gfp"]))
def test_channels_stand_in_the_order_of_their_files(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("field")
    pictures = {name: GREY + 1000 * at for at, name in enumerate(("dna", "actin", "gfp"))}
    for name in order:
        (folder / f"{name}.tif").write_bytes(nasty.tiff(pictures[name]))
    found = FieldFiles(tuple(folder / f"{name}.tif" for name in order), tuple(order))
    expected = np.stack([pictures[name] for name in order])
    np.testing.assert_array_equal(read_field(found), expected)
    np.testing.assert_array_equal(read_field(found, (3, 9, 2, 30)), expected[:, 3:9, 2:30])
    header = read_field_header(found)
    assert (header.channels, header.channel_names, header.axes) == (3, tuple(order), "CYX")
    assert (header.height, header.width, header.dtype) == (20, 30, np.uint16)


def test_one_file_is_the_field_with_all_its_channels(tmp_path):
    path = tmp_path / "all.tif"
    path.write_bytes(nasty.tiff(np.stack([GREY, GREY + 1]), metadata={"axes": "CYX"}))
    for names in ((), ("a", "b")):
        found = FieldFiles((path,), names)
        np.testing.assert_array_equal(read_field(found), open_image(path))
        assert read_field_header(found) == read_header(path)


def test_a_field_is_a_key_of_what_was_read():
    one = FieldFiles(("a.tif",), ("dna",), Selection(z=3))
    assert one == FieldFiles(("a.tif",), ("dna",), Selection(z=3))
    assert len({one, FieldFiles(("a.tif",), ("dna",), Selection(z=3)), FieldFiles(("a.tif",), ("dna",))}) == 2


def test_files_without_a_channel_each_make_no_field():
    for paths, channels in (((), ()), (("a", "b"), ()), (("a", "b"), ("x", "y", "z"))):
        with pytest.raises(ValueError, match="one per channel"):
            FieldFiles(paths, channels)


def test_a_missing_file_fails_the_whole_field_and_names_its_channel(field):
    said = problem(field(dna=GREY, gfp=None))
    assert (said.code, said.column) == ("missing_file", "image_gfp")
    assert said.file.endswith("gfp.tif")


@pytest.mark.parametrize(
    ("other", "code", "words"),
    [
        (GREY[:, :-1], "channel_size", "its size is 20x29, that of dna.tif is 20x30"),
        (GREY.astype(np.uint8), "channel_type", "its type is uint8, that of dna.tif is uint16"),
        (nasty.tiff(np.stack([GREY, GREY]), metadata={"axes": "CYX"}), "channels", "2 channels where one is expected"),
        (nasty.tiff(np.zeros((20, 30, 3), np.uint16), photometric="rgb"), "channels", "3 channels"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused_with_both_sides(field, other, code, words):
    said = problem(field(dna=GREY, gfp=other))
    assert (said.code, said.column) == (code, "image_gfp")
    assert words in said.cause


def test_a_field_of_many_channels_is_as_limited_as_one_image(field):
    found = field(Selection(max_bytes=3000), dna=GREY, gfp=GREY, actin=GREY)
    assert GREY.nbytes < 3000 < 3 * GREY.nbytes
    assert problem(found).code == "too_large"


def test_pixel_size_and_warnings_of_several_files_are_those_of_all(field):
    def sized(um):
        return nasty.tiff(GREY, ome=True, metadata={"PhysicalSizeX": um, "PhysicalSizeY": um})

    assert read_field_header(field(dna=sized(0.65), gfp=GREY)).pixel_um == pytest.approx(0.65)
    header = read_field_header(field(dna=sized(0.65), gfp=sized(0.325)))
    assert header.pixel_um is None
    assert any("differ between channels" in warning for warning in header.warnings)
    png = nasty.png(GREY[..., None], 16, 0)
    assert any(text.startswith("gfp.tif: named .tif") for text in read_field_header(field(dna=GREY, gfp=png)).warnings)


# 37: drives that stall --------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch):
    """Let opening fail with an error number a few times; counts the tries."""
    monkeypatch.setattr(guard, "WAITS_S", (0, 0))
    tries = []

    def failing(number, times):
        right = reader.kind_of

        def kind_of(path):
            tries.append(path)
            if len(tries) <= times:
                raise OSError(number, "the drive says no")
            return right(path)

        monkeypatch.setattr(reader, "kind_of", kind_of)
        return tries

    return failing


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("times", [1, 2])
def test_an_error_that_passes_is_not_noticed(field, failing, number, times):
    found = field(dna=GREY)
    tries = failing(number, times)
    np.testing.assert_array_equal(read_field(found)[0], GREY)
    assert len(tries) == times + 1


def test_an_error_that_stays_is_told_after_three_tries(field, failing):
    tries = failing(errno.ESTALE, 99)
    said = problem(field(dna=GREY), read_field)
    assert said.code == "io"
    assert "I/O error after 3 tries" in said.cause
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOENT, "missing_file"), (errno.EACCES, "permission"), (errno.ENXIO, "io")]
)
def test_an_error_that_cannot_pass_is_told_at_once(field, failing, number, code):
    tries = failing(number, 99)
    assert problem(field(dna=GREY), read_field).code == code
    assert len(tries) == 1


@pytest.mark.parametrize(
    "raised", [KeyError("x"), ZeroDivisionError(), RecursionError(), OSError("image file is truncated")]
)
def test_whatever_a_decoder_raises_is_one_error_of_ours(tmp_path, raised):
    def read():
        raise raised

    with pytest.raises(ImageReadError) as found:
        guard.guarded(tmp_path / "a.tif", read)
    assert (found.value.problem.code, found.value.problem.file) == ("broken", str(tmp_path / "a.tif"))


def test_memory_that_runs_out_is_told_as_that(tmp_path):
    def read():
        raise MemoryError

    with pytest.raises(ImageReadError) as found:
        guard.guarded(tmp_path / "a.tif", read)
    assert found.value.problem.code == "too_large"


# 64: label images -------------------------------------------------------------------------------------------

LABELS = np.zeros((20, 30), np.int64)
LABELS[2:5, 3:9], LABELS[10:15, 20:25], LABELS[19, 29] = 1, 5, 200


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
def test_label_numbers_of_every_whole_type_are_kept(tmp_path, dtype):
    path = tmp_path / "mask.tif"
    labels = LABELS.astype(dtype)
    labels[0, 0] = np.iinfo(dtype).max
    path.write_bytes(nasty.tiff(labels, compression="zlib", byteorder=">"))
    found = read_labels(path)
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, labels)


def test_large_numbers_with_gaps_are_kept(tmp_path):
    path = tmp_path / "mask.tif"
    labels = np.where(LABELS == 5, 70_000, np.where(LABELS == 200, 900_000, LABELS)).astype(np.uint32)
    path.write_bytes(nasty.tiff(labels))
    assert np.unique(read_labels(path)).tolist() == [0, 1, 70_000, 900_000]


def test_labels_in_png_are_indices_and_stored_numbers(tmp_path):
    path = tmp_path / "mask.png"
    colours = bytes(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8))
    for content in (
        nasty.png(LABELS[..., None], 8, 3, chunks=[(b"PLTE", colours)]),
        nasty.png(LABELS[..., None], 8, 3, chunks=[(b"PLTE", colours), (b"tRNS", b"\0")]),
        nasty.png(LABELS[..., None], 8, 0),
        nasty.png(LABELS[..., None], 16, 0),
        nasty.png(np.stack([LABELS, LABELS > 0], axis=2), 8, 4),
    ):
        path.write_bytes(content)
        np.testing.assert_array_equal(read_labels(path), LABELS)
    for depth in (1, 2, 4):
        few = LABELS % (1 << depth)
        path.write_bytes(nasty.png(few[..., None], depth, 0))
        np.testing.assert_array_equal(read_labels(path), few)


def test_palette_and_inverted_white_do_not_change_label_numbers(tmp_path):
    path = tmp_path / "mask.tif"
    labels = LABELS.astype(np.uint8)
    path.write_bytes(nasty.tiff(labels, photometric="palette", colormap=np.full((3, 256), 9, np.uint16)))
    np.testing.assert_array_equal(read_labels(path), labels)
    path.write_bytes(nasty.tiff(labels, photometric="miniswhite"))
    np.testing.assert_array_equal(read_labels(path), labels)


def test_an_empty_mask_and_one_of_bits_are_masks(tmp_path):
    path = tmp_path / "mask.tif"
    path.write_bytes(nasty.tiff(np.zeros((5, 5), np.uint16)))
    assert not read_labels(path).any()
    path.write_bytes(nasty.tiff(LABELS > 0))
    found = read_labels(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, LABELS > 0)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (nasty.tiff(np.zeros((16, 16), np.uint8), compression="jpeg", tile=(16, 16)), "lossy_labels"),
        (nasty.tiff(np.zeros((16, 16, 3), np.uint8), photometric="rgb"), "labels"),
        (nasty.png(np.zeros((4, 4, 3), int), 8, 2), "labels"),
        (nasty.tiff(np.zeros((2, 16, 16), np.uint8), metadata={"axes": "CYX"}), "labels"),
        (nasty.tiff(np.zeros((2, 16, 16), np.uint8), metadata={"axes": "ZYX"}), "axes"),
        (nasty.tiff(np.zeros((16, 16), np.float32)), "labels"),
    ],
    ids=["lossy", "rgb", "rgb png", "channels", "depths", "fractions"],
)
def test_what_cannot_be_label_numbers_is_refused(tmp_path, content, code):
    path = tmp_path / "mask"
    path.write_bytes(content)
    with pytest.raises(ImageReadError) as raised:
        read_labels(path)
    assert raised.value.problem.code == code
