"""Are nuclei of a stack found, cut out where they lie, and left out for the reasons that are told?"""

import numpy as np
import pytest

from bagscope.classical.cutting import cut_out, find_nuclei
from bagscope.errors import ImageReadError
from bagscope.settings.shape_sections import VolumesSection
from bagscope.volumes.solids import solids_of
from solids_drawn import ellipsoid

SPACING = (1.0, 1.0, 1.0)


def stack():
    """Three nuclei: one free, two that touch, one of them at the border; number 3 is not there."""
    labels = np.zeros((24, 30, 40), np.uint16)
    labels[ellipsoid((5, 5, 5), labels.shape, (12, 8, 8))] = 1
    labels[2:10, 15:25, 20:30] = 2
    labels[2:10, 15:25, 30:40] = 4
    return labels


def test_nuclei_are_cut_out_where_they_lie():
    cuts = {cut.number: cut for cut in cut_out(stack())}
    assert sorted(cuts) == [1, 2, 4]
    assert cuts[1].middle == pytest.approx((12, 8, 8))
    assert cuts[2].middle == pytest.approx((5.5, 19.5, 24.5))
    assert [cuts[n].at_border for n in (1, 2, 4)] == [False, False, True]
    # A block of 8 x 10 x 10 has 2 * (80 + 80 + 100) faces, 80 of them shared.
    assert cuts[2].touching == pytest.approx(80 / 520)
    assert cuts[1].touching == 0


def test_the_unfit_are_left_out_and_counted():
    section = VolumesSection(content="labels")
    solids, notes = solids_of(stack(), SPACING, section)
    assert [one.cut.number for one in solids] == [1, 2]
    assert notes == ["1 at the border"]
    for change, left, said in (
        ({"border": "keep"}, [1, 2, 4], []),
        ({"most_touching": 0.1}, [1], ["1 at the border", "1 touching others"]),
        ({"least_um3": 600}, [2], ["1 at the border", "1 too small"]),
        ({"most_um3": 600}, [1], ["1 at the border", "1 too large"]),
    ):
        solids, notes = solids_of(stack(), SPACING, VolumesSection(content="labels", **change))
        assert [one.cut.number for one in solids] == left
        assert notes == said


@pytest.mark.parametrize(("limit", "note"), [("least_um3", "1 too small"), ("most_um3", "1 too large")])
def test_limits_of_a_volume_are_cubic_micrometres_whatever_the_voxels(limit, note):
    labels = np.zeros((14, 14, 14), np.uint8)
    labels[2:6, 2:6, 2:6], labels[8:13, 8:13, 8:13] = 1, 2  # 64 and 125 voxels
    for edge in (0.5, 2.0):
        section = VolumesSection(content="labels", **{limit: 100 * edge**3})
        solids, notes = solids_of(labels, (edge,) * 3, section)
        assert [solid.cut.number for solid in solids] == [2 if limit == "least_um3" else 1]
        assert notes == [note]


def test_voxels_that_meet_at_a_corner_are_one_part():
    mask = np.zeros((14, 14, 14), np.uint8)
    mask[2:7, 2:7, 2:7] = mask[7:12, 7:12, 7:12] = 1
    (solid,), notes = solids_of(mask, SPACING, VolumesSection(keep="largest"))
    assert notes == []
    assert solid.volume == 250


def test_touching_nuclei_of_grey_values_are_parted_by_their_depth():
    rng = np.random.default_rng(0)
    truth = np.zeros((24, 40, 60), int)
    for number, x in enumerate((15, 29, 47), start=1):
        truth[ellipsoid((7, 8, 8), truth.shape, (12, 20, x)) & (truth == 0)] = number
    grey = (100 + 900 * (truth > 0) + 60 * rng.standard_normal(truth.shape)).clip(0).astype(np.uint16)
    labels, threshold = find_nuclei(grey, SPACING)
    assert labels.max() == 3
    assert 300 < threshold < 900
    overlaps = [max(((labels == a) & (truth == b)).sum() / ((labels == a) | (truth == b)).sum() for a in (1, 2, 3))
                for b in (1, 2, 3)]  # fmt: skip
    assert min(overlaps) > 0.85
    assert find_nuclei(np.zeros((4, 4, 4)), SPACING)[0].max() == 0


