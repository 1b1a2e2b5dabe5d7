"""Are fields of OME-Zarr read exactly, in either version, and is what is missing or unknown named?"""

import json

import imagecodecs
import numpy as np
import pytest

from bagscope.errors import ImageReadError
from bagscope.files.field import FieldFiles
from bagscope.files.reader import Selection, open_image, read_header
from bagscope.files.signature import signature
from bagscope.files.worker import DecodingWorker

PIXELS = np.random.default_rng(0).integers(0, 60_000, (2, 50, 70)).astype("<u2")
CHUNK = (1, 32, 32)
PACK = {
    None: bytes,
    "zlib": imagecodecs.zlib_encode,
    "gzip": imagecodecs.gzip_encode,
    "zstd": imagecodecs.zstd_encode,
    "blosc": imagecodecs.blosc_encode,
}


def chunks(pixels):
    """Yield number and content of each chunk, the last ones filled up."""
    more = [(0, -edge % chunk) for edge, chunk in zip(pixels.shape, CHUNK, strict=True)]
    wide = np.pad(pixels, more)
    for place in np.ndindex(*(edge // chunk for edge, chunk in zip(wide.shape, CHUNK, strict=True))):
        box = tuple(slice(at * chunk, (at + 1) * chunk) for at, chunk in zip(place, CHUNK, strict=True))
        yield place, np.ascontiguousarray(wide[box])


def array_2(folder, pixels, codec="zlib", separator="."):
    folder.mkdir(parents=True)
    said = {"zarr_format": 2, "shape": pixels.shape, "chunks": CHUNK, "dtype": "<u2", "order": "C", "filters": None}
    said |= {"compressor": {"id": codec} if codec else None, "fill_value": 0, "dimension_separator": separator}
    (folder / ".zarray").write_text(json.dumps(said))
    for place, content in chunks(pixels):
        path = folder / separator.join(map(str, place))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PACK[codec](content.tobytes()))


def crc32c(content):
    """Checksum by its definition, bit by bit: polynomial 0x1EDC6F41, reflected (RFC 3720, section 12.1)."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 * (value & 1)
    return value ^ 0xFFFFFFFF


def array_3(folder, pixels, codec="zstd", checksum=False):
    folder.mkdir(parents=True)
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    codecs += [{"name": codec}] if codec else []
    codecs += [{"name": "crc32c"}] if checksum else []
    said = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": pixels.shape,
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": CHUNK}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
    }
    (folder / "zarr.json").write_text(json.dumps(said))
    for place, content in chunks(pixels):
        path = folder / "c" / "/".join(map(str, place))
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = PACK[codec](content.tobytes())
        path.write_bytes(packed + crc32c(packed).to_bytes(4, "little") * checksum)


def field(folder, version):
    """Write a field with two levels, s0 and s1."""
    axes = [{"name": "c"}, *({"name": axis, "unit": "micrometer"} for axis in "yx")]
    levels = [("s0", PIXELS, 0.5), ("s1", PIXELS[:, ::2, ::2], 1.0)]
    datasets = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": [1, um, um]}]} for name, _, um in levels
    ]
    said = {
        "multiscales": [{"axes": axes, "datasets": datasets}],
        "omero": {"channels": [{"label": "a"}, {"label": "b"}]},
    }
    folder.mkdir(parents=True)
    if version.startswith("0.5") or version == "0.9":
        ome = {"version": version, **said}
        (folder / "zarr.json").write_text(
            json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}})
        )
    else:
        said["multiscales"][0]["version"] = version
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(said))
    for name, pixels, _ in levels:
        (array_3 if version > "0.4" else array_2)(folder / name, pixels)
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_both_versions_give_the_pixels_of_any_level_and_window(tmp_path, version):
    path = field(tmp_path / "p.zarr" / "B" / "3" / "0", version)
    header = read_header(path)
    assert (header.kind, header.channels, header.height, header.width) == ("zarr", 2, 50, 70)
    assert (header.channel_names, header.pixel_um, header.levels) == (("a", "b"), 0.5, 2)
    assert np.array_equal(open_image(path), PIXELS)
    assert np.array_equal(open_image(path, window=(20, 41, 5, 66)), PIXELS[:, 20:41, 5:66])
    small = Selection(level=1)
    assert np.array_equal(open_image(path, small), PIXELS[:, ::2, ::2])
    assert read_header(path, small).pixel_um == 1
    with DecodingWorker(60) as worker:
        assert np.array_equal(worker.read(FieldFiles((path,), ("a", "b"))), PIXELS)


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("separator", [".", "/"])
def test_single_arrays_are_read_with_every_codec(tmp_path, codec, separator):
    array_2(tmp_path / "two.zarr", PIXELS, codec, separator)
    assert np.array_equal(open_image(tmp_path / "two.zarr"), PIXELS)
    if codec != "zlib":
        array_3(tmp_path / "three.zarr", PIXELS, codec, checksum=True)
        assert np.array_equal(open_image(tmp_path / "three.zarr"), PIXELS)


def test_a_chunk_with_a_checksum_as_the_standard_gives_it_is_read(tmp_path):
    array_3(tmp_path / "a.zarr", PIXELS[:1, :32, :32], None, checksum=True)
    said = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    said["shape"] = said["chunk_grid"]["configuration"]["chunk_shape"] = [1, 4, 4]
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(said))
    # RFC 3720, appendix B.4: the bytes 0 to 31 and their CRC-32C.
    (tmp_path / "a.zarr" / "c" / "0" / "0" / "0").write_bytes(bytes(range(32)) + bytes.fromhex("4e79dd46"))
    assert open_image(tmp_path / "a.zarr").tobytes() == bytes(range(32))


@pytest.mark.parametrize("codec", [None, "zstd"])
@pytest.mark.parametrize("place", [0, 10, -5, -4, -1], ids=["first", "inside", "last", "checksum", "its last byte"])
def test_a_chunk_with_one_changed_byte_and_its_old_checksum_is_refused(tmp_path, codec, place):
    array_3(tmp_path / "a.zarr", PIXELS, codec, checksum=True)
    path = tmp_path / "a.zarr" / "c" / "1" / "0" / "2"
    stored = bytearray(path.read_bytes())
    stored[place] ^= 0x01
    path.write_bytes(stored)
    with pytest.raises(ImageReadError) as raised:
        open_image(tmp_path / "a.zarr")
    problem = raised.value.problem
    assert (problem.code, problem.file) == ("checksum", str(tmp_path / "a.zarr"))
    assert "chunk c/1/0/2 is damaged" in problem.cause
    assert problem.fix
    # The other chunks are whole.
    assert np.array_equal(open_image(tmp_path / "a.zarr", window=(0, 50, 0, 64)), PIXELS[:, :50, :64])


@pytest.mark.parametrize("length", [0, 3])
def test_a_chunk_that_is_shorter_than_a_checksum_is_refused(tmp_path, length):
    array_3(tmp_path / "a.zarr", PIXELS, None, checksum=True)
    (tmp_path / "a.zarr" / "c" / "0" / "0" / "0").write_bytes(bytes(length))
    with pytest.raises(ImageReadError, match=r"chunk c/0/0/0"):
        open_image(tmp_path / "a.zarr")


@pytest.mark.parametrize(("version", "lost"), [("0.4", "s0/1.0.2"), ("0.5", "s0/c/1/0/2")])
def test_a_missing_chunk_is_refused_unless_empty_ones_are_left_out_on_purpose(tmp_path, version, lost):
    path = field(tmp_path / "f.zarr", version)
    before = signature([path])
    (path / lost).unlink()
    assert signature([path]) != before
    with pytest.raises(ImageReadError, match=r"f\.zarr: 1 chunks are missing .*sparse_as_zero"):
        open_image(path)
    expected = PIXELS.copy()
    expected[1, :32, 64:] = 0
    assert np.array_equal(open_image(path, Selection(sparse_as_zero=True)), expected)


def test_what_is_no_field_is_named(tmp_path):
    (tmp_path / "plate.zarr").mkdir()
    (tmp_path / "plate.zarr" / ".zattrs").write_text('{"plate": {}}')
    with pytest.raises(ImageReadError, match=r"a plate, not a field; Name a field in it, such as plate\.zarr/B/3/0"):
        read_header(tmp_path / "plate.zarr")
    with pytest.raises(ImageReadError, match=r"OME-Zarr version '0\.9'"):
        read_header(field(tmp_path / "new.zarr", "0.9"))
    path = field(tmp_path / "f.zarr", "0.4")
    with pytest.raises(ImageReadError, match="level 5 is asked for"):
        read_header(path, Selection(level=5))
    (path / "s0" / "0.0.0").write_bytes(imagecodecs.zlib_encode(b"short"))
    with pytest.raises(ImageReadError, match=r"chunk 0\.0\.0 has 5 bytes decoded, 2,048 are expected"):
        open_image(path)
    (path / "s0" / "0.0.0").write_bytes(b"\xff" * 50)
    with pytest.raises(ImageReadError, match="it cannot be decoded"):
        open_image(path)
    said = json.loads((path / ".zattrs").read_text())
    said["multiscales"][0]["datasets"][0]["path"] = "../../etc"
    (path / ".zattrs").write_text(json.dumps(said))
    with pytest.raises(ImageReadError, match="leads out of the folder"):
        read_header(path)
    (path / ".zattrs").write_text("[")
    with pytest.raises(ImageReadError, match=r"\.zattrs is no JSON object"):
        read_header(path)


@pytest.mark.parametrize(("z", "expected"), [("max", PIXELS.max(0)), (0, PIXELS[0]), (1, PIXELS[1])])
def test_of_several_depths_the_brightest_or_the_chosen_one_is_read(tmp_path, z, expected):
    axes = [{"name": axis, "unit": "micrometer"} for axis in "zyx"]
    metadata = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]}
    array_2(tmp_path / "stack.zarr" / "0", PIXELS)
    (tmp_path / "stack.zarr" / ".zattrs").write_text(json.dumps(metadata))
    assert np.array_equal(open_image(tmp_path / "stack.zarr", Selection(z=z)), expected[None])
