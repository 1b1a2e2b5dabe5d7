"""Which crops does a step see, and are they the same whenever and by whomever they are drawn?"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from bagscope.feed.augment import UNCHANGED, Augmentation
from bagscope.feed.cache import PixelStore
from bagscope.files.field import FieldFiles
from bagscope.images.samples import CropPlan, Crops
from bagscope.ops.intensity import Intensity

CPU = torch.device("cpu")
EDGE = 20
# The root of a pixel is its value in the crop, to the last bit for these whole numbers.
PLAIN = Intensity((0.0,) * 3, (0.0,) * 3, (1.0,) * 3)


def picture(row, h, w):
    """(3, h, w): each pixel tells its row of the table, its y and its x, as squares."""
    y, x = np.mgrid[:h, :w]
    return np.stack([np.full((h, w), row), y, x]).astype(np.uint32) ** 2


def crops(ranges=UNCHANGED, *, wells=(0, 1, 2, 3), classes=(0, 0, 1, 1), size=8, scale=1.0, seed=0, **options):
    shapes = [(40, 40), (33, 50), (25, 70), (60, 21)]
    shapes = [shapes[row % 4] for row in range(len(wells))]
    fields = [FieldFiles((Path(f"{row}.tif"),), ()) for row in range(len(wells))]
    store = PixelStore(
        fields,
        [(3, h, w) for h, w in shapes],
        lambda field, window: picture(int(field.paths[0].stem), *shapes[int(field.paths[0].stem)])[
            :, window[0] : window[1], window[2] : window[3]
        ],
        held=False,
    )
    blank = options.pop("blank", np.empty((0, 3, 8, 8), np.uint16))
    plan = CropPlan(EDGE, scale, options.pop("background", 0.0), blank, PLAIN, ranges, seed)
    targets = np.array([[float(k == c) for k in range(2)] for c in classes], np.float32)
    return Crops(store, targets, np.array(wells), np.arange(len(wells)) + 10, plan, size)


def places(batch):
    """Row, y and x of each crop's corner, read off its pixels."""
    return [tuple(int(value) for value in sample[:, 0, 0].round()) for sample in batch.x]


def test_a_crop_is_a_window_of_the_row_that_it_names():
    for step in range(5):
        batch = crops().step(step, CPU)
        for sample, line, (row, y, x) in zip(batch.x, batch.rows, places(batch), strict=True):
            assert line == row + 10
            window = np.sqrt(picture(row, 100, 100)[:, y : y + EDGE, x : x + EDGE])
            assert np.allclose(sample, window, atol=1e-4)  # float32 square roots of up to 70 squared
        assert torch.equal(batch.target, torch.tensor([[1.0, 0.0] if r < 12 else [0.0, 1.0] for r in batch.rows]))
        assert batch.lengths.tolist() == [1] * 8


def test_every_window_of_an_image_is_drawn_sooner_or_later():
    drawn = {place for step in range(60) for place in places(crops(wells=(0,), classes=(0,)).step(step, CPU))}
    assert {y for _, y, _ in drawn} == set(range(21))
    assert {x for _, _, x in drawn} == set(range(21))


def test_items_of_a_step_and_steps_differ_and_the_seed_decides():
    first = places(crops(wells=(0,), classes=(0,)).step(0, CPU))
    assert len(set(first)) > 4
    assert places(crops(wells=(0,), classes=(0,)).step(1, CPU)) != first
    assert places(crops(wells=(0,), classes=(0,), seed=1).step(0, CPU)) != first


def test_a_step_is_the_same_whatever_was_drawn_before_and_by_how_many_threads():
    many = Augmentation(dihedral=True, gain=0.3, scale=0.2)
    alone = [crops(many, background=0.3).step(step, CPU) for step in range(8)]
    shared = crops(many, background=0.3)
    backwards = [shared.step(step, CPU) for step in reversed(range(8))][::-1]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda step: shared.step(step, CPU), range(8)))
    for one, two, three in zip(alone, backwards, at_once, strict=True):
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.x, three.x)
        assert one.rows.tolist() == two.rows.tolist() == three.rows.tolist()


def test_the_global_generators_play_no_part():
    def drawn(seed):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        return crops(Augmentation(True, 0.3, 0.2), background=0.3).step(0, CPU).x

    with torch.random.fork_rng():
        assert torch.equal(drawn(1), drawn(2))


def test_classes_come_equally_often_and_within_a_class_wells_do():
    # Well 0 has six fields, well 1 one; class 1 has a single field.
    some = crops(wells=(0,) * 6 + (1, 2), classes=(0,) * 7 + (1,), size=10)
    rows = np.concatenate([some.step(step, CPU).rows for step in range(100)]) - 10
    assert (rows == 7).sum() == 500
    assert 200 < (rows == 6).sum() < 300  # half of 500, binomial with sd 11
    assert len(set(rows.tolist())) == 8


@pytest.mark.parametrize("background", [0, 0.25, 1])
def test_so_many_crops_are_background_and_labelled_none(background):
    batches = [crops(background=background).step(step, CPU) for step in range(40)]
    share = np.mean([(batch.rows == -1).mean() for batch in batches])
    assert abs(share - background) < 0.1  # 320 crops: sd .024
    for batch in batches:
        assert not batch.target[torch.from_numpy(batch.rows == -1)].any()
        assert torch.isfinite(batch.x).all()


def test_background_is_made_of_blank_patches():
    blank = np.full((5, 3, 8, 8), 49, np.uint16)
    batch = [crops(background=1, blank=blank).step(step, CPU) for step in range(5)]
    mosaics = [sample for b in batch for sample in b.x if torch.allclose(sample, torch.tensor(7.0))]
    assert 20 < len(mosaics) < 40  # three in ten are flat fields with noise


def test_turned_and_mirrored_crops_are_windows_still():
    seen = set()
    for step in range(10):
        for sample in crops(Augmentation(True, 0, 0)).step(step, CPU).x:
            corners = sample[1:, [0, 0, -1, -1], [0, -1, 0, -1]].round()
            seen.add(tuple((corners - corners.amin(1, keepdim=True)).flatten().int().tolist()))
            assert sample[1].amax() - sample[1].amin() == pytest.approx(EDGE - 1, abs=1e-3)
    assert len(seen) == 8


def test_gain_changes_each_channel_by_a_factor_of_its_own():
    plain, bright = (crops(Augmentation(False, gain, 0)).step(0, CPU).x[:, 1:] for gain in (0, 0.5))
    factor = bright[:, :, 5, 5] / plain[:, :, 5, 5]
    assert torch.allclose(bright, plain * factor[:, :, None, None], rtol=1e-4)
    assert factor.log().std() > 0.2


def test_scale_jitter_never_asks_for_more_than_the_image_has():
    for step in range(20):
        batch = crops(Augmentation(False, 0, 0.6)).step(step, CPU)
        assert batch.x.shape == (8, 3, EDGE, EDGE)
        assert (batch.x[:, 1:].amax((1, 2, 3)) < 70).all()


def test_validation_crops_are_fixed_and_unchanged():
    def fixed():
        return crops(Augmentation(True, 0.5, 0.5)).fixed(3, CPU)

    batches = fixed()
    assert sum(len(batch.rows) for batch in batches) == 12
    assert [place for batch in batches for place in places(batch)] == [p for batch in fixed() for p in places(batch)]
    for batch in batches:
        for sample, (row, y, x) in zip(batch.x, places(batch), strict=True):
            assert np.allclose(sample, np.sqrt(picture(row, 100, 100)[:, y : y + EDGE, x : x + EDGE]), atol=1e-4)
