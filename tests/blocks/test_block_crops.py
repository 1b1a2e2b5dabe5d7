"""Crops for training on blocks: numbers, classes, pixel labels and rows belong to the pixels of the crop."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bagscope.blocks.samples import BlockCrops, BlockRows, CropPlan, Scaling, View
from bagscope.blocks.task import BlocksTask
from bagscope.settings.jobs import BlocksJob, make_job
from bagscope.tables.boxes import Blocks

EDGE = 8
CLASSES = ("a", "b", "c")
UNCHANGED = View(context=24, groups=0, dihedral=False, gain=0, offset=0, stain=0, stain_offset=0)


class Store:
    """Images in memory."""

    held = True

    def __init__(self, images):
        self.images, self.shapes = images, [image.shape for image in images]

    def __len__(self):
        return len(self.images)

    def window(self, row, y0, y1, x0, x1):
        return self.images[row][:, y0:y1, x0:x1]


def rows():
    """Two images of blocks on a grid with gaps; each pixel of a block has the number of its class, from 1 on."""
    rng = np.random.default_rng(0)
    images, blocks = [], []
    for _ in range(2):
        y, x = (corner.ravel() * EDGE for corner in np.indices((6, 7)))
        chosen = rng.random(len(y)) < 0.7
        y, x = y[chosen], x[chosen]
        number = rng.integers(0, 3, len(y))
        image = np.zeros((1, 6 * EDGE, 7 * EDGE), np.uint8)
        for top, left, k in zip(y, x, number, strict=True):
            image[0, top : top + EDGE, left : left + EDGE] = k + 1
        images.append(image)
        blocks.append(Blocks(y, x, np.full(len(y), EDGE), np.array(CLASSES, dtype=object)[number]))
    return BlockRows(Store(images), blocks, np.array([12, 13]), [image[0] for image in images])


@pytest.mark.parametrize("dihedral", [False, True])
def test_numbers_classes_labels_and_rows_are_those_of_the_pixels(dihedral):
    view = View(**{**vars(UNCHANGED), "dihedral": dihedral})
    crops = BlockCrops(rows(), CLASSES, CropPlan(Scaling((0.0,), (1.0,), False, 255), view, size=6, seed=0))
    for step in range(5):
        batch = crops.step(step, torch.device("cpu"))
        pixels = batch.images[:, 0].long()
        inside = batch.index >= 0
        assert batch.index[inside].unique().tolist() == list(range(len(batch.coarse)))
        assert torch.equal(batch.coarse[batch.index[inside]] + 1, pixels[inside])
        assert (pixels[~inside] == 0).all()
        assert torch.equal(batch.labels, pixels)
        assert len(batch.rows) == len(batch.images) == 6
        assert set(batch.rows.tolist()) <= {12, 13}


def test_every_block_of_a_batch_is_entirely_in_one_crop():
    crops = BlockCrops(rows(), CLASSES, CropPlan(Scaling((0.0,), (1.0,), False, 255), UNCHANGED, size=6, seed=0))
    batch = crops.step(0, torch.device("cpu"))
    for number in range(len(batch.coarse)):
        crop, _, _ = torch.nonzero(batch.index == number, as_tuple=True)
        assert len(crop) == EDGE * EDGE
        assert len(crop.unique()) == 1


def test_coarse_classes_are_drawn_by_the_root_of_their_number_of_blocks():
    counts = {"a": 2, "b": 8, "c": 32}
    names = np.array([name for name, count in counts.items() for _ in range(count)], dtype=object)
    y, x = (corner.ravel() * EDGE for corner in np.indices((6, 7)))
    blocks = Blocks(y, x, np.full(42, EDGE), names)
    few = BlockRows(Store([np.zeros((1, 6 * EDGE, 7 * EDGE), np.uint8)]), [blocks], np.array([12]), [None])
    crops = BlockCrops(few, CLASSES, CropPlan(Scaling((0.0,), (1.0,), False, 255), UNCHANGED, size=7000, seed=0))
    drawn = np.bincount(crops._classes(np.random.default_rng(0)), minlength=3)
    # Roots of 2, 8 and 32 are as 1 to 2 to 4: 1000, 2000 and 4000 of 7000, with a standard deviation of 30 to 42.
    np.testing.assert_allclose(drawn, [1000, 2000, 4000], atol=200)


@pytest.mark.parametrize("grouping", ["inter", "intra+inter"])
def test_a_block_that_is_alone_in_its_class_holds_no_information_on_how_blocks_differ(grouping):
    job = make_job(BlocksJob, None, {"blocks.grouping": grouping})
    proportions = SimpleNamespace(mean=torch.tensor([[0.8, 0.2], [0.3, 0.7]]), sd=torch.full((2, 2), 0.1))
    task = SimpleNamespace(job=job, table=proportions)
    index = torch.arange(3).repeat_interleave(4)[None, None]  # three blocks of four pixels in a row
    logits = torch.randn(1, 2, 1, 12, generator=torch.Generator().manual_seed(0))
    changed = logits.clone()
    changed[..., 8:] += torch.tensor([2.0, -2.0])[None, :, None, None]  # the block that is alone
    both = [BlocksTask._block_loss(task, values, index, torch.tensor([0, 0, 1])) for values in (logits, changed)]
    assert torch.equal(*both)
    paired = [BlocksTask._block_loss(task, values, index, torch.tensor([0, 0, 0])) for values in (logits, changed)]
    assert not torch.equal(*paired)
