"""A batch's lengths, targets and rows are of the same bags, and no bag is empty."""

import numpy as np
import pytest
import torch

from bagscope.feed.batch import Batch

X = torch.zeros(5, 3)


@pytest.mark.parametrize(
    ("lengths", "target", "rows"),
    [
        ([2, 3], torch.zeros(3, 2), [0, 1]),  # a target too many
        ([2, 3], torch.zeros(2), [0, 1]),  # class numbers instead of a column per class
        ([2, 3], torch.zeros(2, 2), [0, 0, 0, 1, 1]),  # a row per sample
        ([5, 0], torch.zeros(2, 2), [0, 1]),  # an empty bag has no mean
    ],
)
def test_a_batch_that_breaks_the_contract_is_refused(lengths, target, rows):
    with pytest.raises(ValueError, match=r"expected \(B,\), \(B, K\) and \(B,\)"):
        Batch(X, torch.tensor(lengths), target, np.array(rows))


def test_a_batch_that_keeps_it_is_made():
    assert Batch(X, torch.tensor([2, 3]), torch.zeros(2, 1), np.array([7, -1])).rows.tolist() == [7, -1]
