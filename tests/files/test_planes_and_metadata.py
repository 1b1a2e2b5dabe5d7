"""Are the planes that are read the ones that are meant, and is of the metadata only that believed which fits them?"""

import io

import nasty
import numpy as np
import pytest
import tifffile
from limits import limited

from bagscope.errors import ImageReadError
from bagscope.files.reader import Selection, open_image, read_header
from bagscope.files.tiff_axes import imagej_axes

STACK = np.stack([nasty.ramp(32, 48) + 5000 * at for at in range(5)]).astype(np.uint16)
GREY = STACK[0]


@pytest.fixture
def write(tmp_path):
    def write(content, **options):
        path = tmp_path / "image.ome.tif"
        path.write_bytes(content if isinstance(content, bytes) else nasty.tiff(content, **options))
        return path

    return write


def problem(path, *arguments):
    for read in (read_header, open_image):
        with pytest.raises(ImageReadError) as raised:
            read(path, *arguments)
    return raised.value.problem


# 27: stacks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "axes", "ways"),
    [
        ({"imagej": True, "photometric": None, "metadata": {"axes": "ZYX"}}, "ZYX", "images.z=max"),
        ({"imagej": True, "photometric": None, "metadata": {"axes": "TYX"}}, "TYX", "images.t=0"),
        ({"metadata": {"axes": "ZYX"}}, "ZYX", "images.z=max"),
        ({"ome": True, "metadata": {"axes": "ZYX"}}, "ZYX", "images.z=max"),
        ({"metadata": None}, "IYX", "images.page=0"),
        ({"metadata": {"axes": "QYX"}}, "IYX", "images.page=0"),
    ],
)
def test_a_stack_is_refused_with_its_axes_unless_its_plane_is_named(write, options, axes, ways):
    said = problem(write(STACK, **options))
    assert said.code == "axes"
    assert f"axes {axes}, 5 planes" in said.cause
    assert ways in said.fix


def test_planes_are_never_taken_for_channels(write):
    path = write(STACK, imagej=True, photometric=None, metadata={"axes": "ZYX"})
    header = read_header(path, Selection(z="mid"))
    assert (header.channels, header.planes, header.axes) == (1, 5, "ZYX")
    np.testing.assert_array_equal(open_image(path, Selection(z="mid"))[0], STACK[2])
    np.testing.assert_array_equal(open_image(path, Selection(z=4))[0], STACK[4])


def test_axes_of_length_one_do_not_count(write):
    path = write(GREY[None, None, None], metadata={"axes": "TZCYX"})
    assert read_header(path).axes == "YX"
    np.testing.assert_array_equal(open_image(path)[0], GREY)


def test_depths_times_and_channels_are_told_apart_in_every_order(write):
    cube = np.arange(2 * 3 * 4, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 6), np.uint16)
    for axes in ("TZC", "TCZ", "ZCT"):
        sizes = {"T": 2, "Z": 3, "C": 4}
        pixels = cube.reshape(*(sizes[axis] for axis in axes), 4, 6)
        path = write(pixels, ome=True, metadata={"axes": f"{axes}YX"})
        by_axis = np.moveaxis(pixels, [axes.index(axis) for axis in "TZC"], [0, 1, 2])
        for t, z in np.ndindex(2, 3):
            np.testing.assert_array_equal(open_image(path, Selection(t=t, z=z)), by_axis[t, z])
        np.testing.assert_array_equal(open_image(path, Selection(t=0, z="max")), by_axis[0].max(0))
        assert problem(path, Selection(z=0)).code == "axes"
        assert problem(path, Selection(t=0)).code == "axes"
    path = write(cube.reshape(2, 3, 4, 4, 6), imagej=True, photometric=None, metadata={"axes": "TZCYX"})
    for t, z in np.ndindex(2, 3):
        np.testing.assert_array_equal(open_image(path, Selection(t=t, z=z)), cube.reshape(2, 3, 4, 4, 6)[t, z])


