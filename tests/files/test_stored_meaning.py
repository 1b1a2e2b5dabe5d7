"""Do numbers come out as what they mean: types, palettes, inverted white, alpha, colour, and what is no number?"""

import io

import nasty
import numpy as np
import pytest
import tifffile
from PIL import Image

from bagscope.errors import ImageReadError
from bagscope.files.reader import Selection, open_image, read_header

GREY = nasty.ramp(20, 30)
BYTES = np.arange(256, dtype=np.uint8).reshape(16, 16)


def code(path, **arguments):
    with pytest.raises(ImageReadError) as raised:
        open_image(path, **arguments)
    return raised.value.problem.code


@pytest.fixture
def write(tmp_path):
    """Write bytes or a TIFF of pixels; gives the path."""

    def write(content, **options):
        path = tmp_path / "image"
        path.write_bytes(content if isinstance(content, bytes) else nasty.tiff(content, **options))
        return path

    return write


# 21, 28, 29: numbers ----------------------------------------------------------------------------------------


def with_holes():
    pixels = GREY.astype(np.float32) - 100
    pixels[1, 2], pixels[3, 4], pixels[5, 6] = np.nan, np.inf, -np.inf
    return pixels


def test_what_is_no_number_is_refused_with_count_and_first_place(write):
    path = write(with_holes())
    with pytest.raises(ImageReadError, match="3 pixels are NaN or infinite, the first at channel 0, row 1, column 2"):
        open_image(path)
    assert open_image(path, window=(6, 20, 0, 30)).shape == (1, 14, 30)


def test_negative_and_huge_finite_numbers_are_kept(write):
    pixels = np.array([[-1e30, -1.5, 0, 3e38]], np.float32)
    np.testing.assert_array_equal(open_image(write(pixels))[0], pixels)


def test_what_is_no_number_in_32_bits_is_none(write):
    pixels = GREY.astype(np.float64)
    pixels[2, 3], pixels[4, 5] = 1e300, np.nan
    path = write(pixels)
    with pytest.raises(ImageReadError, match="2 pixels are NaN or infinite in 32 bits, the first at channel 0, row 2"):
        open_image(path)
    middle = np.median(np.delete(GREY.ravel(), [np.ravel_multi_index(at, GREY.shape) for at in ((2, 3), (4, 5))]))
    assert open_image(path, Selection(nan="mask"))[0, [2, 4], [3, 5]].tolist() == [middle, middle]


def test_what_is_no_number_is_filled_with_the_median_of_the_whole_channel_when_asked(write):
    pixels = np.stack([with_holes(), GREY.astype(np.float32)])
    path = write(pixels, metadata={"axes": "CYX"})
    expected = pixels.copy()
    expected[0][~np.isfinite(pixels[0])] = np.median(pixels[0][np.isfinite(pixels[0])])
    filled = open_image(path, Selection(nan="mask"))
    np.testing.assert_array_equal(filled, expected)
    np.testing.assert_array_equal(open_image(path, Selection(nan="mask"), (0, 4, 0, 5)), expected[:, :4, :5])


def test_a_channel_without_any_number_is_refused_even_where_holes_are_filled(write):
    assert code(write(np.full((4, 4), np.nan, np.float32)), selection=Selection(nan="mask")) == "nan"


def test_signed_and_twelve_bit_numbers_come_out_as_stored(write):
    for pixels in (GREY % 4096, (GREY.astype(np.int32) - 32768).astype(np.int16)):
        np.testing.assert_array_equal(open_image(write(pixels))[0], pixels)


@pytest.mark.parametrize("value", [0, 300, 65535])
def test_an_image_without_contrast_is_an_image(write, value):
    assert (open_image(write(np.full((9, 9), value, np.uint16))) == value).all()


def test_complex_numbers_are_refused(write):
    assert code(write(np.zeros((4, 4), np.complex64))) == "dtype"


# 22: byte order ---------------------------------------------------------------------------------------------


