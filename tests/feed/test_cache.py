"""Are pixels the same whether they are held in memory or read window by window?"""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bagscope.errors import ImageReadError
from bagscope.feed.cache import Pad, PixelStore, fits_memory
from bagscope.files.field import FieldFiles, read_field

SHAPES = [(2, 90, 130), (2, 64, 64), (2, 200, 70)]
WINDOWS = [(0, 90, 0, 130), (0, 1, 0, 1), (13, 60, 5, 64), (89, 90, 129, 130)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Fields of two 16-bit channels, one file each, in strips and tiles; and their pixels."""
    folder, rng = tmp_path_factory.mktemp("fields"), np.random.default_rng(0)
    fields, pixels = [], []
    for at, (_, h, w) in enumerate(SHAPES):
        paths = tuple(folder / f"{at}_{channel}.tif" for channel in ("dna", "gfp"))
        pixels.append(rng.integers(0, 2**16, (2, h, w), dtype=np.uint16))
        for path, plane in zip(paths, pixels[-1], strict=True):
            tifffile.imwrite(path, plane, tile=(32, 32) if at else None, compression="zlib")
        fields.append(FieldFiles(paths, ("dna", "gfp")))
    return fields, pixels


class Counted:
    """A reader that remembers what it was asked for."""

    def __init__(self, wait=0.0):
        self.asked, self.wait, self.inside, self.most = [], wait, 0, 0

    def __call__(self, field, window):
        self.asked.append((field, window))
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(self.wait)
        pixels = read_field(field, window)
        self.inside -= 1
        return pixels


@pytest.mark.parametrize("held", [True, False])
def test_windows_are_those_of_the_image_and_keep_its_type(files, held):
    fields, pixels = files
    store = PixelStore(fields, SHAPES, read_field, held)
    assert len(store) == 3
    assert store.shapes == SHAPES
    for i, image in enumerate(pixels):
        assert store.whole(i).dtype == np.uint16
        assert np.array_equal(store.whole(i), image)
        for y0, y1, x0, x1 in WINDOWS:
            inside = min(y1, image.shape[1]) > y0 and min(x1, image.shape[2]) > x0
            if inside:
                window = store.window(i, y0, min(y1, image.shape[1]), x0, min(x1, image.shape[2]))
                assert window.dtype == np.uint16
                assert np.array_equal(window, image[:, y0:y1, x0:x1])


def test_held_pixels_are_read_once_and_others_window_by_window(files):
    fields, _ = files
    held, read = (Counted(), Counted())
    for store in (PixelStore(fields, SHAPES, held, True), PixelStore(fields, SHAPES, read, False)):
        for _ in range(3):
            store.window(0, 1, 5, 2, 9)
        store.whole(0)
        store.whole(0)
    assert held.asked == [(fields[0], None)]
    assert read.asked == [(fields[0], (1, 5, 2, 9))] * 3 + [(fields[0], None)] * 2


def test_nothing_is_read_before_it_is_asked_for(files):
    read = Counted()
    PixelStore(files[0], SHAPES, read, True).take([0, 2])
    assert read.asked == []


def test_a_part_of_the_rows_shares_what_is_in_memory(files):
    fields, pixels = files
    read = Counted()
    store = PixelStore(fields, SHAPES, read, True)
    some = store.take(np.array([2, 0]))
    assert some.shapes == [SHAPES[2], SHAPES[0]]
    assert np.array_equal(some.whole(0), pixels[2])
    assert store.whole(2) is some.whole(0)
    store.whole(0)
    assert np.array_equal(some.window(1, 0, 9, 0, 9), pixels[0][:, :9, :9])
    assert [field for field, _ in read.asked] == [fields[2], fields[0]]


def test_two_rows_of_one_file_are_one_image_in_memory(files):
    fields, _ = files
    read = Counted()
    store = PixelStore([fields[0], fields[0]], [SHAPES[0]] * 2, read, True)
    assert store.whole(0) is store.whole(1)
    assert len(read.asked) == 1


@pytest.mark.parametrize("held", [True, False])
def test_threads_ask_the_reader_one_at_a_time_and_for_held_pixels_once(files, held):
    fields, pixels = files
    read = Counted(wait=0.01)
    store = PixelStore(fields, SHAPES, read, held)
    found = []

    def work(part):
        found.extend(np.array_equal(part.window(i, 0, 60, 0, 60), pixels[i][:, :60, :60]) for i in range(3))

    threads = [threading.Thread(target=work, args=(store.take([0, 1, 2]),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12
    assert read.most == 1
    assert len(read.asked) == (3 if held else 12)


def test_a_file_that_cannot_be_read_is_asked_for_again_and_stops_no_other(files, tmp_path):
    fields, pixels = files
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0")
    store = PixelStore([FieldFiles((broken,), ()), fields[1]], [(2, 64, 64), SHAPES[1]], read_field, True)
    for _ in range(2):
        with pytest.raises(ImageReadError):
            store.window(0, 0, 4, 0, 4)
    assert np.array_equal(store.whole(1), pixels[1])
    tifffile.imwrite(broken, pixels[1], ome=True, metadata={"axes": "CYX"})
    assert np.array_equal(store.whole(0), pixels[1])


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize(("mode", "edge"), [("zero", "constant"), ("reflect", "symmetric")])
def test_images_that_are_too_small_are_enlarged_below_and_to_the_right(files, held, mode, edge):
    fields, pixels = files
    store = PixelStore(fields, SHAPES, read_field, held, Pad(100, mode))
    assert store.shapes == [(2, 100, 130), (2, 100, 100), (2, 200, 100)]
    for i, image in enumerate(pixels):
        more = [(0, wanted - there) for wanted, there in zip(store.shapes[i], SHAPES[i], strict=True)]
        assert np.array_equal(store.whole(i), np.pad(image, more, edge))
        assert np.array_equal(store.window(i, 50, 100, 60, 100), store.whole(i)[:, 50:100, 60:100])
    assert np.array_equal(store.take([1]).whole(0), store.whole(1))
    assert store.take([1], Pad(80, "zero")).shapes == [(2, 80, 80)]


def test_even_one_pixel_can_be_enlarged():
    field = FieldFiles((Path("none"),), ())
    store = PixelStore([field], [(1, 1, 1)], lambda *_: np.full((1, 1, 1), 7, np.uint8), False, Pad(63, "reflect"))
    assert np.array_equal(store.whole(0), np.full((1, 63, 63), 7, np.uint8))


def test_a_quarter_of_the_free_memory_may_be_taken_and_no_byte_more():
    assert fits_memory(250, 1000)
    assert not fits_memory(251, 1000)
    assert fits_memory(0, 0)