@pytest.mark.parametrize("choice", [{"page": 5}, {"page": -1}, {"z": 5}, {"z": "top"}, {"z": -1}])
def test_a_plane_that_is_not_there_is_refused(write, choice):
    assert problem(write(STACK, metadata={"axes": "ZYX"}), Selection(**choice)).code == "plane"


def test_formats_of_one_plane_refuse_all_others(write):
    path = write(nasty.png(GREY[..., None], 16, 0))
    np.testing.assert_array_equal(open_image(path, Selection(page=0, z="max", t=0))[0], GREY)
    for choice in ({"page": 1}, {"z": 1}, {"t": 1}):
        assert problem(path, Selection(**choice)).code == "plane"
    assert problem(path, Selection(level=1)).code == "level"


def test_a_stack_of_imagej_that_has_one_page_is_read_plane_by_plane(write):
    path = write(end_list_behind_first_page(nasty.tiff(STACK, imagej=True, photometric=None, metadata={"axes": "ZYX"})))
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    for z in range(5):
        np.testing.assert_array_equal(open_image(path, Selection(z=z))[0], STACK[z])
        np.testing.assert_array_equal(open_image(path, Selection(z=z), (3, 9, 2, 7))[0], STACK[z, 3:9, 2:7])
        np.testing.assert_array_equal(open_image(path, Selection(page=z))[0], STACK[z])


def end_list_behind_first_page(content):
    """End the list of pages behind the first, as ImageJ does for stacks beyond 4 GB; all data stay."""
    content = bytearray(content)
    order = "little" if content[:2] == b"II" else "big"
    page = int.from_bytes(content[4:8], order)
    tags = int.from_bytes(content[page : page + 2], order)
    content[page + 2 + 12 * tags : page + 6 + 12 * tags] = bytes(4)
    return bytes(content)


# 30, 31: OME-XML --------------------------------------------------------------------------------------------

SIZE = 'SizeX="48" SizeY="32" SizeC="1" SizeZ="1" SizeT="1" Type="uint16"'


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (nasty.ome_xml(SIZE.replace("48", "49")), "says 32x49 uint16, the page is 32x48 uint16"),
        (nasty.ome_xml(SIZE.replace("uint16", "uint8")), "the page is 32x48 uint16"),
        (nasty.ome_xml(SIZE)[:200], "is broken"),
        (nasty.ome_xml(SIZE.replace('"48"', '"many"')), "no whole number"),
        ('<?xml version="1.0"?><OME><Plate/></OME>', "no pixels"),
    ],
)
def test_pixels_win_against_an_ome_xml_that_does_not_fit_and_that_is_told(write, xml, words):
    path = write(GREY, description=xml, metadata=None)
    np.testing.assert_array_equal(open_image(path)[0], GREY)
    header = read_header(path)
    assert any(words in warning for warning in header.warnings)
    assert (header.channel_names, header.pixel_um) == ((), None)


def test_an_ome_xml_that_promises_planes_which_are_not_there_is_a_loss(write):
    xml = nasty.ome_xml(SIZE.replace('SizeZ="1"', 'SizeZ="6"'))
    said = problem(write(GREY, description=xml, metadata=None))
    assert said.cause == "metadata says 6 images, file has 1"


@pytest.mark.parametrize("size", ['"-1"', '"0.65" PhysicalSizeXUnit="furlong"', '"nan"', '"1e9"'])
def test_a_pixel_size_that_cannot_be_is_not_used_and_told(write, size):
    xml = nasty.ome_xml(f"{SIZE} PhysicalSizeX={size}")
    header = read_header(write(GREY, description=xml, metadata=None))
    assert header.pixel_um is None
    assert any("PhysicalSizeX" in warning for warning in header.warnings)


