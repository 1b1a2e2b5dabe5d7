"""Is every file that is cut, hostile or something else refused by its content, in words, and never half read?"""

import contextlib
import io
import struct
import zlib

import imagecodecs
import nasty
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import GB, limited
from PIL import Image, ImageFile

from bagscope.errors import ImageReadError
from bagscope.files.reader import Selection, open_image, read_header, read_labels

GREY = nasty.ramp(40, 48)
SMALL = (GREY >> 4).astype(np.uint8)
COLOUR = np.stack([SMALL, SMALL.T.reshape(40, 48), SMALL[::-1]], axis=2)


def by_pillow(pixels, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def pyramid():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        options = {"tile": (16, 16), "photometric": "minisblack"}
        writer.write(GREY, subifds=1, **options)
        writer.write(GREY[::2, ::2], subfiletype=1, **options)
    return stream.getvalue()


# One whole file of every kind, small enough to be cut and bent a thousand times.
WHOLE = {
    **{
        f"{name} {parts}": nasty.tiff(GREY, compression=name, **options, metadata=None)
        for name in (None, "lzw", "zlib", "packbits", "zstd", "lzma")
        for parts, options in (("strips", {"rowsperstrip": 8}), ("tiles", {"tile": (16, 16)}))
    },
    "stack": nasty.tiff(np.stack([GREY, GREY + 1]), metadata={"axes": "CYX"}),
    "imagej": nasty.tiff(np.stack([GREY, GREY + 1]), imagej=True, photometric=None, metadata={"axes": "CYX"}),
    "jpeg tiff": nasty.tiff(SMALL, compression="jpeg", rowsperstrip=16, metadata=None),
    "pyramid": pyramid(),
    "png": by_pillow(COLOUR, "PNG"),
    "png 16 bit": nasty.png(np.stack([GREY] * 3, axis=2), 16, 2),
    "png palette": nasty.png(SMALL[..., None], 8, 3, chunks=[(b"PLTE", bytes(range(256)) * 3)]),
    "bmp": by_pillow(COLOUR, "BMP"),
    "bmp 1 bit": by_pillow(SMALL > 99, "BMP"),  # its rows end in bytes that mean nothing
    "jpeg": by_pillow(COLOUR, "JPEG"),
    "jpeg progressive": by_pillow(COLOUR, "JPEG", progressive=True),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("broken") / "image"


def refused(path, content=None, read=open_image, **arguments):
    """The problem with which a file is refused."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageReadError) as raised:
        read(path, **arguments)
    assert raised.value.problem.file == str(path)
    assert raised.value.problem.fix
    return raised.value.problem


# 15: what is no image ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"", "empty_file", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "lfs_pointer", "Git LFS"),
        (b"<!doctype html><p>log in", "html", "HTML"),
        (b"\xef\xbb\xbf\n <HTML>secret", "html", "HTML"),
        (bytes(4096), "not_an_image", "zeros"),
        (b"PK\x03\x04rest", "not_an_image", "zip"),
        (b"root:x:0:0:secret", "not_an_image", "no TIFF"),
    ],
)
def test_what_is_no_image_is_named_from_its_content_which_is_never_shown(path, content, code, word):
    for read in (read_header, open_image, read_labels):
        problem = refused(path, content, read)
        assert problem.code == code
        assert word in problem.cause
        assert "secret" not in str(problem)


def test_a_folder_is_not_opened_as_an_image(tmp_path):
    (tmp_path / "x.tif").mkdir()
    assert refused(tmp_path / "x.tif").code == "folder"


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    assert refused(tmp_path / "x.tif").code == "missing_file"
    assert refused(tmp_path / ("x" * 300)).code in ("missing_file", "io")


def test_a_device_is_refused_before_it_is_opened():
    said, _ = limited("said.append(code_of(open_image, path))", "/dev/zero")
    assert said == ["not_a_file"]


def test_a_png_named_tif_is_read_and_the_name_is_told(tmp_path):
    (tmp_path / "x.tif").write_bytes(WHOLE["png"])
    np.testing.assert_array_equal(open_image(tmp_path / "x.tif"), np.moveaxis(COLOUR, 2, 0))
    (said,) = read_header(tmp_path / "x.tif").warnings
    assert "named .tif" in said
    assert "PNG" in said


# 16: cut files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_anywhere_is_refused_and_never_half_read(path, name):
    whole = WHOLE[name]
    path.write_bytes(whole)
    assert open_image(path).shape[1:] == (40, 48)
    for length in {len(whole) - 1, int(len(whole) * 0.6), *range(1, len(whole), max(1, len(whole) // 60))}:
        refused(path, whole[:length])


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_is_seen_in_the_header_without_decoding(path, name):
    whole = WHOLE[name]
    assert refused(path, whole[: int(len(whole) * 0.9)], read_header).code in ("truncated", "no_data", "lost_planes")


def test_a_jpeg_cut_behind_its_thumbnail_is_refused(path):
    thumbnail = b"\xff\xe2" + struct.pack(">H", 12) + b"thumb\xff\xd9end"
    whole = WHOLE["jpeg"][:2] + thumbnail + WHOLE["jpeg"][2:]
    path.write_bytes(whole)
    open_image(path)
    assert refused(path, whole[:-2], read_header).code == "truncated"


def test_a_jpeg_with_bytes_behind_its_end_is_read(path):
    path.write_bytes(WHOLE["jpeg"] + bytes(1000))
    whole = open_image(path)
    path.write_bytes(WHOLE["jpeg"])
    np.testing.assert_array_equal(whole, open_image(path))


def test_pillow_is_never_told_to_read_cut_files(path):
    read_header_before = ImageFile.LOAD_TRUNCATED_IMAGES
    for content in WHOLE.values():
        path.write_bytes(content)
        open_image(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is read_header_before is False


@pytest.mark.parametrize("depth", [8, 16])
def test_a_flipped_bit_in_a_png_is_noticed_by_its_checksum(path, depth):
    right, wrong = (zlib.compress((b"\0" + bytes([value]) * (27 * depth // 8)) * 9, 0) for value in (0, 1))
    whole = nasty.png_of(9, 9, depth, 2, right)
    path.write_bytes(whole)
    assert not open_image(path).any()
    # The packed pixels fit their own checksum: only that of the chunk tells.
    assert "checksum" in refused(path, whole.replace(right, wrong)).cause


# 17: segments without data ----------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_header, open_image, read_labels])
def test_a_strip_without_data_is_refused_by_its_number(path, read):
    problem = refused(path, nasty.zero_count(), read)
    assert problem.cause == "strip 5 of 16 has no data"


def test_a_strip_left_out_on_purpose_is_zeros_only_when_that_is_asked_for(path):
    content = nasty.zero_count(empty_offsets=True)
    assert refused(path, content).code == "no_data"
    expected = nasty.ramp(256, 256)
    expected[80:96] = 0
    np.testing.assert_array_equal(open_image(path, Selection(sparse_as_zero=True))[0], expected)


def test_a_count_of_zero_with_an_offset_is_refused_even_where_strips_may_be_left_out(path):
    assert refused(path, nasty.zero_count(), selection=Selection(sparse_as_zero=True)).code == "no_data"


# 18, 19: page lists -----------------------------------------------------------------------------------------


def test_a_stack_that_lost_its_planes_is_refused_with_both_numbers(path):
    planes = np.stack([nasty.ramp(64, 64) + at for at in range(6)])
    whole = nasty.tiff(planes, imagej=True, photometric=None, metadata={"axes": "ZYX"})
    for selection in (Selection(), Selection(z=0), Selection(z="max")):
        problem = refused(path, whole[: len(whole) // 2], selection=selection)
        assert problem.cause == "metadata says 6 images, file has 1"


@pytest.mark.parametrize(
    "content",
    [
        nasty.raw_tiff(nasty.plain_tags(16, 16), [bytes(256)], next_page="self"),
        nasty.two_looping_pages(),
        nasty.sub_page_that_is_its_parent(),
    ],
    ids=["itself", "each other", "parent"],
)
def test_a_page_list_that_loops_is_refused(path, content):
    assert refused(path, content).code == "page_loop"


def test_a_million_pages_are_refused_in_little_memory(path):
    path.write_bytes(nasty.many_pages(1_000_000))
    said, grown = limited("said.append(code_of(read_header, path))", path)
    assert said == ["too_many_pages"]
    assert grown < 200e6


# 20: bombs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "code"), [(nasty.tiff_bomb, "too_large"), (nasty.png_bomb, "too_large")], ids=["tiff", "png"]
)
def test_a_bomb_is_refused_from_its_header_before_memory_is_taken(path, make, code):
    path.write_bytes(make())
    assert path.stat().st_size < 500_000
    said, grown = limited("for read in (read_header, open_image, read_labels): said.append(code_of(read, path))", path)
    assert said == [code] * 3
    assert grown < 100e6


def test_strips_that_share_bytes_are_refused_however_large_an_image_may_be(path):
    path.write_bytes(nasty.tiff_bomb())
    problem = refused(path, read=read_header, selection=Selection(max_bytes=10**12))
    assert problem.code == "overlap"
    assert "3,600,000,000 bytes from" in problem.cause


def test_an_image_larger_than_allowed_is_refused_with_both_sizes_and_the_option(path):
    problem = refused(path, nasty.tiff(np.zeros((1000, 1000), "u2")), selection=Selection(max_bytes=1_000_000))
    assert problem.code == "too_large"
    assert "takes 0.00 GB decoded, 0.00 GB are allowed" in problem.cause
    assert "images.max_gb" in problem.fix


def test_a_constant_slide_that_packs_a_thousandfold_is_read(path):
    zeros = np.zeros((2000, 2000), np.uint16)
    for compression in ("zlib", "zstd"):
        path.write_bytes(nasty.tiff(zeros, compression=compression))
        assert path.stat().st_size < zeros.nbytes / 800
        assert not open_image(path).any()


@pytest.mark.parametrize("compression", [8, 50000, 34925])
def test_a_strip_that_unpacks_to_more_than_its_rows_takes_no_memory_for_the_rest(path, compression):
    bomb = {8: nasty.zeros_zlib, 50000: lambda n: imagecodecs.zstd_encode(bytes(n)),
            34925: lambda n: imagecodecs.lzma_encode(bytes(n))}[compression]  # fmt: skip
    path.write_bytes(nasty.raw_tiff(nasty.plain_tags(64, 64, compression=compression), [bomb(200_000_000)]))
    said, grown = limited("said.append(code_of(open_image, path))", path)
    assert said[0] in ("broken", "(1, 64, 64)")
    assert grown < 100e6


LARGE = np.zeros((9000, 9000), np.uint8)
PICTURES = {
    7: lambda: imagecodecs.jpeg8_encode(LARGE),
    34712: lambda: imagecodecs.jpeg2k_encode(LARGE),
    34933: lambda: nasty.png_of(9000, 9000, 8, 0, zlib.compress(bytes(9001 * 9000))),
    50001: lambda: imagecodecs.webp_encode(np.zeros((9000, 9000, 3), np.uint8), lossless=True),
    50002: lambda: imagecodecs.jpegxl_encode(LARGE, effort=1),
}


@pytest.mark.parametrize("compression", PICTURES)
def test_a_strip_that_holds_a_larger_picture_than_itself_is_refused_before_it_is_decoded(path, compression):
    path.write_bytes(nasty.raw_tiff(nasty.plain_tags(64, 64, compression=compression), [PICTURES[compression]()]))
    said, grown = limited("said.append(code_of(open_image, path))", path)
    assert said == ["broken"]
    assert grown < 60e6


def test_a_png_whose_pixels_go_on_for_ever_is_not_unpacked_for_ever(path):
    for depth, kind in ((8, 0), (16, 2)):
        path.write_bytes(nasty.png_of(16, 16, depth, kind, nasty.zeros_zlib(3 * GB, 1 << 24)))
        said, grown = limited("said.append(code_of(open_image, path))", path)
        assert said[0] in ("broken", "(1, 16, 16)")
        assert grown < 60e6


def test_pillows_own_limit_is_neither_used_nor_changed(path):
    before = Image.MAX_IMAGE_PIXELS
    # More pixels than Pillow takes without a warning, which would be an error here.
    height, width = 9600, 9600
    assert height * width > before
    path.write_bytes(nasty.png_of(width, height, 1, 0, zlib.compress(bytes((1 + width // 8) * height))))
    assert open_image(path, window=(0, 1, 0, 1)).shape == (1, 1, 1)
    assert before == Image.MAX_IMAGE_PIXELS


def test_an_ome_xml_that_grows_without_bounds_is_not_used_and_the_pixels_are(path):
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    xml = nasty.ome_xml(
        'Type="uint8" SizeX="48" SizeY="40" SizeC="1" SizeZ="1" SizeT="1"',
        before=f'<!DOCTYPE OME [<!ENTITY l0 "lol">{entities}]>',
        image='Name="&l9;"',
    )
    path.write_bytes(nasty.ome_tiff(SMALL, xml))
    code = "said += read_header(path).warnings; said.append(int(open_image(path).max()))"
    said, grown = limited(code, path)
    assert said == ["OME-XML has a DOCTYPE: it is not used", int(SMALL.max())]
    assert grown < 100e6


# Whatever else ----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_bent_bytes_give_pixels_as_the_header_says_or_one_error_of_ours(path, data):
    content = bytearray(WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))])
    near = data.draw(st.sampled_from([len(content), min(len(content), 300)]))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, near - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    header = pixels = None
    with contextlib.suppress(ImageReadError):
        header = read_header(path)
        pixels = open_image(path)
    if pixels is not None:
        assert (pixels.shape, pixels.dtype) == ((header.channels, header.height, header.width), header.dtype)


@pytest.mark.parametrize(
    "window", [(0, 0, 0, 5), (0, 41, 0, 48), (-1, 5, 0, 5), (5, 2, 0, 5), (0, 40, 0, 10**12), (0, 5, 48, 49)]
)
def test_a_window_outside_the_image_is_refused(path, window):
    for name in ("zlib tiles", "png", "jpeg"):
        assert refused(path, WHOLE[name], window=window).code == "window"


def test_a_tiff_of_no_pixels_is_refused(path):
    for height, width in ((0, 5), (5, 0), (0, 0)):
        tags = nasty.plain_tags(height, width)
        assert refused(path, nasty.raw_tiff(tags, [bytes(8)])).code == "no_pixels"
        assert refused(path, nasty.png_of(width, height, 8, 0, zlib.compress(b""))).code == "no_pixels"


def test_a_missing_codec_is_named_with_its_cure_and_all_else_is_still_read(path, tmp_path):
    (tmp_path / "plain").write_bytes(WHOLE["None strips"])
    (tmp_path / "zlib").write_bytes(WHOLE["zlib strips"])
    (tmp_path / "png").write_bytes(WHOLE["png"])
    path.write_bytes(nasty.big_endian_lzw_predicted())
    code = f"""
sys.modules["imagecodecs"] = None
for name in [name for name in sys.modules if name.startswith(("tifffile", "bagscope"))]:
    del sys.modules[name]
from bagscope.errors import ImageReadError
from bagscope.files.reader import open_image
for name in ("plain", "png"):
    said.append(str(open_image(Path({str(tmp_path)!r}) / name).shape))
try:
    open_image(path)
except ImageReadError as error:
    said += [error.problem.code, error.problem.cause, error.problem.fix]
"""
    said, _ = limited(code, path)
    assert said[:3] == ["(1, 40, 48)", "(3, 40, 48)", "codec"]
    assert "LZW" in said[3]
    assert "pip install imagecodecs" in said[4]