def test_one_voxel_is_a_shape_and_none_is_a_cause():
    one = np.zeros((8, 8, 8), np.uint8)
    with pytest.raises(ImageReadError, match="0 voxels above 0"):
        solids_of(one, SPACING, VolumesSection())
    one[4, 4, 4] = 255
    (solid,), _ = solids_of(one, SPACING, VolumesSection())
    assert all(np.isfinite(value) for value in solid.measures.values())
    full, _ = solids_of(np.ones((8, 8, 8), np.uint8), SPACING, VolumesSection())
    assert full[0].volume == 512
    with pytest.raises(ImageReadError, match="512 voxels, 100 are allowed"):
        solids_of(np.ones((8, 8, 8), np.uint8), SPACING, VolumesSection(max_voxels=100))


def test_parts_of_a_mask_are_one_shape_or_the_largest():
    two = np.zeros((20, 20, 40), np.uint8)
    two[ellipsoid((4, 4, 4), two.shape, (10, 10, 10))] = 1
    two[ellipsoid((6, 6, 6), two.shape, (10, 10, 28))] = 1
    (both,), notes = solids_of(two, SPACING, VolumesSection())
    assert notes == ["2 separate parts, they count as one shape"]
    assert both.measures["components"] == 2
    (largest,), notes = solids_of(two, SPACING, VolumesSection(keep="largest"))
    assert notes == ["2 separate parts, the largest is taken"]
    assert largest.measures["components"] == 1
    assert largest.cut.middle == pytest.approx((10, 10, 28))
    assert largest.volume < both.volume


def test_numbers_may_be_as_large_as_their_type_allows():
    labels = stack().astype(np.uint64)
    labels[labels == 4] = 2**63 + 5
    cuts = {cut.number: cut for cut in cut_out(labels)}
    assert sorted(cuts) == [1, 2, 2**63 + 5]
    assert cuts[2].touching == pytest.approx(80 / 520)
    assert cuts[2**63 + 5].at_border


def test_a_mask_keeps_its_number_and_labels_their_rules_whatever_the_number():
    one = np.zeros((8, 8, 8), np.uint8)
    one[:4, 2:6, 2:6] = 5  # touches the border
    (solid,), _ = solids_of(one, SPACING, VolumesSection())
    assert solid.cut.number == 5
    for number in (1, 5):
        with pytest.raises(ImageReadError, match="1 at the border"):
            solids_of((one > 0) * np.uint8(number), SPACING, VolumesSection(content="labels"))


def test_a_label_of_several_parts_is_told_of():
    labels = stack()
    labels[2:6, 2:6, 28:32] = 1
    solids, notes = solids_of(labels, SPACING, VolumesSection(content="labels"))
    assert [one.cut.number for one in solids] == [1, 2]
    assert notes == ["1 at the border", "1 labels of several separate parts, each counts as one shape"]


@pytest.mark.parametrize(
    ("pixels", "content", "cause"),
    [
        (np.array([-1, 1, 0], np.int16), "auto", "voxels below 0 \\(least -1\\)"),
        (np.array([np.nan, 1, 0], np.float32), "grey", "9 voxels are no finite numbers"),
        (np.array([7, 7, 7], np.float32), "grey", "0 voxels above 7"),
        (np.zeros(0, np.uint8), "auto", "0x3x3 voxels"),
    ],
)
def test_voxels_that_are_neither_mask_nor_labels_nor_grey_values_are_named(pixels, content, cause):
    volume = np.broadcast_to(pixels[:, None, None], (len(pixels), 3, 3)).copy()
    with pytest.raises(ImageReadError, match=cause):
        solids_of(volume, SPACING, VolumesSection(content=content))
