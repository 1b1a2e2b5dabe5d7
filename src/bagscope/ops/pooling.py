"""How sure a bag is when its instances are this sure: seven poolings and a learned one, as log-odds.

Every pooling returns L = log P - log(1 - P) of the bag's probability P, never P itself, so that a loss on
logits stays exact where P is 0 or 1 in floating point. Everything is computed in float64, whatever comes in:
maps are small beside the images they come from, and float32 sums would lose what the formulas keep.
Letters: z logit of an instance, p = sigmoid(z), q = 1 - p = sigmoid(-z), m = mean p, n = mean q of a bag.

Source: Kraus, Ba and Frey, Bioinformatics 32 (2016) i52, section 2.3 and table of pooling functions.
"""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bagscope.errors import SettingsError
from bagscope.ops.bags import Bags, Lengths, bag_logsumexp, bag_max, bag_mean, bag_sum, check_lengths, spread

LEAST, MOST = 1e-6, 1e6
# sigmoid(-600) is 1e-261: far beyond any network's logits, and still a number of full precision.
_DEEP = 600.0


class PoolingError(SettingsError, ValueError):
    """A parameter outside the range in which a pooling has a meaning."""


def in_range(name: str, value: float) -> float:
    """Return a or r as a float when it is a number from 1e-6 to 1e6.

    Raises
    ------
    PoolingError : it is not; beyond this range float64 cannot hold what the formulas promise.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not LEAST <= value <= MOST:
        cause = f"pooling parameter {name} = {value!r} is not a number from {LEAST:g} to {MOST:g}"
        raise PoolingError(cause, f"Give {name} > 0; usual values are 1 to 10.", code=f"pooling_{name}")
    return float(value)


def noisy_and(logits: Tensor, lengths: Lengths, a: float = 10.0, b: Tensor | float = 0.5) -> Tensor:
    """Log-odds that a bag is positive when a certain share of its instances is.

    P = [sigmoid(a (m - b)) - sigmoid(-a b)] / [sigmoid(a (1 - b)) - sigmoid(-a b)] rises from 0 to 1, and most
    steeply at m = b. It never falls when an instance's logit rises, and a bag repeated is the same bag.

    Parameters
    ----------
    logits : (N, K) instance log-odds, bag after bag.
    lengths : (B,) whole numbers >= 1 that add up to N.
    a : steepness, in [1e-6, 1e6]; Kraus et al. tried 5, 7.5 and 10.
    b : share of positive instances at the middle of the rise, in (0, 1); one number, or (K,), differentiable.
        A b that is no number makes log-odds that are no numbers, as a logit does.

    Returns
    -------
    (B, K) log-odds of the bags, dtype of `logits`; finite for finite logits.

    Raises
    ------
    BagError : lengths do not add up, or a bag is empty.
    PoolingError : a or b outside its range.
    """
    bags = check_lengths(logits, lengths)
    a = in_range("a", a)
    b = _share(b, logits)
    z = logits.double()
    log_m, log_n = _log_mean_exp(logsigmoid(z), bags), _log_mean_exp(logsigmoid(-z), bags)
    # With log sinh x = log x + log(sinh x / x) and log cosh x = softplus(2 x) - x - log 2:
    # L = log m - log n + s(a m / 2) - s(a n / 2) + c(a (1 - b) / 2) - c(a b / 2).
    rise = _log_sinh_over_x(a / 2 * log_m.exp()) - _log_sinh_over_x(a / 2 * log_n.exp())
    middle = _softplus(a * (1 - b)) - _softplus(a * b) - a / 2 * (1 - 2 * b)
    return (log_m - log_n + rise + middle).to(logits.dtype)


def noisy_or(logits: Tensor, lengths: Lengths) -> Tensor:
    """Log-odds that at least one of a bag's independent instances is positive: P = 1 - prod(1 - p).

    It never falls when an instance's logit rises, and rises when the bag is repeated.
    Shapes and errors as `noisy_and`; finite for finite logits.
    """
    bags = check_lengths(logits, lengths)
    z = logits.double()
    # S = sum softplus(z) = -log(1 - P); L = log(exp S - 1) = log S + S / 2 + log(sinh(S / 2) / (S / 2)).
    # log softplus(z) is z for small z: rounded to 0, softplus would have no logarithm.
    small = z < -40
    log_s = bag_logsumexp(torch.where(small, z, _softplus(z.clamp(min=-40)).log()), bags)
    s = log_s.exp()
    return (log_s + s / 2 + _log_sinh_over_x(s / 2)).to(logits.dtype)


def isr(logits: Tensor, lengths: Lengths) -> Tensor:
    """Log-odds by the integrated segmentation and recognition rule: P = o / (1 + o), o = sum p / (1 - p).

    The bag's odds are the sum of its instances' odds; it rises when the bag is repeated.
    Shapes and errors as `noisy_and`; finite for finite logits.
    """
    return bag_logsumexp(logits.double(), check_lengths(logits, lengths)).to(logits.dtype)


def gm(logits: Tensor, lengths: Lengths, r: float = 1.0) -> Tensor:
    """Log-odds of the generalised mean P = (mean p^r)^(1/r).

    Between the mean (r = 1) and the maximum (r to infinity), growing with r. It never falls when an
    instance's logit rises; equal instances give their own logit; a bag repeated is the same bag.

    Parameters
    ----------
    logits, lengths : as for `noisy_and`; logits beyond 600 count as 600, below -600 as -600.
    r : in [1e-6, 1e6]; Kraus et al. tried 1, 2.5 and 5.

    Returns
    -------
    (B, K) log-odds of the bags, dtype of `logits`.

    Raises
    ------
    BagError : lengths do not add up, or a bag is empty.
    PoolingError : r outside its range.
    """
    bags = check_lengths(logits, lengths)
    r = in_range("r", r)
    log_p_r = r * logsigmoid(logits.double().clamp(-_DEEP, _DEEP))
    lost = bag_mean(_one_minus_exp(log_p_r), bags)  # 1 - mean p^r, exact where all p are near 1
    near_one = torch.log1p(-lost.clamp(max=0.5))
    log_p = torch.where(lost < 0.5, near_one, _log_mean_exp(log_p_r, bags)) / r
    return (log_p - torch.log(-torch.expm1(log_p))).to(logits.dtype)


def lse(logits: Tensor, lengths: Lengths, r: float = 1.0) -> Tensor:
    """Log-odds of the log-sum-exp mean P = log(mean exp(r p)) / r.

    Between the mean (r to 0) and the maximum (r to infinity), growing with r. It never falls when an
    instance's logit rises; equal instances give their own logit; a bag repeated is the same bag.
    Parameters, shapes and errors as `gm`.
    """
    bags = check_lengths(logits, lengths)
    r = in_range("r", r)
    z = logits.double().clamp(-_DEEP, _DEEP)
    # r p and -r q; not by torch.sigmoid, whose gradient p (1 - p) is 0 where p rounds to 1.
    up, down = r * logsigmoid(z).exp(), -r * logsigmoid(-z).exp()
    # r P, from expm1 where p is small, shifted where exp(r p) would overflow.
    small = torch.log1p(bag_mean(torch.expm1(up.clamp(max=60)), bags))
    rp = torch.where(bag_max(up.detach(), bags) <= 60, small, _log_mean_exp(up, bags))
    # r (1 - P) = -log mean exp(-r q), from expm1 where q is small.
    lost = bag_mean(_one_minus_exp(down), bags)
    rq = -torch.where(lost < 0.5, torch.log1p(-lost.clamp(max=0.5)), _log_mean_exp(down, bags))
    # P = rp / r and 1 - P = rq / r.
    return (rp.log() - rq.log()).to(logits.dtype)


def mean(logits: Tensor, lengths: Lengths) -> Tensor:
    """Log-odds of the mean probability: P = mean p, `gm` with r = 1.

    Shapes and errors as `noisy_and`; finite for finite logits.
    """
    bags = check_lengths(logits, lengths)
    z = logits.double()
    return (bag_logsumexp(logsigmoid(z), bags) - bag_logsumexp(logsigmoid(-z), bags)).to(logits.dtype)


def max(logits: Tensor, lengths: Lengths) -> Tensor:
    """Log-odds of the most likely instance: P = max p.

    Its gradient goes to that instance; equally likely ones share it. Shapes and errors as `noisy_and`.
    """
    return bag_max(logits, lengths)


def _log_mean_exp(values: Tensor, bags: Bags) -> Tensor:
    return bag_logsumexp(values, bags) - bags.lengths[:, None].double().log()


def _softplus(x: Tensor) -> Tensor:
    # torch's own softplus returns x from 20 on, which is 2e-9 off.
    return -logsigmoid(-x)


def _one_minus_exp(x: Tensor) -> Tensor:
    """1 - exp(x) for x <= 0, with a gradient as exact as itself: torch's expm1 has 0 where exp(x) is lost beside 1."""
    return torch.where(x < -1, 1 - x.exp(), -torch.expm1(x.clamp(min=-1)))


