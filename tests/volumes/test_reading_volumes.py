"""Are volumes read with their spacing, whatever holds them, and refused with a cause where they are none?"""

import numpy as np
import pytest
import tifffile

from bagscope.errors import ImageReadError
from bagscope.files.volume import VolumeFile, read_volume, read_volume_header, spacing_of
from bagscope.files.worker import DecodingWorker
from solids_drawn import write_stack

VOXELS = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)


@pytest.fixture(scope="module")
def worker():
    with DecodingWorker(30) as one:
        yield one


def imagej(path, voxels):
    tifffile.imwrite(path, voxels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "ZYX", "spacing": 1.5,
                                                                                "unit": "um"})  # fmt: skip


@pytest.mark.parametrize(
    ("write", "spacing"),
    [
        (lambda path: write_stack(path, VOXELS, (1.5, 0.5, 0.5)), (1.5, 0.5, 0.5)),
        (lambda path: imagej(path, VOXELS), (1.5, 0.5, 0.5)),
        (lambda path: tifffile.imwrite(path, VOXELS, photometric="minisblack"), None),
        (lambda path: write_stack(path, VOXELS), None),
    ],
    ids=["ome", "imagej", "plain", "ome without sizes"],
)
def test_a_stack_is_read_with_its_spacing(write, spacing, tmp_path, worker):
    path = tmp_path / "v.tif"
    write(path)
    voxels, header = read_volume(VolumeFile(path), worker)
    np.testing.assert_array_equal(voxels, VOXELS)
    assert header.spacing == (None if spacing is None else pytest.approx(spacing))


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX"])
def test_one_channel_of_several_is_taken(axes, tmp_path, worker):
    both = np.stack([VOXELS, VOXELS + 1000], 1 if axes == "ZCYX" else 0)
    write_stack(tmp_path / "v.ome.tif", both, axes=axes)
    voxels, header = read_volume(VolumeFile(tmp_path / "v.ome.tif", channel=1), worker)
    assert header.shape == VOXELS.shape
    np.testing.assert_array_equal(voxels, VOXELS + 1000)


def test_arrays_of_numpy_are_volumes_too(tmp_path, worker):
    np.savez(tmp_path / "one.npz", volume=VOXELS, spacing=[2.0, 1.0, 1.0])
    voxels, header = read_volume(VolumeFile(tmp_path / "one.npz"), worker)
    np.testing.assert_array_equal(voxels, VOXELS)
    assert header.spacing == (2, 1, 1)
    np.savez(tmp_path / "many.npz", a=np.stack([VOXELS, VOXELS + 1]), b=VOXELS)
    voxels, _ = read_volume(VolumeFile(tmp_path / "many.npz", array="a", at=1), worker)
    np.testing.assert_array_equal(voxels, VOXELS + 1)
    with pytest.raises(ImageReadError, match="2 arrays of three or four axes"):
        read_volume_header(VolumeFile(tmp_path / "many.npz"))
    with pytest.raises(ImageReadError, match="holds 2 volumes"):
        read_volume_header(VolumeFile(tmp_path / "many.npz", array="a"))


def test_what_is_no_volume_is_refused_with_its_cause(tmp_path, worker):
    tifffile.imwrite(tmp_path / "flat.tif", VOXELS[0])
    write_stack(tmp_path / "time.ome.tif", np.stack([VOXELS, VOXELS]), axes="TZYX")
    np.savez(tmp_path / "float.npz", x=VOXELS.astype(float))
    (tmp_path / "object.npz").write_bytes(b"PK\x03\x04 no archive")
    for name, cause in (
        ("flat.tif", "one plane"), ("time.ome.tif", "time series"), ("float.npz", "float64"), ("object.npz", "decoded"),
        ("none.tif", "not there"),
    ):  # fmt: skip
        with pytest.raises(ImageReadError, match=cause) as told:
            read_volume(VolumeFile(tmp_path / name), worker)
        assert name in told.value.problem.file


def test_a_volume_larger_than_allowed_is_not_begun(tmp_path, worker):
    write_stack(tmp_path / "v.ome.tif", VOXELS)
    with pytest.raises(ImageReadError, match="the volume") as told:
        read_volume(VolumeFile(tmp_path / "v.ome.tif"), worker, max_bytes=100)
    assert told.value.problem.code == "too_large"


def test_the_table_is_believed_before_the_file_and_the_file_before_the_settings(tmp_path):
    write_stack(tmp_path / "v.ome.tif", VOXELS, (1.5, 0.5, 0.5))
    tifffile.imwrite(tmp_path / "plain.tif", VOXELS, photometric="minisblack")
    told, silent = (read_volume_header(VolumeFile(tmp_path / name)) for name in ("v.ome.tif", "plain.tif"))
    assert spacing_of("2;1;1", told, "3,3,3", tmp_path) == (2, 1, 1)
    assert spacing_of("", told, "3,3,3", tmp_path) == pytest.approx((1.5, 0.5, 0.5))
    assert spacing_of("", silent, "3,3,3", tmp_path) == (3, 3, 3)
    with pytest.raises(ImageReadError, match="nobody says"):
        spacing_of("", silent, "", tmp_path)
    for wrong in ("0;1;1", "1;1", "a;b;c", "nan;1;1"):
        with pytest.raises(ImageReadError, match="three numbers above 0"):
            spacing_of(wrong, silent, "", tmp_path)