def test_big_endian_lzw_with_differences_is_exact_and_native(write):
    pixels = open_image(write(nasty.big_endian_lzw_predicted()))
    np.testing.assert_array_equal(pixels[0], nasty.ramp(64, 80))
    assert pixels.dtype == np.uint16
    assert pixels.dtype.isnative
    assert all(stride > 0 for stride in pixels.strides)


# 23: palettes and inverted white ----------------------------------------------------------------------------

INVERTED_RED = np.stack([np.full(256, 65535), *[(255 - np.arange(256)) * 257] * 2]).astype(np.uint16)


def test_a_palette_becomes_the_colours_it_names(write):
    path = write(BYTES, photometric="palette", colormap=INVERTED_RED)
    np.testing.assert_array_equal(open_image(path), INVERTED_RED[:, BYTES])
    header = read_header(path)
    assert (header.channels, header.dtype, header.channel_names) == (3, np.uint16, ("R", "G", "B"))
    assert open_image(path)[:, 0, 0].tolist() == [65535, 65535, 65535]


@pytest.mark.parametrize("step", [256, 257])
def test_a_palette_that_is_a_grey_ramp_is_read_by_index(write, step):
    ramp = np.tile(np.arange(256) * step, (3, 1)).astype(np.uint16)
    path = write(BYTES, photometric="palette", colormap=ramp)
    np.testing.assert_array_equal(open_image(path), BYTES[None])
    assert read_header(path).channels == 1


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_png_palette_becomes_the_colours_it_names(write, depth):
    rng = np.random.default_rng(depth)
    colours = rng.integers(0, 256, (1 << depth, 3), dtype=np.uint8)
    indices = rng.integers(0, 1 << depth, (7, 11, 1))
    path = write(nasty.png(indices, depth, 3, chunks=[(b"PLTE", colours.tobytes())]))
    np.testing.assert_array_equal(open_image(path), np.moveaxis(colours[indices[..., 0]], 2, 0))
    assert read_header(path).channel_names == ("R", "G", "B")


def test_a_png_palette_that_is_a_grey_ramp_is_read_by_index(write):
    ramp = bytes(np.repeat(np.arange(256, dtype=np.uint8), 3))
    path = write(nasty.png(BYTES[..., None], 8, 3, chunks=[(b"PLTE", ramp)]))
    np.testing.assert_array_equal(open_image(path), BYTES[None])


def test_an_index_outside_its_palette_is_refused(write):
    path = write(nasty.png(BYTES[..., None], 8, 3, chunks=[(b"PLTE", bytes(range(30)))]))
    assert code(path) == "broken"


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_palette_becomes_the_colours_it_names(write, bits):
    rng = np.random.default_rng(bits)
    colours = rng.integers(0, 256, (1 << bits, 4), dtype=np.uint8)  # blue, green, red, nothing
    indices = rng.integers(0, 1 << bits, (5, 13))
    rows = np.array([np.frombuffer(nasty.packed_row(row, bits), np.uint8) for row in indices])
    path = write(nasty.bmp(rows, bits, palette=colours.tobytes(), size=(5, 13)))
    np.testing.assert_array_equal(open_image(path), np.moveaxis(colours[indices][..., 2::-1], 2, 0))


def test_a_bmp_of_two_greys_is_zeros_and_ones(write):
    picture = (np.arange(5 * 13).reshape(5, 13) % 3 == 0).astype(np.uint8)
    rows = np.packbits(picture, axis=1)
    path = write(nasty.bmp(rows, 1, palette=b"\0\0\0\0\xff\xff\xff\0", size=(5, 13)))
    np.testing.assert_array_equal(open_image(path), picture[None])


@pytest.mark.parametrize(("bits", "colours"), [(4, 16), (8, 2)])
def test_a_bmp_that_pillow_mistakes_for_another_is_refused(write, bits, colours):
    greys = np.repeat(np.arange(16) if colours == 16 else np.array([0, 255]), 4).astype(np.uint8)
    path = write(nasty.bmp(np.zeros((4, 8), np.uint8), bits, palette=greys.tobytes(), size=(4, 8)))
    assert code(path) == "codec"


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_where_zero_is_white_brightness_is_turned_round(write, dtype):
    pixels = nasty.ramp(20, 30).astype(dtype)
    path = write(pixels, photometric="miniswhite")
    np.testing.assert_array_equal(open_image(path)[0], np.iinfo(dtype).max - pixels)


