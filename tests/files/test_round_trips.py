"""Does every array that a microscope's software stores come back exactly, whole and in windows?"""

import io

import nasty
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bagscope.files.reader import Selection, open_image, read_header

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
# Each with its own way of cutting a last, short strip.
COMPRESSIONS = [None, "zlib", "lzw", "packbits", "zstd", "lzma"]


@st.composite
def arrays(draw, dtypes=DTYPES):
    """(C, H, W) arrays of all types; finite, with the type's own extremes in them."""
    # Where a side has one pixel, tifffile stores another shape than it was given; see test_odd_shapes.
    shape = draw(st.tuples(st.integers(1, 5), st.integers(2, 45), st.integers(2, 45)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * 100).astype(dtype)
    about = np.iinfo(dtype)
    array = rng.integers(about.min, about.max, shape, dtype, endpoint=True)
    array.flat[0], array.flat[-1] = about.min, about.max
    return array


@st.composite
def layouts(draw, dtype):
    """How a TIFF stores an array: options for tifffile."""
    compression = draw(st.sampled_from(COMPRESSIONS))
    options = {"compression": compression, "byteorder": draw(st.sampled_from("<>")), "bigtiff": draw(st.booleans())}
    if compression in ("zlib", "lzw", "zstd") and dtype.kind != "f" and dtype.itemsize <= 4:
        options["predictor"] = draw(st.booleans())
    elif compression in ("zlib", "zstd") and dtype.kind == "f":
        options["predictor"] = draw(st.sampled_from([False, 3]))
    if draw(st.booleans()):
        options["tile"] = (16 * draw(st.integers(1, 3)), 16 * draw(st.integers(1, 3)))
    else:
        options["rowsperstrip"] = draw(st.integers(1, 50))
    return options


@st.composite
def windows(draw, height, width):
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return y0, draw(st.integers(y0 + 1, height)), x0, draw(st.integers(x0 + 1, width))


def assert_exact(path, array, data):
    header, pixels = read_header(path), open_image(path)
    assert (header.channels, header.height, header.width, header.dtype) == (*array.shape, array.dtype)
    assert pixels.dtype == array.dtype
    assert pixels.dtype.isnative
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, array)
    y0, y1, x0, x1 = window = data.draw(windows(*array.shape[1:]))
    part = open_image(path, window=window)
    assert part.flags.c_contiguous
    np.testing.assert_array_equal(part, array[:, y0:y1, x0:x1])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("round") / "image.tif"


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_channels_stored_as_pages_come_back_exactly_and_windows_are_crops(path, data):
    array = data.draw(arrays())
    options = data.draw(layouts(array.dtype))
    tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "CYX"}, **options)
    assert_exact(path, array, data)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_channels_stored_as_samples_come_back_exactly_and_windows_are_crops(path, data):
    array = data.draw(arrays())
    options = data.draw(layouts(array.dtype))
    planar = data.draw(st.sampled_from(["contig", "separate"]))
    stored = array if planar == "separate" else np.ascontiguousarray(np.moveaxis(array, 0, 2))
    planes = {"planarconfig": planar}
    if len(array) == 1:
        stored, planes = array[0], {}
    tifffile.imwrite(path, stored, photometric="minisblack", metadata=None, **planes, **options)
    assert_exact(path, array, data)


def test_the_last_strip_of_every_sample_may_be_short(path):
    array = np.random.default_rng(0).integers(0, 255, (3, 10, 7)).astype(np.uint8)
    tifffile.imwrite(path, array, photometric="rgb", planarconfig="separate", rowsperstrip=4, metadata=None)
    assert np.array_equal(open_image(path), array)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_ome_tiff_comes_back_exactly_with_its_channel_names(path, data):
    array = data.draw(arrays(["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"]))
    names = [f"channel µ{at}" for at in range(len(array))]
    options = data.draw(layouts(array.dtype))
    metadata = {"axes": "CYX", "Channel": {"Name": names}}
    tifffile.imwrite(path, array, ome=True, photometric="minisblack", metadata=metadata, **options)
    assert_exact(path, array, data)
    assert read_header(path).channel_names == tuple(names)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_imagej_stacks_come_back_exactly(path, data):
    array = data.draw(arrays(["u1", "u2", "f4"]))
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": "CYX"})
    if array.dtype == np.uint8 and len(array) == 3:
        assert read_header(path).channels == 3  # written as one RGB page or as three planes: three channels
    assert_exact(path, array, data)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_chosen_plane_of_a_stack_is_that_plane(path, data):
    array = data.draw(arrays())
    options = data.draw(layouts(array.dtype))
    tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "ZYX"}, **options)
    z = data.draw(st.integers(0, len(array) - 1))
    np.testing.assert_array_equal(open_image(path, Selection(z=z))[0], array[z])
    np.testing.assert_array_equal(open_image(path, Selection(page=z))[0], array[z])
    np.testing.assert_array_equal(open_image(path, Selection(z="max"))[0], array.max(0))


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_one_bit_pixels_come_back_as_zeros_and_ones(path, data):
    array = data.draw(arrays(["u1"]))[0] > 127
    options = {"tile": (16, 16)} if data.draw(st.booleans()) else {"rowsperstrip": data.draw(st.integers(1, 50))}
    tifffile.imwrite(path, array, photometric="minisblack", metadata=None, **options)
    assert_exact(path, array[None].astype(np.uint8), data)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_png_of_every_kind_comes_back_exactly_and_windows_are_crops(path, data):
    depth, kind = data.draw(
        st.sampled_from([(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 4), (16, 4), (8, 6), (16, 6)])
    )
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    shape = (*data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20))), samples)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    stored = rng.integers(0, 1 << depth, shape).astype("u2" if depth == 16 else "u1")
    if kind in (4, 6):
        stored[..., -1] = 7  # alpha that is everywhere the same carries nothing
    path.write_bytes(nasty.png(stored, depth, kind, interlaced=data.draw(st.booleans())))
    assert_exact(path, np.moveaxis(stored[..., : samples - (kind in (4, 6))], 2, 0), data)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_png_and_bmp_that_pillow_writes_come_back_exactly(path, data):
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    kind = data.draw(st.sampled_from(["PNG", "BMP"]))
    colours = data.draw(st.sampled_from([1, 3]))
    array = rng.integers(0, 256, (*shape, colours), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(array if colours == 3 else array[..., 0]).save(stream, kind)
    path.write_bytes(stream.getvalue())
    assert_exact(path, np.moveaxis(array, 2, 0), data)
