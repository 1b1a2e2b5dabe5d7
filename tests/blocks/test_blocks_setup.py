"""What a recipe means, which pixels are sure, and what a second training learns from."""

import numpy as np
import pytest

from bagscope.blocks import setup
from bagscope.blocks.setup import apply_recipe, pseudo_label_pixels
from bagscope.errors import SettingsError
from bagscope.feed.orders import rng_for
from bagscope.settings.jobs import BlocksJob, make_job
from bagscope.tables.boxes import Blocks


def one_block(y, x, size):
    return Blocks(np.array([y]), np.array([x]), np.array([size]), np.array(["kind"], dtype=object))


def test_the_published_recipe_sets_what_was_not_set_by_hand():
    own = apply_recipe(make_job(BlocksJob, None, {"blocks.recipe": "published", "training.batch": 8}))
    assert (own.training.optimiser, own.training.rate, own.training.batch) == ("rmsprop", 1e-3, 8)
    assert (own.blocks.grouping, own.view.groups, own.view.context, own.second.steps) == ("sampled", 2, 0, 0)
    assert apply_recipe(make_job(BlocksJob)) == make_job(BlocksJob)


def test_names_of_the_published_recipe_are_settings():
    for section, values in setup.PUBLISHED.items():
        for key, value in values.items():
            assert getattr(getattr(make_job(BlocksJob, None, {f"{section}.{key}": value}), section), key) == value


def test_folds_are_refused():
    with pytest.raises(SettingsError, match="no cross-fitted"):
        setup.refuse_impossible(make_job(BlocksJob, None, {"folds": 3}))


def test_sure_pixels_are_the_highest_ranks_of_each_class():
    p = rng_for(0, 1).random((2, 60, 60))
    maps = [np.stack([1 - one, one]) for one in p]
    labels = np.stack(pseudo_label_pixels(maps, [one_block(0, 0, 60)] * 2, (0.8, 0.2), share=0.75, beyond=1.3))
    assert (labels == 2).mean() == pytest.approx(0.15, abs=1e-3)  # 0.75 of what is expected
    assert (labels == 1).mean() == pytest.approx(1 - 1.3 * 0.2, abs=1e-3)  # all but what the other may hold
    assert p[labels == 2].min() > p[labels == 0].max()
    assert p[labels == 1].max() < p[labels == 0].min()


def test_of_three_classes_a_sure_pixel_is_of_its_most_probable_one():
    raw = rng_for(1, 1).random((3, 60, 60))
    p = raw / raw.sum(0)
    (labels,) = pseudo_label_pixels([p], [one_block(0, 0, 60)], (0.4, 0.3, 0.3), share=0.75, beyond=1.3)
    sure = labels > 0
    assert (labels[sure] - 1 == p.argmax(0)[sure]).all()
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_beyond_blocks_no_pixel_is_sure():
    p = rng_for(2, 1).random((60, 80))
    (labels,) = pseudo_label_pixels([np.stack([1 - p, p])], [one_block(10, 30, 40)], (0.5, 0.5), share=0.75, beyond=1.3)
    inside = np.zeros_like(p, bool)
    inside[10:50, 30:70] = True
    assert not labels[~inside].any()
    assert (labels[inside] == 2).mean() == pytest.approx(0.375, abs=2e-3)
    none = np.empty(0, np.int64)
    nothing = Blocks(none, none, none, np.empty(0, dtype=object))
    (labels,) = pseudo_label_pixels([np.stack([1 - p, p])], [nothing], (0.5, 0.5), share=0.75, beyond=1.3)
    assert not labels.any()