def test_where_zero_is_white_bits_are_turned_round(write):
    bits = BYTES > 100
    np.testing.assert_array_equal(open_image(write(bits, photometric="miniswhite"))[0], ~bits)


def test_floats_whose_zero_is_white_are_refused(write):
    assert code(write(GREY.astype(np.float32), photometric="miniswhite")) == "miniswhite"


# 24: alpha, 16 bits, lossy ----------------------------------------------------------------------------------


def rgba16(alpha):
    samples = np.zeros((16, 16, 4), np.int64)
    samples[..., 0] = np.arange(256).reshape(16, 16) * 256
    samples[..., 3] = alpha
    return samples


HALF = np.where(np.arange(16)[:, None] < 8, 0, 65535)


def test_sixteen_bits_of_colour_are_kept(write):
    path = write(nasty.png(rgba16(65535), 16, 6))
    pixels = open_image(path)
    np.testing.assert_array_equal(pixels, np.moveaxis(rgba16(0)[..., :3], 2, 0))
    assert pixels.max() == 65280
    assert pixels.dtype == read_header(path).dtype == np.uint16


@pytest.mark.parametrize("depth", [8, 16])
def test_an_alpha_that_varies_is_refused_unless_it_is_to_be_dropped(write, depth):
    samples = rgba16(HALF) >> (16 - depth)
    path = write(nasty.png(samples, depth, 6))
    assert code(path) == "alpha"
    np.testing.assert_array_equal(open_image(path, Selection(alpha="drop")), np.moveaxis(samples[..., :3], 2, 0))


@pytest.mark.parametrize(("meaning", "channels"), [("unassalpha", 3), ("assocalpha", 3), ("unspecified", 4)])
def test_in_a_tiff_only_a_sample_that_is_called_alpha_is_taken_for_it(write, meaning, channels):
    samples = (rgba16(HALF) >> 8).astype(np.uint8)
    path = write(samples, photometric="rgb", extrasamples=[meaning])
    assert read_header(path).channels == channels
    if channels == 3:
        assert code(path) == "alpha"
    else:
        np.testing.assert_array_equal(open_image(path), np.moveaxis(samples, 2, 0))


def test_a_png_colour_that_is_transparent_is_an_alpha(write):
    samples = (rgba16(0)[..., :3] >> 8).astype(np.uint8)
    plain = np.moveaxis(samples, 2, 0)
    there, nowhere = b"\0\x05\0\0\0\0", b"\0\x05\0\x09\0\0"
    assert code(write(nasty.png(samples, 8, 2, chunks=[(b"tRNS", there)]))) == "alpha"
    np.testing.assert_array_equal(open_image(write(nasty.png(samples, 8, 2, chunks=[(b"tRNS", nowhere)]))), plain)
    wide = samples.astype(np.int64) * 256
    key = b"\x05\0\0\0\0\0"
    path = write(nasty.png(wide, 16, 2, chunks=[(b"tRNS", key)]))
    assert code(path) == "alpha"
    np.testing.assert_array_equal(open_image(path, Selection(alpha="drop")), np.moveaxis(wide, 2, 0))


def test_a_png_palette_may_be_partly_transparent(write):
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    chunks = [(b"PLTE", colours.tobytes()), (b"tRNS", b"\xff\x00")]
    path = write(nasty.png(BYTES[..., None], 8, 3, chunks=chunks))
    assert code(path) == "alpha"
    expected = np.moveaxis(colours[BYTES], 2, 0)
    np.testing.assert_array_equal(open_image(path, Selection(alpha="drop")), expected)
    chunks[1] = (b"tRNS", b"\xff\xff")
    np.testing.assert_array_equal(open_image(write(nasty.png(BYTES[..., None], 8, 3, chunks=chunks))), expected)


