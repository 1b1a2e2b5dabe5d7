"""Are masks parted into the things they were made of, and is each found where it was put?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu
from skimage.measure import label as connected
from skimage.measure import regionprops

from bagscope.errors import BagscopeError
from bagscope.ops.regions import class_instances, instances, iou, labels_at, otsu_log, region_table, seeded_regions

LAW = settings(max_examples=40, deadline=None, derandomize=True)


def ellipse(shape, y, x, long, short=None, angle=0.0):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    down, right, cos, sin = rows - y, columns - x, np.cos(angle), np.sin(angle)
    return np.hypot((cos * right + sin * down) / long, (cos * down - sin * right) / (short or long)) <= 1


def masks():
    """Small masks of chance, from nearly empty to nearly full."""
    return st.tuples(st.integers(0, 9999), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1)).map(
        lambda t: np.random.default_rng(t[0]).random((t[1], t[2])) < t[3]
    )


class TestOtsuOnLogGrey:
    def test_dim_and_bright_cells_are_both_foreground(self):
        rng = np.random.default_rng(0)
        dim, bright = ellipse((100, 100), 30, 30, 12), ellipse((100, 100), 70, 70, 12)
        image = rng.normal(100, 1, (100, 100)) + 60 * dim + 600 * bright
        assert iou(image > otsu_log(image), dim | bright) > 0.99
        # Otsu's threshold on grey itself sees the bright one alone, so this image tells the two apart.
        assert iou(image > threshold_otsu(image), bright) > 0.99

    @pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (1.0, 500.0), (0.01, -7.0)])
    def test_gain_and_offset_of_the_camera_go_into_the_threshold(self, gain, offset):
        image = np.random.default_rng(0).gamma(2.0, 50.0, (40, 40))
        assert otsu_log(gain * image + offset) == pytest.approx(gain * otsu_log(image) + offset, rel=1e-9)

    def test_it_equals_otsu_on_the_logarithm(self):
        image = np.random.default_rng(1).gamma(2.0, 50.0, (40, 40))
        above = np.maximum(image - np.percentile(image, 2), 0)
        log = np.log(above + above.max() / 255)
        assert np.array_equal(image > otsu_log(image), log > threshold_otsu(log))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize("grey", [0, 7, 255])
    def test_one_grey_value_has_no_foreground(self, dtype, grey):
        image = np.full((5, 4), grey, dtype)
        assert not (image > otsu_log(image)).any()

    def test_a_lone_bright_pixel_is_foreground(self):
        image = np.zeros((9, 9), np.uint8)
        image[4, 4] = 200
        assert np.array_equal(image > otsu_log(image), image > 0)

    @pytest.mark.parametrize("image", [np.zeros((0, 3)), np.array([[1.0, np.nan]]), np.array([[1.0, np.inf]])])
    def test_an_image_without_grey_values_is_refused(self, image):
        with pytest.raises(BagscopeError, match="finite"):
            otsu_log(image)


class TestInstances:
    @pytest.mark.parametrize("radius", [6, 10, 20])
    @pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 4])
    def test_touching_discs_are_parted_where_they_touch(self, radius, angle):
        apart = 1.7 * radius * np.array([np.sin(angle), np.cos(angle)])
        one = ellipse((100, 100), 40, 40, radius)
        two = ellipse((100, 100), 40 + apart[0], 40 + apart[1], radius)
        found = instances(one | two)
        assert found.max() == 2
        assert iou(found == found[40, 40], one & ~two) > 0.9
        assert iou(found > 0, one | two) == 1.0

    @pytest.mark.parametrize("radius", [6, 10, 20])
    def test_discs_that_lie_over_each_other_are_one(self, radius):
        # Their neck is sqrt(1 - .5^2) = .87 of a disc's width.
        both = ellipse((100, 100), 40, 40, radius) | ellipse((100, 100), 40, 40 + radius, radius)
        assert instances(both).max() == 1

    def test_a_wider_neck_is_asked_for_by_a_larger_share(self):
        # Centres 1.3 radii apart: a neck of .76.
        both = ellipse((80, 100), 40, 35, 20) | ellipse((80, 100), 40, 61, 20)
        assert [int(instances(both, neck=neck).max()) for neck in (0, 0.5, 0.7, 0.85)] == [1, 1, 1, 2]

    def test_the_width_of_a_neck_is_told_against_the_narrower_part(self):
        # A bud on a large disc: its neck is as wide as half the bud, a tenth of the disc.
        bud = ellipse((100, 100), 50, 40, 25) | ellipse((100, 100), 50, 70, 6)
        thick = ellipse((100, 100), 50, 40, 25) | ellipse((100, 100), 50, 66, 6)
        assert instances(bud).max() == 2
        assert instances(thick).max() == 1

    @LAW
    @given(
        short=st.floats(1.2, 12),
        times=st.floats(1, 2.5),
        angle=st.floats(0, np.pi),
        y=st.floats(0, 1),
        x=st.floats(0, 1),
    )
    def test_an_ellipse_is_one_thing_at_any_size_and_angle(self, short, times, angle, y, x):
        mask = ellipse((70, 70), 35 + y, 35 + x, short * times, short, angle)
        # A thin one may hang together by corners only.
        assert instances(mask).max() == connected(mask, connectivity=1).max()

    @LAW
    @given(mask=masks(), neck=st.sampled_from([0.0, 0.3, 0.7, 0.9]))
    def test_every_pixel_of_the_mask_is_in_one_connected_thing(self, mask, neck):
        found = instances(mask, neck=neck)
        assert found.dtype == np.int32
        assert np.array_equal(found > 0, mask)
        assert set(np.unique(found)) - {0} == set(range(1, found.max() + 1))
        for thing in range(1, found.max() + 1):
            assert connected(found == thing, connectivity=1).max() == 1

    @LAW
    @given(mask=masks())
    def test_without_cuts_things_are_what_hangs_together_by_sides(self, mask):
        assert np.array_equal(instances(mask, neck=0), connected(mask, connectivity=1))

    def test_pixels_that_touch_by_a_corner_are_two_things(self):
        assert instances(np.eye(2, dtype=bool)).tolist() == [[1, 0], [0, 2]]

    def test_a_hole_belongs_to_none_and_a_ring_is_one_thing(self):
        ring = ellipse((50, 50), 25, 25, 20) & ~ellipse((50, 50), 25, 25, 8)
        found = instances(ring)
        assert np.array_equal(found, ring.astype(int))

    @pytest.mark.parametrize("y", [0, 3, 49])
    def test_a_disc_cut_by_the_edge_is_one_thing(self, y):
        mask = ellipse((50, 50), y, 25, 12)
        assert np.array_equal(instances(mask), mask.astype(int))

    def test_a_full_mask_is_one_thing(self):
        assert (instances(np.ones((6, 9), bool)) == 1).all()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 5)])
    def test_an_empty_mask_has_no_thing(self, shape):
        assert not instances(np.zeros(shape, bool)).any()

    def test_one_pixel_is_a_thing_of_its_own(self):
        mask = np.zeros((5, 5), bool)
        mask[2, 3] = True
        assert np.array_equal(instances(mask), mask.astype(int))
        assert not instances(mask, min_area=2).any()

    def test_things_below_the_least_area_are_left_out_and_the_rest_renumbered(self):
        mask = np.zeros((20, 30), bool)
        mask[2:4, 2:4] = mask[8:11, 2:5] = mask[15, 20] = mask[14:18, 3:7] = True
        found = instances(mask, min_area=9)
        assert np.unique(found, return_counts=True)[1].tolist() == [600 - 25, 9, 16]
        assert found[9, 3] == 1
        assert found[15, 4] == 2

    @pytest.mark.parametrize("neck", [-0.1, 1.0, float("nan")])
    def test_a_neck_that_is_no_share_is_refused(self, neck):
        with pytest.raises(BagscopeError, match="neck"):
            instances(np.ones((3, 3), bool), neck=neck)

    @pytest.mark.parametrize("mask", [np.ones((3, 3)), np.ones((2, 3, 3), bool), np.ones((0, 3), bool)])
    def test_what_is_no_mask_is_refused(self, mask):
        with pytest.raises(BagscopeError, match="mask"):
            instances(mask)


class TestClasses:
    def test_neighbours_of_two_classes_are_two_things_each_of_its_class(self):
        classes = np.zeros((40, 60), np.uint8)
        classes[ellipse((40, 60), 20, 15, 10)] = 3
        classes[ellipse((40, 60), 20, 30, 10)] = 1
        classes[ellipse((40, 60), 20, 50, 5)] = 3
        labels, of_class = class_instances(classes)
        assert of_class.tolist() == [0, 2, 2]
        assert np.array_equal(labels > 0, classes > 0)
        for number, k in enumerate(of_class, 1):
            assert set(classes[labels == number]) == {k + 1}

    def test_small_things_are_left_out_in_every_class(self):
        classes = np.array([[1, 1, 0, 2], [1, 1, 0, 0], [0, 0, 2, 2], [2, 0, 2, 2]])
        labels, of_class = class_instances(classes, min_area=4)
        assert of_class.tolist() == [0, 1]
        assert labels.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2]]

    def test_background_alone_has_no_thing(self):
        labels, of_class = class_instances(np.zeros((4, 5), np.int64))
        assert labels.shape == (4, 5)
        assert not labels.any()
        assert of_class.shape == (0,)


class TestSeededRegions:
    def test_two_nuclei_share_the_cytoplasm_between_them(self):
        seeds = np.zeros((41, 61), np.int32)
        seeds[ellipse(seeds.shape, 20, 15, 4)], seeds[ellipse(seeds.shape, 20, 45, 4)] = 7, 3
        cells = ellipse(seeds.shape, 20, 30, 28, 15)
        found = seeded_regions(seeds, cells)
        assert np.array_equal(found > 0, cells)
        # The middle, column 30, is as near to the one as to the other.
        assert (found[:, :30][cells[:, :30]] == 7).all()
        assert (found[:, 31:][cells[:, 31:]] == 3).all()

    def test_regions_meet_on_the_ridge_of_the_landscape(self):
        seeds = np.zeros((9, 30), np.int32)
        seeds[4, 3], seeds[4, 26] = 1, 2
        height = np.zeros((9, 30))
        height[:, 8] = 5.0
        found = seeded_regions(seeds, np.ones((9, 30), bool), height)
        assert (found[:, :8] == 1).all()
        assert (found[:, 9:] == 2).all()

    def test_foreground_without_a_seed_belongs_to_none(self):
        cells = ellipse((40, 80), 20, 20, 12) | ellipse((40, 80), 20, 60, 12)
        seeds = np.zeros(cells.shape, np.int32)
        seeds[20, 20] = 1
        found = seeded_regions(seeds, cells)
        assert np.array_equal(found, ellipse((40, 80), 20, 20, 12).astype(int))

    def test_a_region_does_not_leap_over_what_is_no_foreground(self):
        cells = np.ones((9, 9), bool)
        cells[:, 4] = False
        cells[range(9), range(9)] = False  # open by corners only
        seeds = np.zeros((9, 9), np.uint8)
        seeds[8, 0] = 1
        found = seeded_regions(seeds, cells)
        assert np.array_equal(found > 0, connected(cells, connectivity=1) == connected(cells, connectivity=1)[8, 0])

    @LAW
    @given(mask=masks(), count=st.integers(0, 5), seed=st.integers(0, 999))
    def test_a_seed_keeps_its_pixels_and_every_region_touches_its_seed(self, mask, count, seed):
        rng = np.random.default_rng(seed)
        seeds = np.zeros(mask.shape, np.uint16)
        for number in range(1, count + 1):
            seeds[rng.integers(mask.shape[0]), rng.integers(mask.shape[1])] = 100 * number
        found = seeded_regions(seeds, mask, rng.random(mask.shape))
        assert np.array_equal(found[seeds > 0], seeds[seeds > 0])
        assert not found[~mask & (seeds == 0)].any()
        parts = connected(mask | (seeds > 0), connectivity=1)
        assert np.array_equal(found > 0, np.isin(parts, parts[seeds > 0]) & (parts > 0))
        for number in np.unique(seeds[seeds > 0]):
            assert connected(found == number, connectivity=1).max() == (seeds == number).sum() == 1

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64, np.uint64])
    def test_numbers_of_any_size_are_kept(self, dtype):
        numbers = {1, 5, np.iinfo(dtype).max}
        seeds = np.zeros((9, 31), dtype)
        seeds[4, [3, 15, 27]] = sorted(numbers)
        found = seeded_regions(seeds, np.ones((9, 31), bool))
        assert found.dtype == dtype
        assert set(np.unique(found).tolist()) == numbers

    def test_without_a_seed_there_is_no_region(self):
        assert not seeded_regions(np.zeros((5, 6), np.int32), np.ones((5, 6), bool)).any()

    def test_seeds_without_foreground_are_their_own_regions(self):
        seeds = np.array([[0, 2, 2], [1, 0, 0]])
        assert np.array_equal(seeded_regions(seeds, np.zeros((2, 3), bool)), seeds)

    @pytest.mark.parametrize("foreground", [False, True])
    def test_seeds_that_fill_the_image_stay_as_they_are(self, foreground):
        seeds = np.array([[1, 3, 3], [2, 1, 1]])
        assert np.array_equal(seeded_regions(seeds, np.full((2, 3), foreground)), seeds)

    def test_images_of_different_shapes_are_refused(self):
        seeds, mask = np.zeros((5, 6), np.int32), np.ones((5, 6), bool)
        for other in ((seeds, mask[:4]), (seeds, mask, np.zeros((6, 5)))):
            with pytest.raises(BagscopeError, match="differ in shape"):
                seeded_regions(*other)

    def test_a_landscape_without_heights_is_refused(self):
        with pytest.raises(BagscopeError, match="landscape"):
            seeded_regions(np.zeros((2, 2), np.int32), np.ones((2, 2), bool), np.array([[0, 1], [np.nan, 2]]))


class TestRegionTable:
    @LAW
    @given(seed=st.integers(0, 9999), h=st.integers(1, 15), w=st.integers(1, 15), most=st.integers(0, 6))
    def test_it_equals_the_mean_and_reach_of_each_things_pixels(self, seed, h, w, most):
        labels = np.random.default_rng(seed).integers(0, most + 1, (h, w)) * 1000
        table = region_table(labels)
        assert table.label.tolist() == sorted(set(labels.ravel().tolist()) - {0})
        assert len(table) == len(table.label)
        for i, number in enumerate(table.label):
            rows, columns = np.nonzero(labels == number)
            assert table.area[i] == len(rows)
            assert (table.y[i], table.x[i]) == pytest.approx((rows.mean(), columns.mean()))
            box = (table.top[i], table.left[i], table.bottom[i], table.right[i])
            assert box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)

    def test_a_disc_lies_where_it_was_put(self):
        labels = ellipse((60, 80), 25, 50, 8).astype(np.uint16) * 70
        table = region_table(labels)
        assert (table.label[0], table.y[0], table.x[0]) == (70, 25.0, 50.0)
        assert table.area[0] == regionprops(labels)[0].area
        assert (table.top[0], table.bottom[0], table.left[0], table.right[0]) == (17, 34, 42, 59)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.int64, np.uint64])
    def test_the_largest_number_of_a_type_costs_no_more_than_1(self, dtype):
        labels = np.zeros((3, 3), dtype)
        labels[1, 2] = np.iinfo(dtype).max
        table = region_table(labels)
        assert table.label.tolist() == [np.iinfo(dtype).max]
        assert table.label.dtype == dtype

    def test_an_empty_label_image_is_an_empty_table(self):
        table = region_table(np.zeros((4, 4), np.uint8))
        assert len(table) == 0
        assert table.y.shape == table.top.shape == (0,)

    def test_a_thing_that_fills_the_image_is_measured_too(self):
        table = region_table(np.full((2, 4), 9))
        assert (table.label.tolist(), table.area.tolist(), table.x.tolist()) == ([9], [8], [1.5])


class TestPoints:
    def test_a_point_falls_in_the_pixel_whose_centre_is_nearest(self):
        labels = np.arange(12, dtype=np.uint16).reshape(3, 4)
        points = np.array([[0, 0], [0, 1.49], [0, 1.51], [1.2, 2.8], [2.49, 3.49], [-0.49, -0.49]])
        found = labels_at(labels, points)
        assert found.tolist() == [0, 1, 2, 7, 11, 0]
        assert found.dtype == labels.dtype

    def test_centres_of_round_things_fall_in_them(self):
        labels = instances(ellipse((50, 90), 20, 20, 9) | ellipse((50, 90), 30, 60, 12))
        table = region_table(labels)
        assert np.array_equal(labels_at(labels, np.stack((table.y, table.x), 1)), table.label)

    @pytest.mark.parametrize(
        "point", [(-0.5, 0), (0, -0.51), (3, 0), (2.5, 0), (0, 3.5), (0, 1e300), (np.nan, 0), (0, np.inf)]
    )
    def test_a_point_outside_the_image_is_refused_by_its_number(self, point):
        with pytest.raises(BagscopeError, match="point 2 at") as told:
            labels_at(np.zeros((3, 4), int), np.array([(0, 0), point]))
        assert told.value.problem.code == "cell_outside"

    def test_no_points_have_no_labels(self):
        assert labels_at(np.zeros((3, 4), np.int32), np.zeros((0, 2))).shape == (0,)

    @pytest.mark.parametrize("points", [np.zeros(2), np.zeros((3, 3)), np.zeros((2, 2, 1))])
    def test_what_are_no_points_is_refused(self, points):
        with pytest.raises(BagscopeError, match="shape"):
            labels_at(np.zeros((3, 4), int), points)


class TestIntersectionOverUnion:
    def test_squares_that_overlap_by_half_have_a_third(self):
        a, b = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
        a[:4, :4], b[:4, 2:6] = True, True
        assert iou(a, b) == pytest.approx(1 / 3)

    @LAW
    @given(a=masks(), seed=st.integers(0, 99))
    def test_it_counts_pixels_and_does_not_care_for_the_order(self, a, seed):
        b = np.random.default_rng(seed).random(a.shape) < 0.5
        one, other = {*np.flatnonzero(a)}, {*np.flatnonzero(b)}
        assert iou(a, b) == iou(b, a) == (len(one & other) / len(one | other) if one | other else 1.0)

    def test_the_same_mask_has_one_and_what_lies_apart_none(self):
        a = np.eye(4, dtype=bool)
        assert (iou(a, a), iou(a, ~a), iou(a & ~a, a & ~a), iou(a, a & ~a)) == (1, 0, 1, 0)

    def test_masks_of_different_shapes_or_kinds_are_refused(self):
        with pytest.raises(BagscopeError, match="shapes"):
            iou(np.ones((3, 4), bool), np.ones((4, 3), bool))
        with pytest.raises(BagscopeError, match="true and false"):
            iou(np.ones((3, 4), bool), np.ones((3, 4), np.uint8))


@pytest.mark.parametrize(
    "labels",
    [np.zeros((3, 3)), np.zeros((3, 3), bool), np.zeros((2, 3, 3), int), np.array([[0, -1]]), np.zeros((0, 3), int)],
)
@pytest.mark.parametrize(
    "use",
    [
        region_table,
        class_instances,
        lambda x: labels_at(x, np.zeros((0, 2))),
        lambda x: seeded_regions(x, np.ones((3, 3), bool)),
    ],
    ids=["table", "classes", "points", "seeds"],
)
def test_what_is_no_label_image_is_refused(use, labels):
    with pytest.raises(BagscopeError) as told:
        use(labels)
    assert told.value.problem.code == "labels"
    assert told.value.problem.fix