def set_of_two(folder):
    """A set of two files; the one in `sub` names the other one outside its folder."""
    names = ("A01.ome.tif", "sub/A02.ome.tif")
    (folder / "sub").mkdir()
    for at, (name, own, other) in enumerate([(names[0], *names), (names[1], "A02.ome.tif", "../A01.ome.tif")], 1):
        data = "".join(
            f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="{file}">urn:uuid:{number}</UUID></TiffData>'
            for t, (file, number) in enumerate([(own, at), (other, 3 - at)])
        )
        xml = nasty.ome_xml(SIZE.replace('SizeT="1"', 'SizeT="2"'), data).replace(
            'urn:uuid:1"><I', f'urn:uuid:{at}"><I'
        )
        (folder / name).write_bytes(nasty.tiff(np.full((32, 48), at, np.uint16), description=xml, metadata=None))
    return [folder / name for name in names]


def test_a_file_of_a_set_gives_its_own_pixels_with_and_without_the_others(tmp_path):
    paths = set_of_two(tmp_path)
    for at, path in enumerate(paths, 1):
        assert (open_image(path) == at).all()
        assert "part of a 2-file set; read alone" in read_header(path).warnings
    paths[0].unlink()
    assert (open_image(paths[1]) == 2).all()


def test_nothing_but_the_named_file_is_opened(tmp_path):
    _, path = set_of_two(tmp_path)
    code = """
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
read_header(path), open_image(path)
said += sorted({name for name in opened if ".ome.tif" in name})
"""
    said, _ = limited(code, path)
    assert said == [str(path)]


# 33: pixel size ---------------------------------------------------------------------------------------------

PER_UM = 1 / 0.65


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "photometric": None, "resolution": (PER_UM, PER_UM), "metadata": {"unit": "um"}},
        {"imagej": True, "photometric": None, "resolution": (PER_UM, PER_UM), "metadata": {"unit": "\\u00B5m"}},
        {"imagej": True, "photometric": None, "resolution": (PER_UM, PER_UM), "metadata": {"unit": "micron"}},
        {"resolution": (PER_UM * 1e4, PER_UM * 1e4), "resolutionunit": "CENTIMETER"},
        {"ome": True, "metadata": {"PhysicalSizeX": 0.65, "PhysicalSizeY": 0.65}},
        {"ome": True, "metadata": {"PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.65}},
    ],
    ids=["um", "escaped", "micron", "centimetre", "ome", "ome nm"],
)
def test_a_pixel_size_in_a_known_unit_is_given_in_micrometres(write, options):
    assert read_header(write(GREY, **options)).pixel_um == pytest.approx(0.65, rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        *({"resolution": (dpi, dpi), "resolutionunit": "INCH"} for dpi in (72, 96, 300)),
        {"resolution": (1, 1), "resolutionunit": "CENTIMETER"},
        {"resolution": (PER_UM, PER_UM), "resolutionunit": "NONE"},
        {"imagej": True, "photometric": None, "resolution": (PER_UM, PER_UM)},
        {"imagej": True, "photometric": None, "resolution": (PER_UM, PER_UM), "metadata": {"unit": "pixel"}},
    ],
)
def test_a_resolution_that_nobody_measured_is_no_pixel_size(write, options):
    assert read_header(write(GREY, **options)).pixel_um is None


def test_pixels_that_are_not_square_have_no_one_size(write):
    header = read_header(write(GREY, ome=True, metadata={"PhysicalSizeX": 0.65, "PhysicalSizeY": 0.7}))
    assert header.pixel_um is None
    assert any("not square" in warning for warning in header.warnings)


def test_png_and_bmp_give_their_pixel_size_unless_it_is_a_printers(write):
    def png(per_metre, unit=1):
        physical = per_metre.to_bytes(4, "big") * 2 + bytes([unit])
        return nasty.png(GREY[..., None], 16, 0, chunks=[(b"pHYs", physical)])

    def bmp(per_metre):
        return nasty.bmp(np.zeros((4, 24), np.uint8), 24, size=(4, 8), per_metre=per_metre)

    for make in (png, bmp):
        assert read_header(write(make(1_538_462))).pixel_um == pytest.approx(0.65, rel=1e-4)
        assert read_header(write(make(2835))).pixel_um is None  # 72 dpi
        assert read_header(write(make(0))).pixel_um is None
    assert read_header(write(png(1_538_462, unit=0))).pixel_um is None