def _log_sinh_over_x(x: Tensor) -> Tensor:
    """log(sinh(x) / x) for x >= 0; both branches are finite where they are not used."""
    s = x.clamp(max=0.1).square()
    series = s * (1 / 6 - s * (1 / 180 - s * (1 / 2835 - s * (1 / 37800 - s / 467775))))
    far = x.clamp(min=0.1)
    return torch.where(x < 0.1, series, far + torch.log(-torch.expm1(-2 * far)) - torch.log(2 * far))


def attention(scored: Tensor, lengths: Lengths) -> Tensor:
    """Log-odds as a weighted mean of the instances', by weights that add up to one in each bag.

    L = sum_j softmax_j(s) z_j: the instances share out one attention, which is the same for all classes. A bag
    repeated is the same bag; a number added to all scores of a bag changes nothing.

    Parameters
    ----------
    scored : (N, K + 1) instance log-odds z and, in the last column, their scores s.
    lengths : (B,) whole numbers >= 1 that add up to N.

    Returns
    -------
    (B, K) log-odds of the bags, dtype of `scored`.

    Raises
    ------
    BagError : lengths do not add up, or a bag is empty.

    Source: Ilse, Tomczak and Welling, ICML 2018, equations 7 to 9; the scores are made by `nets.kraus`.
    """
    bags = check_lengths(scored, lengths)
    z, score = scored[:, :-1].double(), scored[:, -1:].double()
    weight = torch.exp(score - spread(bag_logsumexp(score, bags), bags))
    return bag_sum(weight * z, bags).to(scored.dtype)


def _share(b: Tensor | float, logits: Tensor) -> Tensor:
    shares = torch.as_tensor(b, dtype=torch.float64, device=logits.device)
    known = not isinstance(b, Real) or b == b
    if not known or bool(((shares <= 0) | (shares >= 1)).any()):
        cause = f"pooling parameter b = {shares.tolist()} is not between 0 and 1"
        raise PoolingError(cause, "Give b as the share of positive instances, such as 0.1.", code="pooling_b")
    if shares.ndim > 1 or (shares.ndim == 1 and len(shares) != logits.shape[1]):
        cause = f"pooling parameter b has the shape {tuple(shares.shape)} for {logits.shape[1]} classes"
        raise PoolingError(cause, "Give one b, or one per class.", code="pooling_b")
    return shares
