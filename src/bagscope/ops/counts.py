"""Losses that compare the fractions of classes in blocks with a table of their means and standard deviations.

A block has a coarse class l and pixels with probabilities p of fine classes c; the table says which mean eta and
standard deviation rho the share of c has over blocks of l. Letters as there: mu and s2 are mean and variance of the
share that a network predicts.

Source: Malkin et al., "Label super-resolution networks", ICLR 2019 [M]; "Label super resolution with inter-instance
loss", 2019 [I].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bagscope.errors import SettingsError, nearest
from bagscope.ops.bags import Lengths, bag_mean, bag_variance, check_lengths

# Variances below this are as good as none, and their logarithm would run away.
LEAST_VARIANCE = 1e-8


def intra(mu: Tensor, s2: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor]:
    """Return each block's own moments: every block is matched with the table by itself ([M])."""
    check_lengths(mu, lengths)
    return mu, s2


def inter(mu: Tensor, s2: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor]:
    """Mean and variance of the blocks' means over each group of blocks, (G, C) each ([I] equations 6 to 9)."""
    bags = check_lengths(mu, lengths)
    return bag_mean(mu, bags), bag_variance(mu, bags)


def total(mu: Tensor, s2: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor]:
    """Moments of drawing a block of a group and then its share, (G, C) each ([I] equations 10 and 11).

    By the law of total variance: mean_k mu_k, and var_k mu_k + mean_k s2_k. No sample is drawn.
    """
    bags = check_lengths(mu, lengths)
    return bag_mean(mu, bags), bag_variance(mu, bags) + bag_mean(s2, bags)


def sampled(mu: Tensor, s2: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor]:
    """As `total`, by one draw of N(mu_k, s2_k) for each block, which is how it was published ([I])."""
    bags = check_lengths(mu, lengths)
    drawn = mu + s2.clamp(min=0).sqrt() * torch.randn_like(mu)
    return bag_mean(drawn, bags), bag_variance(drawn, bags)


def overlap(mu: Tensor, s2: Tensor, eta: Tensor, rho2: Tensor) -> Tensor:
    """Minus the logarithm of the overlap of N(mu, s2) and N(eta, rho2).

    (mu - eta)^2 / 2v + log(2 pi v) / 2 with v = s2 + rho2.
    For given means it is least at s2 = max(0, (mu - eta)^2 - rho2): while the mean is right, smaller variances are
    better, so maps become sharp, right or wrong ([M] equation 5).
    """
    v = s2 + rho2
    return (mu - eta).square() / (2 * v) + torch.log(2 * math.pi * v) / 2


def kl(mu: Tensor, s2: Tensor, eta: Tensor, rho2: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mu, s2) from N(eta, rho2); 0 at the table's moments, and least there."""
    s2 = s2.clamp(min=LEAST_VARIANCE)
    return (s2 + (mu - eta).square()) / (2 * rho2) - 0.5 + torch.log(rho2 / s2) / 2


def w2(mu: Tensor, s2: Tensor, eta: Tensor, rho2: Tensor) -> Tensor:
    """Squared Wasserstein distance of N(mu, s2) and N(eta, rho2): (mu - eta)^2 + (s - rho)^2."""
    s = s2.clamp(min=LEAST_VARIANCE).sqrt()
    return (mu - eta).square() + (s - rho2.sqrt()).square()


Moments = Callable[[Tensor, Tensor, Lengths], tuple[Tensor, Tensor]]
Distance = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
GROUPINGS: Mapping[str, Moments] = {"intra": intra, "inter": inter, "intra+inter": total, "sampled": sampled}
DISTANCES: Mapping[str, Distance] = {"overlap": overlap, "kl": kl, "w2": w2}


@dataclass(frozen=True)
class BlockMeans:
    """What blocks of pixels are, (B, C) each: mean probability, mean p (1 - p), mean log-probability."""

    p: Tensor
    spread: Tensor
    log_p: Tensor

    def take(self, order: Tensor) -> BlockMeans:
        """Return some blocks, in this order."""
        return BlockMeans(self.p[order], self.spread[order], self.log_p[order])