# 35: pyramids -----------------------------------------------------------------------------------------------


def pyramid(style, size=600, compression="zlib"):
    """A slide of three levels, and a label and a macro page of other shapes; all but one block is zero."""
    slide = np.zeros((size, size), np.uint8)
    slide[300:400, 200:260] = nasty.ramp(100, 60, "uint8")
    levels = [slide, slide[::2, ::2], slide[::4, ::4]]
    stream = io.BytesIO()
    options = {"tile": (64, 64), "photometric": "minisblack", "compression": compression, "metadata": None}
    with tifffile.TiffWriter(stream, bigtiff=True) as writer:
        if style == "sub pages":
            writer.write(levels[0], subifds=2, **options)
            for level in levels[1:]:
                writer.write(level, subfiletype=1, **options)
        else:
            writer.write(levels[0], **options)
            writer.write(nasty.ramp(50, 70, "uint8"), photometric="minisblack", metadata=None)
            for level in levels[1:]:
                writer.write(level, **options)
        writer.write(nasty.ramp(40, 90, "uint8"), photometric="minisblack", metadata=None)
    return levels, stream.getvalue()


@pytest.mark.parametrize("style", ["sub pages", "pages"])
def test_levels_of_a_pyramid_are_read_and_labels_are_no_planes(write, style):
    levels, content = pyramid(style)
    path = write(content)
    header = read_header(path)
    assert (header.levels, header.planes, header.channels) == (3, 1, 1)
    assert any("other sizes" in warning for warning in header.warnings)
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(open_image(path, Selection(level=number))[0], level)
        assert read_header(path, Selection(level=number)).height == len(level)
    assert problem(path, Selection(level=3)).code == "level"
    assert problem(path, Selection(level=-1)).code == "level"


def test_a_tiled_file_gives_the_windows_of_its_untiled_copy(write, tmp_path):
    slide = np.random.default_rng(0).integers(0, 65536, (300, 500), dtype=np.uint16)
    (tmp_path / "plain.tif").write_bytes(nasty.tiff(slide))
    tiled = write(slide, tile=(64, 128), compression="zlib")
    for window in ((0, 300, 0, 500), (63, 65, 127, 129), (64, 128, 128, 256), (299, 300, 499, 500)):
        np.testing.assert_array_equal(
            open_image(tiled, window=window), open_image(tmp_path / "plain.tif", window=window)
        )


def test_a_window_of_a_huge_slide_takes_the_memory_of_the_window(tmp_path):
    path = tmp_path / "slide.tif"
    side = 30_000
    block = np.zeros((512, 512), np.uint16)
    block[100, 200] = 7
    black = np.zeros_like(block)
    across = -(-side // 512)

    def tiles():
        for number in range(across * across):
            yield block if number == across + 2 else black

    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(tiles(), shape=(side, side), dtype="uint16", tile=(512, 512), compression="zlib", metadata=None)
    code = """
said.append(read_header(path).height)
said.append(open_image(path, window=(612, 613, 1224, 1225)).tolist())
"""
    said, grown = limited(code, path)
    assert said == [side, [[[7]]]]
    assert grown < 100e6


@pytest.mark.parametrize("order", ["czt", "ctz", "zct", "ztc", "tcz", "tzc"])
def test_imagejs_orders_name_the_fastest_axis_first(order):
    numbers = {"order": order, "channels": "2", "slices": "3", "frames": "4"}
    axes, sizes = imagej_axes(numbers, samples=1)
    assert axes == order.upper()[::-1]
    assert dict(zip(axes, sizes, strict=True)) == {"C": 2, "Z": 3, "T": 4}


@pytest.mark.parametrize(("depths", "middle"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_the_middle_of_an_even_number_of_planes_is_the_upper_one(write, depths, middle):
    stack = np.arange(depths, dtype=np.uint16)[:, None, None] * np.ones((1, 8, 9), np.uint16)
    path = write(stack, ome=True, metadata={"axes": "ZYX"})
    assert (open_image(path, Selection(z="mid")) == middle).all()
