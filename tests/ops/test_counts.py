"""Losses of fractions in blocks equal their formulas, in value and gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.testing import assert_close

from bagscope.errors import SettingsError
from bagscope.ops import counts
from bagscope.ops.bags import BagError

ETA = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.double)
RHO = torch.tensor([[0.1, 0.1], [0.2, 0.15]], dtype=torch.double)


def blocks(count=7, classes=2, side=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, classes, side, side, dtype=torch.double, generator=draw) * 2


def moments(p, effective):
    """Mean and variance of the fraction of each class in each block (B, C, H, W) of `effective` independent pixels."""
    flat = p.flatten(2)
    return flat.mean(2), (flat * (1 - flat)).mean(2) / effective


def count_loss(p, lengths, eta, rho, *, grouping, distance, effective):
    return counts.moments_loss(*moments(p, effective), lengths, eta, rho, grouping=grouping, distance=distance)


def test_moments_are_those_of_pixels_drawn_one_by_one():
    logits = blocks(2)
    p = torch.softmax(logits, 1)
    means = counts.block_means(logits, torch.arange(2)[:, None, None].expand(2, 4, 4), 2)
    mu, s2 = means.p, means.spread / 16
    rng = np.random.default_rng(0)
    draws = (rng.random((40_000, 2, 16)) < p[:, 0].flatten(1).numpy()).mean(2)
    assert mu[:, 0].numpy() == pytest.approx(draws.mean(0), abs=0.003)
    assert s2[:, 0].numpy() == pytest.approx(draws.var(0), rel=0.03)


def test_groups_are_summed_up_by_the_law_of_total_variance():
    mu, s2 = torch.rand(7, 2, dtype=torch.double), 0.01 * torch.rand(7, 2, dtype=torch.double)
    mean, variance = counts.total(mu, s2, [3, 4])
    for group, part in enumerate((slice(0, 3), slice(3, 7))):
        assert_close(mean[group], mu[part].mean(0))
        assert_close(variance[group], mu[part].var(0, correction=0) + s2[part].mean(0))
        assert_close(counts.inter(mu, s2, [3, 4])[1][group], mu[part].var(0, correction=0))


def test_closed_form_and_sampling_agree_in_the_moments():
    mu, s2 = torch.rand(5, 2, dtype=torch.double), 0.02 + 0.02 * torch.rand(5, 2, dtype=torch.double)
    torch.manual_seed(0)
    drawn = [counts.sampled(mu, s2, [5]) for _ in range(20_000)]
    mean, variance = (torch.stack(part).mean(0) for part in zip(*drawn, strict=True))
    wanted = counts.total(mu, s2, [5])
    assert_close(mean, wanted[0], rtol=0, atol=2e-3)
    # Of k draws, the variance about their own mean misses the variance of that mean.
    assert_close(variance, wanted[1] - s2.mean(0, keepdim=True) / 5, rtol=0.02, atol=0)


@pytest.mark.parametrize(("mu", "s2", "eta", "rho2"), [(0.3, 0.02, 0.5, 0.01), (0.7, 0.001, 0.65, 0.04)])
def test_distances_are_those_of_the_two_normal_laws(mu, s2, eta, rho2):
    one, other = stats.norm(mu, math.sqrt(s2)), stats.norm(eta, math.sqrt(rho2))
    given = [torch.tensor([value], dtype=torch.double) for value in (mu, s2, eta, rho2)]
    product = integrate.quad(lambda x: one.pdf(x) * other.pdf(x), -4, 5, limit=500, points=[mu, eta])[0]
    assert float(counts.overlap(*given)) == pytest.approx(-math.log(product), abs=1e-6)
    divergence = integrate.quad(
        lambda x: one.pdf(x) * (one.logpdf(x) - other.logpdf(x)), mu - 1.5, mu + 1.5, limit=500, points=[mu]
    )[0]
    assert float(counts.kl(*given)) == pytest.approx(divergence, abs=1e-6)
    at = np.linspace(1e-6, 1 - 1e-6, 400_001)
    assert float(counts.w2(*given)) == pytest.approx(np.mean((one.ppf(at) - other.ppf(at)) ** 2), rel=1e-3)


@pytest.mark.parametrize("name", ["kl", "w2"])
def test_some_distances_are_least_at_the_tables_moments(name):
    eta, rho2 = torch.tensor(0.4, dtype=torch.double), torch.tensor(0.02, dtype=torch.double)
    mu, s2 = eta.clone().requires_grad_(), rho2.clone().requires_grad_()
    value = counts.DISTANCES[name](mu, s2, eta, rho2)
    value.backward()
    assert abs(float(value.detach())) < 1e-12
    assert abs(float(mu.grad)) < 1e-12
    assert abs(float(s2.grad)) < 1e-12
    grid = torch.linspace(0.05, 0.9, 40, dtype=torch.double)
    every = counts.DISTANCES[name](grid[:, None], grid[None, :] ** 2, eta, rho2)
    assert (every > 0).all()


def test_the_overlap_is_least_at_no_variance_while_the_mean_is_right():
    eta, rho2 = torch.tensor(0.4, dtype=torch.double), torch.tensor(0.02, dtype=torch.double)
    s2 = torch.linspace(0, 0.2, 2001, dtype=torch.double)
    for mu in (0.4, 0.5, 0.8):
        found = counts.overlap(torch.tensor(mu, dtype=torch.double), s2, eta, rho2)
        assert float(s2[found.argmin()]) == pytest.approx(max(0, (mu - 0.4) ** 2 - 0.02), abs=2e-4)


@pytest.mark.parametrize("grouping", ["intra", "inter", "intra+inter"])
@pytest.mark.parametrize("distance", list(counts.DISTANCES))
def test_the_loss_is_its_formula_and_its_gradient_that_of_differences(grouping, distance):
    logits = blocks()

    def loss(z):
        given = {"grouping": grouping, "distance": distance, "effective": 16}
        return count_loss(torch.softmax(z, 1), [3, 4], ETA, RHO, **given)

    p = torch.softmax(logits, 1).flatten(2)
    mu, s2 = p.mean(2), (p * (1 - p)).mean(2) / 16
    far, values = counts.DISTANCES[distance], []
    for group, part in enumerate((slice(0, 3), slice(3, 7))):
        eta, rho2 = ETA[group], RHO[group] ** 2
        if grouping == "intra":
            values += [far(m, s, eta, rho2).sum() for m, s in zip(mu[part], s2[part], strict=True)]
        else:
            spread = mu[part].var(0, correction=0) + (s2[part].mean(0) if grouping == "intra+inter" else 0)
            values.append(far(mu[part].mean(0), spread, eta, rho2).sum())
    assert_close(loss(logits), torch.stack(values).mean())
    torch.autograd.gradcheck(loss, (blocks(side=2).requires_grad_(),))


def test_a_grey_map_is_exact_at_the_critical_count():
    eta, rho = torch.tensor([[0.3, 0.7]], dtype=torch.double), torch.tensor([[0.1, 0.1]], dtype=torch.double)
    assert_close(eta * (1 - eta) / rho**2, torch.full_like(eta, 21.0))
    grey = eta[0][None, :, None, None].expand(4, 2, 8, 8)
    for name in ("kl", "w2"):
        given = {"grouping": "intra+inter", "distance": name}
        at = float(count_loss(grey, [4], eta, rho, effective=21.0, **given))
        assert abs(at) < 1e-12
        assert float(count_loss(grey, [4], eta, rho, effective=64.0, **given)) > 1e-4


def test_label_proportions_are_least_at_the_tables_mean():
    eta = torch.tensor([[0.3, 0.7]])
    assert counts.llp(eta, eta) < counts.llp(torch.tensor([[0.5, 0.5]]), eta)
    assert_close(counts.llp(eta, eta), -(eta * eta.log()).sum())


def test_the_implicit_posterior_is_its_formula():
    p, eta = torch.softmax(blocks(3), 1), torch.tensor([[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]], dtype=torch.double)
    pixels = p.permute(0, 2, 3, 1).reshape(-1, 2)
    pi = eta.repeat_interleave(16, 0)
    mean = pixels.mean(0)
    wanted = (mean * mean.log()).sum() - (pixels * pi.log()).sum(1).mean()
    assert_close(counts.implicit_posterior(p.mean((2, 3)), eta), wanted)


def test_targets_of_blocks_are_targets_of_all_their_pixels():
    logits = blocks(3)
    hard = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.double)
    wanted = torch.nn.functional.cross_entropy(logits, hard.argmax(1)[:, None, None].expand(-1, 4, 4))
    assert_close(counts.pixel_target(torch.log_softmax(logits, 1).mean((2, 3)), hard), wanted)


def test_blocks_of_any_shape_are_gathered_as_blocks_of_their_own_are():
    logits = blocks(3)
    index = torch.arange(3)[:, None, None].expand(3, 4, 4).clone()
    index[1, :, 2:] = -1  # half of the second is no part of it
    found = counts.block_means(logits, index, 3)
    p = torch.softmax(logits, 1)
    assert_close(found.p[[0, 2]].double(), p[[0, 2]].mean((2, 3)), rtol=1e-5, atol=1e-6)
    assert_close(found.p[1].double(), p[1, :, :, :2].mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert_close(found.spread[0].double(), (p * (1 - p))[0].mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert_close(found.log_p[2].double(), p.log()[2].mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_unknown_names_and_lengths_that_do_not_fit_are_refused():
    p = torch.softmax(blocks(), 1)
    for wrong in ({"grouping": "intre"}, {"distance": "kll"}):
        given = {"grouping": "inter", "distance": "kl", "effective": 16, **wrong}
        with pytest.raises(SettingsError, match=next(iter(wrong.values()))):
            count_loss(p, [3, 4], ETA, RHO, **given)
    with pytest.raises(BagError):
        count_loss(p, [3, 3], ETA, RHO, grouping="inter", distance="kl", effective=16)


@pytest.mark.parametrize("distance", list(counts.DISTANCES))
def test_extreme_maps_have_finite_losses_and_gradients(distance):
    for value in (-60.0, 0.0, 60.0):
        logits = torch.full((4, 2, 4, 4), value)
        logits[:, 1] = 0
        logits.requires_grad_()
        given = {"grouping": "intra+inter", "distance": distance, "effective": 64}
        loss = count_loss(torch.softmax(logits, 1), [4], ETA[:1].float(), RHO[:1].float(), **given)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()
