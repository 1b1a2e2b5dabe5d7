"""Belief propagation gives the marginals of a Potts field, and labels close to the best labelling."""

import itertools

import maxflow
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bagscope.errors import BagscopeError
from bagscope.ops import lattice
from bagscope.ops.lattice import sum_product

# Float64 sums in another order differ by some units in the last place of numbers of the order 10.
EXACT = {"rtol": 0, "atol": 1e-11}
# Damping of .2 leaves a message that should not change .2 ^ steps of its error: nothing after 40 steps.
SETTLED = 40


def potentials(*shape, seed=0, spread=2.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread


def labellings(labels, h, w):
    """All (L^(H W), H, W) of them."""
    return torch.tensor(list(itertools.product(range(labels), repeat=h * w))).reshape(-1, h, w)


def by_counting(unary, coupling):
    """Log-marginals (L, H, W) of one field, by enumeration of all labellings."""
    count, h, w = unary.shape
    everything = labellings(count, h, w)
    rows, columns = torch.arange(h)[:, None], torch.arange(w)
    score = unary[everything, rows, columns].sum((1, 2))
    score += coupling * (everything[:, 1:] == everything[:, :-1]).sum((1, 2)).double()
    score += coupling * (everything[:, :, 1:] == everything[:, :, :-1]).sum((1, 2)).double()
    picked = [torch.where(everything == x, score[:, None, None], -torch.inf) for x in range(count)]
    return torch.stack([scores.logsumexp(0) for scores in picked]) - score.logsumexp(0)


def forward_backward(unary, coupling):
    """Log-marginals (L, N) of a chain, by one pass each way with the whole matrix of pairs."""
    count, n = unary.shape
    pair = coupling * torch.eye(count, dtype=torch.float64)
    ahead, back = [torch.zeros(count, dtype=torch.float64)], [torch.zeros(count, dtype=torch.float64)]
    for i in range(n - 1):
        ahead.append(((ahead[-1] + unary[:, i])[:, None] + pair).logsumexp(0))
        back.append(((back[-1] + unary[:, n - 1 - i])[:, None] + pair).logsumexp(0))
    return torch.log_softmax(unary + torch.stack(ahead, 1) + torch.stack(back[::-1], 1), 0)


@pytest.mark.parametrize("labels", [2, 3, 4])
@pytest.mark.parametrize("coupling", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("upright", [False, True])
def test_a_chain_is_exact_against_all_its_labellings(labels, coupling, upright):
    unary = potentials(labels, 1, 6, seed=labels)
    unary = unary.mT if upright else unary
    assert_close(sum_product(unary, coupling, SETTLED), by_counting(unary, coupling), **EXACT)


@pytest.mark.parametrize("labels", [2, 5])
def test_a_long_chain_is_exact_once_news_has_crossed_it(labels):
    unary = potentials(labels, 1, 30, spread=0.2)
    expected = forward_backward(unary[:, 0], 4.0)[:, None]
    assert_close(sum_product(unary, 4.0, iterations=29, damping=0), expected, **EXACT)
    # One step less: the ends have not heard of each other.
    early = sum_product(unary, 4.0, iterations=28, damping=0)
    assert float((early - expected)[..., 0].abs().max()) > 1e-6


@pytest.mark.parametrize(("labels", "h", "w"), [(2, 2, 2), (2, 3, 3), (3, 2, 3)])
def test_on_a_small_grid_the_error_is_of_fourth_order_in_the_coupling(labels, h, w):
    # What is missed goes round loops of four edges, each of which passes on t = tanh(J / 2) of what it hears or less:
    # up to 2 atanh(t^4) of log-odds for each loop, and a sixteenth when J is halved. Terms of the next order move
    # that by less than a third at these couplings.
    unary = potentials(labels, h, w, seed=3, spread=1.0)
    errors = []
    for coupling in (0.2, 0.1):
        exact = by_counting(unary, coupling)
        errors.append(float((sum_product(unary, coupling, SETTLED) - exact).abs().max()))
    assert 0 < errors[0] < 2 * (h - 1) * (w - 1) * np.tanh(0.1) ** 4
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.33)


@pytest.mark.parametrize("labels", [2, 3])
def test_on_a_small_grid_a_weak_coupling_gives_the_most_probable_labels(labels):
    for seed in range(10):
        unary = potentials(labels, 3, 3, seed=seed)
        assert torch.equal(sum_product(unary, 0.3, SETTLED).argmax(0), by_counting(unary, 0.3).argmax(0))


@pytest.mark.parametrize("labels", [2, 3, 7])
def test_without_coupling_every_pixel_is_independent(labels):
    unary = potentials(2, labels, 5, 4)
    assert_close(sum_product(unary, 0), unary.log_softmax(1), **EXACT)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_strong_coupling_makes_one_label_of_all(labels):
    unary = potentials(labels, 9, 7, spread=1.0)
    unary[1] += 1.0
    assert bool((unary.argmax(0) != 1).any())
    assert bool((sum_product(unary, 50.0, SETTLED).argmax(0) == 1).all())


def test_a_lone_pixel_of_noise_is_overruled_by_its_neighbours_and_a_block_is_not():
    log_odds = torch.full((20, 20), -1.0)
    log_odds[4, 4] = 1.0
    log_odds[10:16, 10:16] = 1.0
    found = sum_product(torch.stack((torch.zeros_like(log_odds), log_odds)), 0.8).argmax(0)
    assert int(found[4, 4]) == 0
    assert torch.equal(found[10:16, 10:16], torch.ones(6, 6, dtype=torch.int64))
    assert int(found.sum()) == 36


@pytest.mark.parametrize("labels", [2, 3])
class TestSymmetry:
    """All messages are sent at once, so these laws hold at every step, not only in the end."""

    def test_labels_have_no_order(self, labels):
        unary, order = potentials(labels, 6, 5), torch.arange(labels).roll(1)
        assert_close(sum_product(unary[order], 1.2, 4), sum_product(unary, 1.2, 4)[order], **EXACT)

    def test_a_mirrored_image_has_the_mirrored_answer(self, labels):
        unary = potentials(labels, 6, 5)
        for axis in (-1, -2):
            assert_close(sum_product(unary.flip(axis), 1.2, 4), sum_product(unary, 1.2, 4).flip(axis), **EXACT)

    def test_a_turned_image_has_the_turned_answer(self, labels):
        unary = potentials(labels, 6, 5)
        assert_close(sum_product(unary.mT, 1.2, 4), sum_product(unary, 1.2, 4).mT, **EXACT)

    def test_a_constant_at_a_pixel_changes_nothing(self, labels):
        unary = potentials(labels, 6, 5)
        assert_close(sum_product(unary + potentials(1, 6, 5, seed=1), 1.2, 4), sum_product(unary, 1.2, 4), **EXACT)

    def test_images_of_a_batch_do_not_see_each_other(self, labels):
        unary = potentials(2, 3, labels, 6, 5)
        together = sum_product(unary, 1.2, 4)
        assert together.shape == unary.shape
        for i, j in itertools.product(range(2), range(3)):
            assert_close(together[i, j], sum_product(unary[i, j], 1.2, 4), **EXACT)

    def test_the_input_is_left_as_it_was(self, labels):
        unary = potentials(labels, 6, 5)
        before = unary.clone()
        sum_product(unary, 1.2, 4)
        assert torch.equal(unary, before)


def test_two_labels_as_one_number_are_two_labels():
    unary = potentials(3, 2, 8, 9, spread=4.0)
    in_full = lattice._propagated(unary, 1.5, 6, 0.2)
    as_odds = lattice._propagated(unary[:, 1:] - unary[:, :1], 1.5, 6, 0.2)
    assert_close(in_full[:, 1:] - in_full[:, :1], as_odds, **EXACT)


def test_a_third_label_that_is_all_but_impossible_changes_nothing():
    unary = potentials(2, 8, 9)
    more = torch.cat((unary, torch.full((1, 8, 9), -60.0, dtype=torch.float64)))
    assert_close(sum_product(more, 1.5)[:2], sum_product(unary, 1.5), **EXACT)


def by_all_pairs(h, coupling):
    """Messages (L, ...) from the matrix of all pairs of labels, less the part that is equal for all labels."""
    pair = coupling * torch.eye(len(h), dtype=h.dtype)
    joined = h.movedim(0, -1)[..., None] + pair
    return (joined.logsumexp(-2) - h.movedim(0, -1)[..., None].logsumexp(-2)).movedim(-1, 0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 999),
    labels=st.integers(2, 4),
    coupling=st.sampled_from([0.0, 1e-6, 0.5, 5.0, 20.0, 80.0, 1000.0]),
    reach=st.sampled_from([1e-3, 1.0, 80.0, 400.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_message_is_right_to_rounding_however_strong_coupling_and_beliefs(seed, labels, coupling, reach, dtype):
    h = torch.rand(labels, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 * reach - reach
    # A message may be as large as J; the log-odds of two labels never are larger than those that go in.
    eps, reckoned = torch.finfo(dtype).eps, 1e-15 * coupling
    expected = by_all_pairs(h.double(), coupling)
    found = lattice._message(h.clone(), coupling)
    assert found.dtype == dtype
    assert_close(found.double(), expected, rtol=0, atol=8 * eps * (1 + 2 * reach + coupling))
    if labels == 2:
        odds = lattice._message(h[1:] - h[:1], coupling).double()
        assert_close(odds, expected[1:] - expected[:1], rtol=0, atol=8 * eps * (1 + 2 * reach) + reckoned)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("reach", [0.1, 5.0, 80.0])
def test_float32_gives_what_float64_gives_for_potentials_up_to_80(labels, reach):
    # Below J = log 2 a message passes on less than a third of a change in any of three: rounding dies away. Beyond,
    # it may grow threefold in every step, as any difference between two fields does.
    unary = (potentials(labels, 12, 12, spread=reach)).clamp(-reach, reach)
    found = sum_product(unary.float(), 0.6)
    assert found.dtype == torch.float32
    assert_close(found.double(), sum_product(unary, 0.6), rtol=0, atol=2e-6 * (1 + reach))


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("coupling", [0.0, 1e-30, 1.0, 80.0, 1e30])
@pytest.mark.parametrize("reach", [0.0, 80.0])
def test_answers_are_finite_and_add_up_to_one(labels, coupling, reach):
    unary = potentials(labels, 7, 6, spread=100).clamp(-reach, reach).float()
    marginals = sum_product(unary, coupling)
    assert bool(torch.isfinite(marginals).all())
    assert_close(marginals.exp().sum(0), torch.ones(7, 6), rtol=0, atol=1e-6)


def energy(labels, unary, coupling):
    """Minus the log-probability of labellings (..., H, W), up to a constant: 0 for the best labels without coupling."""
    lost = unary.amax(-3) - unary.gather(-3, labels.unsqueeze(-3)).squeeze(-3)
    across = (labels[..., 1:] != labels[..., :-1]).sum((-2, -1))
    down = (labels[..., 1:, :] != labels[..., :-1, :]).sum((-2, -1))
    return lost.sum((-2, -1)) + coupling * (across + down)


def least_energy(unary, coupling):
    """Energy of the exact best labelling of two labels, by the minimum cut."""
    odds = (unary[1] - unary[0]).numpy()
    graph = maxflow.Graph[float]()
    nodes = graph.add_grid_nodes(odds.shape)
    graph.add_grid_edges(nodes, coupling)
    graph.add_grid_tedges(nodes, np.maximum(odds, 0), np.maximum(-odds, 0))
    cut = graph.maxflow()
    labels = torch.from_numpy(~graph.get_grid_segments(nodes)).long()
    assert float(energy(labels, unary, coupling)) == pytest.approx(cut, rel=1e-12)  # two ways to the same number
    return cut


# Mean excess measured over three sets of 30 such fields, in per cent of the least energy: 5-6, 8-9 and 9-14 after 10
# steps, 5-6, 7-8 and 4-6 after 50. Each pixel by itself costs 25, 60 and 160 % more than the best.
@pytest.mark.parametrize(
    ("coupling", "iterations", "above"),
    [(0.5, 10, 0.08), (1.0, 10, 0.11), (2.0, 10, 0.2), (0.5, 50, 0.08), (1.0, 50, 0.1), (2.0, 50, 0.09)],
)
def test_the_energy_of_the_labels_is_never_below_the_exact_minimum_and_close_to_it(coupling, iterations, above):
    fields = potentials(30, 2, 12, 12, spread=2**0.5)
    least = np.array([least_energy(unary, coupling) for unary in fields])
    found = energy(sum_product(fields, coupling, iterations).argmax(1), fields, coupling).numpy()
    assert (found >= least - 1e-9).all()
    assert np.mean(found / least - 1) < above
    assert np.mean(energy(fields.argmax(1), fields, coupling).numpy() / least - 1) > 0.15


def test_damping_keeps_the_two_halves_of_the_checkerboard_together():
    # Without it, messages of even pixels reach odd ones alone, and the two halves settle on different labels.
    fields = potentials(30, 2, 12, 12, spread=2**0.5)
    damped, bare = (energy(sum_product(fields, 2.0, damping=d).argmax(1), fields, 2.0).mean() for d in (0.2, 0.0))
    assert damped < 0.9 * bare


@pytest.mark.parametrize(
    ("shape", "changed", "code"),
    [
        ((1, 4, 4), {}, "unary_shape"),
        ((4, 4), {}, "unary_shape"),
        ((2, 0, 4), {}, "unary_shape"),
        ((2, 4, 4), {"coupling": -0.1}, "coupling"),
        ((2, 4, 4), {"coupling": float("nan")}, "coupling"),
        ((2, 4, 4), {"coupling": float("inf")}, "coupling"),
        ((2, 4, 4), {"coupling": "1"}, "coupling"),
        ((2, 4, 4), {"iterations": 0}, "lattice_iterations"),
        ((2, 4, 4), {"iterations": 2.5}, "lattice_iterations"),
        ((2, 4, 4), {"damping": 1.0}, "lattice_damping"),
        ((2, 4, 4), {"damping": -0.1}, "lattice_damping"),
    ],
)
def test_invalid_potentials_and_parameters_are_refused(shape, changed, code):
    with pytest.raises(BagscopeError) as refused:
        sum_product(torch.zeros(shape), **{"coupling": 1.0, **changed})
    assert refused.value.problem.code == code
    assert refused.value.problem.fix


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_potential_that_is_no_finite_number_is_refused(value):
    unary = torch.zeros(2, 3, 3)
    unary[1, 2, 2] = value
    with pytest.raises(BagscopeError, match="infinite or no number"):
        sum_product(unary, 1.0)


def test_whole_numbers_are_no_potentials():
    with pytest.raises(BagscopeError, match="int64"):
        sum_product(torch.zeros(2, 3, 3, dtype=torch.int64), 1.0)


def test_an_empty_batch_stays_empty():
    assert sum_product(torch.zeros(0, 2, 3, 3), 1.0).shape == (0, 2, 3, 3)
    assert sum_product(torch.zeros(0, 3, 3, 3), 1.0).shape == (0, 3, 3, 3)


def test_half_precision_is_reckoned_in_single():
    assert sum_product(torch.zeros(2, 3, 3, dtype=torch.bfloat16), 1.0).dtype == torch.float32
