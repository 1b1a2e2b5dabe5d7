"""Are sums, means, maxima and variances those of each bag by itself?"""

import numpy as np
import pytest
import torch
from bag_sets import LAW, bag_sets
from hypothesis import given
from torch.testing import assert_close

from bagscope.ops.bags import (
    BagError,
    bag_logsumexp,
    bag_max,
    bag_mean,
    bag_sum,
    bag_variance,
    check_lengths,
    spread,
)

ORACLES = {
    bag_sum: lambda bag: bag.sum(0),
    bag_mean: lambda bag: bag.mean(0),
    bag_max: lambda bag: bag.max(0),
    bag_logsumexp: lambda bag: bag.max(0) + np.log(np.exp(bag - bag.max(0)).sum(0)),
    bag_variance: lambda bag: bag.var(0),
}


@pytest.mark.parametrize("gather", ORACLES, ids=lambda f: f.__name__)
@LAW
@given(bags=bag_sets())
def test_each_bag_has_the_value_it_has_alone(gather, bags):
    values, lengths = bags[0].double(), bags[1]
    apart = np.split(values.numpy(), np.cumsum(lengths.numpy())[:-1])
    wanted = torch.from_numpy(np.stack([ORACLES[gather](bag) for bag in apart]))
    # 80 is the largest value: sums of squares round at 6400 * 1e-16 * n.
    assert_close(gather(values, lengths), wanted, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("gather", ORACLES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("lengths", [[2, 2, 2], [1, 3, 2], [6]])
def test_gradients_of_bags_agree_with_finite_differences(gather, lengths):
    values = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: gather(v, lengths), (values,))


@pytest.mark.parametrize("lengths", [[2, 2], [1, 3]])
def test_equally_large_instances_share_the_gradient_of_the_maximum(lengths):
    values = torch.tensor([[5.0], [1.0], [1.0], [0.0]], requires_grad=True)
    bag_max(values, lengths).sum().backward()
    wanted = {2: [1, 0, 1, 0], 1: [1, 0.5, 0.5, 0]}[lengths[0]]
    assert values.grad[:, 0].tolist() == wanted


@LAW
@given(bags=bag_sets())
def test_variance_of_a_group_is_the_mean_variance_plus_the_variance_of_means(bags):
    values, lengths = bags[0].double(), bags[1]
    # torch divides whole numbers into float32: shares of float32 would weigh float64 variances.
    share = lengths[:, None].double() / len(values)
    means = bag_mean(values, lengths)
    between = (share * (means - (share * means).sum(0)) ** 2).sum(0)
    whole = bag_variance(values, [len(values)])[0]
    # Squares of values up to 80 round at 6400 * 1e-16 each.
    assert_close(whole, (share * bag_variance(values, lengths)).sum(0) + between, rtol=1e-12, atol=1e-11)


def test_a_bag_of_one_has_no_variance():
    assert bag_variance(torch.tensor([[3.0], [7.0]]), [1, 1]).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("lengths", [[2, 2], [3, 1]])
def test_logsumexp_of_huge_and_of_infinitely_small_values_does_not_overflow(lengths):
    values = torch.tensor([[1e30], [-torch.inf], [-torch.inf], [-torch.inf]])
    found = bag_logsumexp(values, lengths)[:, 0]
    assert found[0] == 1e30
    assert found[1] == -torch.inf


@pytest.mark.parametrize("lengths", [[2, 2], [3, 1]])
def test_spread_gives_each_instance_the_value_of_its_bag(lengths):
    bags = check_lengths(torch.zeros(4, 1), lengths)
    found = spread(torch.tensor([[10.0], [20.0]]), bags)[:, 0]
    assert found.tolist() == [10.0] * lengths[0] + [20.0] * lengths[1]


@pytest.mark.parametrize(
    ("lengths", "code", "words"),
    [
        ([2, 0, 2], "empty_bag", "bag 1 is empty"),
        ([5, -1], "empty_bag", r"bag 1 is empty \(length -1\)"),
        ([2, 1], "length_sum", "add up to 3, but there are 4"),
        ([2, 3], "length_sum", "add up to 5, but there are 4"),
        ([2.0, 2.0], "length_type", "whole numbers, not torch.float32"),
        ([True, True], "length_type", "whole numbers, not torch.bool"),
        ([[2, 2]], "length_shape", r"not \(1, 2\)"),
        (torch.empty(0, dtype=torch.long), "length_shape", r"not \(0,\)"),
        (torch.tensor(4), "length_shape", r"not \(\)"),
    ],
)
def test_lengths_that_make_no_bags_are_refused_with_the_reason(lengths, code, words):
    with pytest.raises(BagError, match=words) as refused:
        check_lengths(torch.zeros(4, 2), lengths)
    assert refused.value.problem.code == code
    assert refused.value.problem.fix
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("values", [torch.zeros(4), torch.zeros(2, 2, 2), torch.zeros(4, 2, dtype=torch.long)])
def test_instances_are_rows_of_floating_point_numbers(values):
    with pytest.raises(BagError, match=r"shape \(N, K\)"):
        check_lengths(values, [4])


@pytest.mark.parametrize("lengths", [[1, 3], np.array([1, 3], dtype=np.int32), torch.tensor([1, 3], dtype=torch.uint8)])
def test_lengths_may_be_any_whole_numbers(lengths):
    assert bag_sum(torch.ones(4, 1), lengths).tolist() == [[1.0], [3.0]]