def block_means(logits: Tensor, index: Tensor, blocks: int) -> BlockMeans:
    """Gather pixels into blocks of any shape.

    Parameters
    ----------
    logits : (S, C, H, W). index : (S, H, W) number of each pixel's block, -1 for none. blocks : how many there are;
        each has a pixel.
    """
    classes = logits.shape[1]
    log_p = torch.log_softmax(logits.float(), 1)
    p = log_p.exp()
    inside = index.reshape(-1) >= 0
    number = index.reshape(-1)[inside].long()
    every = torch.cat([p, p * (1 - p), log_p], 1).permute(0, 2, 3, 1).reshape(-1, 3 * classes)[inside]
    total = every.new_zeros(blocks, 3 * classes).index_add(0, number, every)
    mean = total / torch.bincount(number, minlength=blocks)[:, None].to(every.dtype)
    return BlockMeans(*mean.split(classes, 1))


def moments_loss(
    mu: Tensor, s2: Tensor, lengths: Lengths, eta: Tensor, rho: Tensor, *, grouping: str, distance: str
) -> Tensor:
    """Mean over groups (or blocks) of the distances of all classes.

    Parameters
    ----------
    mu, s2 : (B, C) moments of blocks, those of one coarse class one after the other: mean_j p_j and
        mean_j p_j (1 - p_j) / n over a block's pixels j. Neighbouring pixels are not independent, so an effective
        number of them stands for n ([M] equation 4, with all pixels).
    lengths : (G,) blocks of each group.
    eta, rho : (G, C) the table's mean and standard deviation for each group's coarse class; rho > 0.
    grouping, distance : names of `GROUPINGS` and `DISTANCES`.

    Notes
    -----
    With n* = eta (1 - eta) / rho^2 effective pixels a grey map p = eta has the table's variance. With more of them `kl`
    and `w2` ask for more spread than grey; with fewer they punish grey.

    Raises
    ------
    SettingsError : an unknown name. BagError : lengths that do not add up.
    """
    group_moments, far = _named(GROUPINGS, grouping, "grouping"), _named(DISTANCES, distance, "distance")
    bags = check_lengths(mu, lengths)
    mean, variance = group_moments(mu, s2, bags)
    if len(mean) != len(eta):
        eta, rho = (side.repeat_interleave(bags.lengths, 0) for side in (eta, rho))
    return far(mean, variance, eta, rho.square()).sum(1).mean()


def llp(mean: Tensor, eta: Tensor) -> Tensor:
    """Cross-entropy of each block's mean share with the table's, the mean over blocks: learning from label proportions.

    Parameters
    ----------
    mean : (B, C) mean probabilities of blocks. eta : (B, C) the table's mean for each block.
    """
    return -(eta * mean.clamp(min=1e-12).log()).sum(1).mean()


def implicit_posterior(mean: Tensor, eta: Tensor) -> Tensor:
    """Loss of implicit posterior models: sum_c qbar log qbar - mean_j sum_c q_jc log pi_jc.

    qbar is the mean of the pixels' probabilities over the batch, pi the table's mean of the pixel's block.

    Parameters
    ----------
    mean, eta : as for `llp`, of blocks of one size.

    Source: Rolf, Malkin et al., "Resolving label uncertainty with implicit posterior models", UAI 2022.
    """
    whole = mean.mean(0).clamp(min=1e-12)
    return (whole * whole.log()).sum() - (mean * eta.clamp(min=1e-6).log()).sum(1).mean()


def pixel_target(log_mean: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of every pixel with its block's target: the table's mean (soft), or its largest class (hard).

    Parameters
    ----------
    log_mean : (B, C) mean log-probabilities of blocks. target : (B, C), adding up to 1.
    """
    return -(target * log_mean).sum(1).mean()


def _named(known: Mapping[str, Moments] | Mapping[str, Distance], name: str, kind: str) -> Callable[..., Tensor]:
    if name not in known:
        cause = f"unknown {kind} '{name}'{nearest(name, known)}"
        raise SettingsError(cause, f"Known: {', '.join(known)}.", code=f"unknown_{kind}")
    return known[name]  # type: ignore[return-value]