def by_pillow(pixels, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def test_jpeg_says_that_it_is_lossy_in_a_file_of_its_own_and_in_a_tiff(write):
    small = (GREY >> 4).astype(np.uint8)
    assert read_header(write(by_pillow(small, "JPEG", quality=30))).lossy
    assert read_header(write(np.tile(small, (2, 2))[:32, :32], compression="jpeg", tile=(16, 16))).lossy
    for content in (by_pillow(small, "PNG"), nasty.tiff(small, compression="zlib"), by_pillow(small, "BMP")):
        assert not read_header(write(content)).lossy


def test_a_jpeg_is_what_its_decoder_makes_of_it(write):
    colour = np.stack([BYTES, BYTES.T, BYTES[::-1]], axis=2)
    for pixels in (BYTES, colour):
        content = by_pillow(pixels, "JPEG", quality=95)
        with Image.open(io.BytesIO(content)) as image:
            expected = np.atleast_3d(np.asarray(image))
        path = write(content)
        np.testing.assert_array_equal(open_image(path), np.moveaxis(expected, 2, 0))
        np.testing.assert_array_equal(open_image(path, window=(2, 5, 3, 9)), np.moveaxis(expected[2:5, 3:9], 2, 0))


def test_four_colour_printing_is_refused(write):
    stream = io.BytesIO()
    Image.new("CMYK", (8, 8)).save(stream, "JPEG")
    assert code(write(stream.getvalue())) == "colour_model"


def test_an_animation_is_no_picture(write):
    stream = io.BytesIO()
    frames = [Image.fromarray(BYTES), Image.fromarray(BYTES.T.copy())]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    assert code(write(stream.getvalue())) == "axes"


# 25: colour or channels -------------------------------------------------------------------------------------


def test_samples_and_channels_are_counted_from_the_axes(write):
    rgb = np.zeros((64, 64, 3), np.uint8)
    header = read_header(write(rgb, photometric="rgb"))
    assert (header.axes, header.channels, header.channel_names) == ("YXS", 3, ("R", "G", "B"))
    header = read_header(write(np.zeros((3, 64, 64), np.uint8), photometric="rgb", planarconfig="separate"))
    assert (header.axes, header.channels) == ("SYX", 3)
    header = read_header(write(np.zeros((3, 64, 64), np.uint8), metadata={"axes": "CYX"}))
    assert (header.axes, header.channels, header.channel_names) == ("CYX", 3, ())


def test_colour_taken_for_grey_is_the_mean_and_grey_saved_as_colour_is_that_grey(write):
    colour = np.stack([BYTES, BYTES // 2, 255 - BYTES], axis=2)
    path = write(colour, photometric="rgb")
    mean = np.rint(colour.mean(axis=2)).astype(np.uint8)
    np.testing.assert_array_equal(open_image(path, Selection(gray=True))[0], mean)
    assert read_header(path, Selection(gray=True)).channels == 1
    for content in (
        nasty.tiff(np.stack([BYTES] * 3, 2), photometric="rgb"),
        by_pillow(np.stack([BYTES] * 3, 2), "PNG"),
    ):
        np.testing.assert_array_equal(open_image(write(content), Selection(gray=True))[0], BYTES)


def test_channels_that_are_no_colours_are_never_mixed_into_grey(write):
    channels = np.stack([BYTES, BYTES // 2, 255 - BYTES])
    path = write(channels, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(open_image(path, Selection(gray=True)), channels)


# 34: odd shapes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 5), (31, 400), (698, 788), (8, 30_000)])
def test_odd_shapes_are_read_as_they_are(write, shape):
    pixels = nasty.ramp(*shape)
    for content in (
        nasty.raw_tiff(nasty.plain_tags(*shape, bits=16), [pixels.tobytes()]),
        nasty.raw_tiff(nasty.plain_tags(*shape, bits=16, compression=8, rows=3), nasty.strips_of(pixels, 3, zlib_of)),
        nasty.png(pixels[..., None], 16, 0),
    ):
        np.testing.assert_array_equal(open_image(write(content))[0], pixels)


def zlib_of(content):
    return tifffile.TIFF.COMPRESSORS[8](content)
